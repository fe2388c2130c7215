"""Every operator that has a cost, against an independent closed form over random sizes."""

from __future__ import annotations

import helpers.closed_forms as forms
import helpers.closed_forms_by_element as by_element
import helpers.closed_forms_sampling as sampling
import pytest
import torch
from helpers.closed_forms import ATEN, Draw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from fgbench import count_flops
from fgbench.flops.handlers import HANDLERS
from fgbench.flops.operators import ELEMENTWISE, ZERO_COST
from fgbench_selectors import QK

assert QK  # its module registers fgbench::left and its like

LINALG = torch.linalg


def uncorrected(run):
    """Along an axis and of all; a single value has no corrected spread."""
    return (lambda x, axis: run(x, axis, correction=0)), (lambda x, axis: run(x, correction=0))


REDUCTIONS = {
    "all": (1, torch.all, by_element.whole(torch.all)),
    "amax": (1, torch.amax),
    "amin": (1, torch.amin),
    "any": (1, torch.any, by_element.whole(torch.any)),
    "argmax": (1, torch.argmax, by_element.whole(torch.argmax)),
    "argmin": (1, torch.argmin, by_element.whole(torch.argmin)),
    "count_nonzero": (1, torch.count_nonzero, by_element.whole(torch.count_nonzero)),
    "cummax": (1, torch.cummax),
    "cummin": (1, torch.cummin),
    "cumprod": (1, torch.cumprod),
    "cumsum": (1, torch.cumsum),
    "equal": (1, lambda x, axis: torch.equal(x, x.clone())),
    "kthvalue": (1, lambda x, axis: torch.kthvalue(x, 1, axis)),
    "mean": (1, torch.mean, by_element.whole(torch.mean)),
    "median": (1, torch.median, by_element.whole(torch.median)),
    "mode": (1, torch.mode),
    "nanmedian": (1, torch.nanmedian, by_element.whole(torch.nanmedian)),
    "nansum": (1, torch.nansum, by_element.whole(torch.nansum)),
    "nonzero": (1, by_element.whole(torch.nonzero)),
    "prod": (1, torch.prod, by_element.whole(torch.prod)),
    "sum": (1, torch.sum, by_element.whole(torch.sum)),
    "aminmax": (2, lambda x, axis: torch.aminmax(x, dim=axis), by_element.whole(torch.aminmax)),
    "nanmean": (2, torch.nanmean, by_element.whole(torch.nanmean)),
    "linalg_vector_norm": (2, lambda x, axis: LINALG.vector_norm(x, 2, axis), by_element.whole(LINALG.vector_norm)),
    "norm": (2, lambda x, axis: ATEN.norm.ScalarOpt_dim(x, 2, [axis])),
    "logsumexp": (4, torch.logsumexp),
    "logcumsumexp": (4, torch.logcumsumexp),
    "std": (4, *uncorrected(torch.std)),
    "std_mean": (4, *uncorrected(torch.std_mean)),
    "var": (4, *uncorrected(torch.var)),
    "var_mean": (4, *uncorrected(torch.var_mean)),
}
KERNELS = (
    "_scaled_dot_product_attention_math",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
CASES = {
    "mm": forms.mm,
    "_int_mm": forms.int_mm,
    "bmm": forms.bmm,
    "baddbmm": forms.baddbmm,
    "addbmm": forms.addbmm,
    "addmm": forms.addmm,
    "_addmm_activation": forms.addmm_activation,
    "mv": forms.mv,
    "addmv": forms.addmv,
    "addr": forms.addr,
    "dot": forms.dot(torch.dot),
    "vdot": forms.dot(torch.vdot),
    "linear": forms.linear,
    "convolution": forms.convolution(ATEN.convolution),
    "mkldnn_rnn_layer": forms.lstm,
    "cdist": forms.cdist(torch.cdist),
    "_cdist_forward": forms.cdist(lambda one, other: ATEN._cdist_forward(one, other, 1.0, None)),
    "_euclidean_dist": forms.cdist(ATEN._euclidean_dist, batched=False),
    "_pdist_forward": forms.pairs_of_one,
    "_trilinear": forms.bilinear,
    "_embedding_bag": forms.embedding_bag(ATEN._embedding_bag),
    "_embedding_bag_forward_only": forms.embedding_bag(ATEN._embedding_bag_forward_only),
    "mse_loss": forms.loss(ATEN.mse_loss, 2),
    "smooth_l1_loss": forms.loss(ATEN.smooth_l1_loss, 5),
    "huber_loss": forms.loss(ATEN.huber_loss, 5),
    "nll_loss_forward": forms.nll_loss(0),
    "nll_loss2d_forward": forms.nll_loss(2),
    "linalg_cross": forms.cross,
    "scaled_dot_product_attention": forms.attention,
    **{name: forms.attention_kernel(name) for name in KERNELS},
    "fgbench::left": forms.left,
    "fgbench::left_of_maps": forms.left_of_maps,
    "fgbench::logsumexp": forms.logsumexp_of_scores,
    "native_layer_norm": forms.layer_norm,
    "native_group_norm": forms.group_norm,
    "instance_norm": forms.instance_norm,
    "native_batch_norm": forms.batch_norm("native_batch_norm"),
    "cudnn_batch_norm": forms.batch_norm("cudnn_batch_norm", device="meta"),
    "_native_batch_norm_legit": forms.batch_norm("_native_batch_norm_legit"),
    "_native_batch_norm_legit_no_training": forms.batch_norm("_native_batch_norm_legit_no_training", training=False),
    "_batch_norm_with_update": forms.batch_norm("_batch_norm_with_update", training=True),
    "_batch_norm_no_update": forms.batch_norm("_batch_norm_no_update", training=False),
    **{f"upsample_nearest{n}d": sampling.resample(f"upsample_nearest{n}d", n, 1) for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": sampling.resample(f"_upsample_nearest_exact{n}d", n, 1) for n in (1, 2, 3)},
    "upsample_linear1d": sampling.resample("upsample_linear1d", 1, 2),
    "upsample_bilinear2d": sampling.resample("upsample_bilinear2d", 2, 4),
    "upsample_trilinear3d": sampling.resample("upsample_trilinear3d", 3, 8),
    "upsample_bicubic2d": sampling.resample("upsample_bicubic2d", 2, 32, is_norm=False),
    "grid_sampler_2d": sampling.grid_sampler(2),
    "grid_sampler_3d": sampling.grid_sampler(3),
    "adaptive_avg_pool2d": sampling.adaptive_pool(functional.adaptive_avg_pool2d, 2),
    "_adaptive_avg_pool2d": sampling.adaptive_pool(ATEN._adaptive_avg_pool2d, 2),
    "adaptive_avg_pool1d": sampling.adaptive_pool(functional.adaptive_avg_pool1d, 1, is_norm=False),
    "_adaptive_avg_pool3d": sampling.adaptive_pool(functional.adaptive_avg_pool3d, 3, is_norm=False),
    "adaptive_max_pool2d": sampling.adaptive_pool(functional.adaptive_max_pool2d, 2, is_norm=False),
    "adaptive_max_pool3d": sampling.adaptive_pool(functional.adaptive_max_pool3d, 3, is_norm=False),
    "fractional_max_pool2d": sampling.fractional_pool(functional.fractional_max_pool2d, 2),
    "fractional_max_pool3d": sampling.fractional_pool(functional.fractional_max_pool3d, 3),
    "_upsample_bilinear2d_aa": sampling.antialiased("bilinear", 4),
    "_upsample_bicubic2d_aa": sampling.antialiased("bicubic", 32),
    "affine_grid_generator": sampling.affine_grid,
    "max_pool2d_with_indices": sampling.pool(ATEN.max_pool2d_with_indices, 2),
    "max_pool3d_with_indices": sampling.pool(ATEN.max_pool3d_with_indices, 3),
    "avg_pool2d": sampling.pool(ATEN.avg_pool2d, 2),
    "avg_pool3d": sampling.pool(ATEN.avg_pool3d, 3),
    "col2im": sampling.col2im,
    "softmax": by_element.softmax(torch.softmax),
    "_softmax": by_element.softmax(lambda x, axis: ATEN._softmax(x, axis, False)),
    "_safe_softmax": by_element.softmax(ATEN._safe_softmax),
    "_log_softmax": by_element.softmax(torch.log_softmax),
    "rms_norm": by_element.rms_norm(functional.rms_norm),
    "_fused_rms_norm": by_element.rms_norm(lambda x, shape, weight: ATEN._fused_rms_norm(x, shape, weight, 1e-5)),
    "_weight_norm": by_element.weight_norm,
    "glu": by_element.glu,
    "native_dropout": by_element.dropout,
    "max": by_element.extremum(torch.max),
    "min": by_element.extremum(torch.min),
    "sort": by_element.sorting(torch.sort),
    "argsort": by_element.sorting(torch.argsort),
    "topk": by_element.topk,
    "bucketize": by_element.bucketize,
    "searchsorted": by_element.searchsorted,
    "trace": by_element.trace,
    "where": by_element.where,
    "index_add": by_element.index_add,
    "index_put": by_element.index_put,
    "scatter": by_element.scatter,
    "scatter_add": by_element.scatter_with(torch.scatter_add),
    "scatter_reduce": by_element.scatter_with(lambda *given: torch.scatter_reduce(*given, "sum")),
    "bincount": by_element.bincount,
    **{name: by_element.reduction(*case) for name, case in REDUCTIONS.items()},
}
BY_ELEMENT = {
    str(form): by_element.element_wise(name, form)
    for name in sorted({*ELEMENTWISE, *by_element.THREE})
    for form in by_element.overloads(name)
}
QUIET = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


def assert_counted(case: forms.Case, data: st.DataObject) -> None:
    run, work = case(Draw(data))
    total = count_flops(run).total
    assert (total.macs, total.norms, total.others) == work


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:The reduce argument of torch.scatter")
@QUIET
@given(data=st.data())
def test_an_operator_costs_its_closed_form(name, data):
    assert_counted(CASES[name], data)


@pytest.mark.parametrize("name", BY_ELEMENT)
@settings(QUIET, max_examples=2)
@given(data=st.data())
def test_an_element_wise_operator_costs_the_size_of_its_broadcast_result(name, data):
    assert_counted(BY_ELEMENT[name], data)


def test_every_handler_has_a_closed_form():
    named = {name if "::" in name else f"aten::{name}" for name in CASES}
    named |= {f"aten::{name.split('.')[1]}" for name in BY_ELEMENT}
    free = {f"aten::{name}" for name in ZERO_COST} | {name for name in HANDLERS if name.startswith("profiler::")}
    # It runs on devices of others alone.
    assert HANDLERS["aten::convolution_overrideable"] is HANDLERS["aten::convolution"]
    named.add("aten::convolution_overrideable")
    assert set(HANDLERS) - named - free == set()
    assert not named & free


def test_what_is_free_costs_nothing():
    for name in ZERO_COST:
        assert not HANDLERS[f"aten::{name}"]((), ()).flops
