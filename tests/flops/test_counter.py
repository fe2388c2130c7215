"""The counter against fvcore, against torch's own counter, and against arithmetic by hand."""

from __future__ import annotations

import logging
import warnings

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.nn import functional

from fgbench import count_flops
from fgbench.flops.counter import FlopCounter
from fgbench.flops.crosscheck import torch_macs
from fgbench.flops.handlers import HANDLERS, Cost, UncountedOperatorError, register
from fgbench.flops.operators import ELEMENTWISE, REDUCTIONS, ZERO_COST
from fgbench.models.backbone import timm

MODELS = {  # every one small enough for fvcore's tracing on a CPU
    "vit_tiny_patch16_224": 224,
    "deit_tiny_distilled_patch16_224": 224,
    "vit_wee_patch16_reg1_gap_256": 256,
    "eva02_tiny_patch14_224": 224,
    "swin_tiny_patch4_window7_224": 224,
    "pvt_v2_b0": 64,
    "volo_d1_224": 224,
    "resnet101": 64,
    "convnext_atto": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "inception_v3": 96,
}


def fvcore_total(run: nn.Module, *inputs: torch.Tensor) -> float:
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(run, inputs)
        return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()


@pytest.fixture
def unfused():
    before = timm.layers.use_fused_attn()
    timm.layers.set_fused_attn(False)
    yield
    timm.layers.set_fused_attn(bool(before))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.usefixtures("unfused")
def test_the_fvcore_total_is_fvcores_own_to_the_last_digit(name):
    model = timm.create_model(name, num_classes=10).eval()
    image = torch.randn(1, 3, MODELS[name], MODELS[name])
    count = count_flops(model, image)
    assert count.flops("fvcore") == fvcore_total(model, image)
    assert count.macs == torch_macs(model, image)


def test_the_reference_totals_of_vit_base():
    for size, total in ((224, 17_582_125_824), (1024, 660_175_329_024)):
        with torch.device("meta"):
            model = timm.create_model("vit_base_patch16_224", img_size=size, num_classes=200)
        assert count_flops(model, torch.empty(1, 3, size, size)).flops("fvcore") == total


class Run(nn.Module):
    """A function as a module, for fvcore's tracer."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


# name: (function, inputs, right multiply–adds, what fvcore says; None where it fails)
MISTAKES = {
    "a convolution padded 'same'": (
        lambda x, w: functional.conv2d(x, w, padding="same"),
        (torch.randn(1, 3, 8, 8), torch.randn(4, 3, 3, 3)),
        4 * 8 * 8 * 3 * 9,
        0,
    ),
    "baddbmm": (torch.baddbmm, (torch.randn(2, 3, 5), torch.randn(2, 3, 4), torch.randn(2, 4, 5)), 2 * 3 * 4 * 5, 0),
    "a broadcast product": (
        torch.matmul,
        (torch.randn(4, 1, 5, 6), torch.randn(1, 3, 6, 7)),
        4 * 3 * 5 * 6 * 7,
        4 * 5 * 6 * 7,
    ),
    "matrix @ vector": (torch.matmul, (torch.randn(5, 6), torch.randn(6)), 5 * 6, None),
    "a general einsum": (
        lambda a, b: torch.einsum("bhid,bhjd->bhij", a, b),
        (torch.randn(1, 3, 37, 11), torch.randn(1, 3, 41, 11)),
        3 * 37 * 41 * 11,
        50050,
    ),
    "fused attention": (
        functional.scaled_dot_product_attention,
        tuple(torch.randn(1, 2, 9, 4) for _ in range(3)),
        2 * 2 * 9 * 9 * 4,
        0,
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_fvcores_known_mistakes_are_not_ours(case):
    function, inputs, right, theirs = MISTAKES[case]
    assert count_flops(Run(function), *inputs).macs == right
    if theirs is None:
        with pytest.raises(Exception):  # noqa: B017, PT011  # whatever it raises
            fvcore_total(Run(function), *inputs)
    else:
        assert fvcore_total(Run(function), *inputs) == theirs != right


class SelfAttention(nn.MultiheadAttention):
    def forward(self, x):
        return super().forward(x, x, x)[0]


def test_multi_head_attention_is_counted_without_its_fast_path():
    module = SelfAttention(8, 2, batch_first=True).eval()
    x = torch.randn(1, 5, 8)
    right = 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8
    assert count_flops(module, x).macs == count_flops(lambda: module(x)).macs == right
    assert fvcore_total(module, x) == 0


@pytest.mark.parametrize("enabled", [True, False])
def test_the_switch_of_the_fast_path_is_left_as_it_was(enabled):
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        count_flops(lambda: torch.ones(1))
        assert torch.backends.mha.get_fastpath_enabled() is enabled
        with pytest.raises(ZeroDivisionError):
            count_flops(lambda: 1 / 0)
        assert torch.backends.mha.get_fastpath_enabled() is enabled
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def test_what_fvcore_counts_as_nothing_is_counted():
    x = torch.randn(4, 6)
    n = x.numel()
    for run, work in (
        (lambda: x.softmax(-1), 5 * n),
        (lambda: torch.softmax(x, dim=-1, out=torch.empty_like(x)), 5 * n),
        (lambda: torch.bmm(x[None], x[None].mT, out=x.new_empty(1, 4, 4))[0] * 0, 2 * 16 * 6 + 16),
        (lambda: x * x + 1, 2 * n),
        (lambda: x.mean(-1), n),
        (lambda: x.sum(), n),
        (lambda: x.argmax(-1), n),
        (lambda: x.topk(3, dim=-1), 2 * n),
        (lambda: x.sort(dim=0), 2 * n),
        (lambda: torch.maximum(x, x), n),
        (lambda: x.max(dim=0), n),
        (lambda: x > 0, n),
        (lambda: torch.linalg.vector_norm(x, dim=-1), 2 * n),
        (lambda: x.clone().add_(1), n),
        (lambda: functional.gelu(x), n),
        (lambda: x.reshape(6, 4).transpose(0, 1)[:2], 0),
    ):
        count = count_flops(run)
        assert (count.flops("full"), count.flops("fvcore")) == (work, count.macs)


def test_conventions_add_up_by_hand():
    """A linear layer, a norm and an activation on 5 tokens of width 4."""
    module = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU())
    count = count_flops(module, torch.randn(5, 4))
    assert count.macs == 5 * 4 * 8
    assert count.flops("fvcore") == count.macs + 5 * 40
    assert count.flops("full") == 2 * count.macs + 5 * 40 + 40
    with pytest.raises(ValueError, match="paper"):
        count.flops("paper")


@pytest.mark.parametrize("size", [64, 96])
def test_fused_attention_costs_what_unfused_does_whatever_a_device_makes_of_it(size):
    options = {"img_size": size, "num_classes": 10}
    fused = timm.create_model("vit_tiny_patch16_224", **options).eval()
    unfused = timm.create_model("vit_tiny_patch16_224", **options).eval()
    for block in unfused.blocks:
        block.attn.fused_attn = False
    assert all(block.attn.fused_attn for block in fused.blocks)
    image = torch.randn(1, 3, size, size)
    on_cpu, on_meta = count_flops(lambda: fused(image)), count_flops(fused, image)
    assert on_cpu.by_operator == on_meta.by_operator
    assert "aten::scaled_dot_product_attention" in on_meta.by_operator
    assert on_meta.total == count_flops(unfused, image).total


def test_attention_inside_of_an_encoder_layer_is_counted_like_any_other():
    """nn.TransformerEncoderLayer asks for no weights, and its attention is fused."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.randn(1, 5, 8)
    assert count_flops(layer, x).total == count_flops(lambda: layer(x)).total
    assert count_flops(layer, x).by_operator["aten::scaled_dot_product_attention"] == Cost(
        macs=2 * 5 * 5 * 8, others=5 * 8 + 5 * 2 * 25
    )


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(3, 4, 3, padding="same"),
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.SELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.Dropout(), nn.Softmax(-1)),
    ],
)
def test_the_count_is_the_same_in_inference_mode(module):
    x = torch.randn(1, 3, 8, 8)
    outside = count_flops(module, x)
    with torch.inference_mode():
        assert count_flops(module, x) == outside
        assert count_flops(lambda: module.eval()(x)) == outside


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x.mean((-1, -2), keepdim=True),
        lambda x: x.mean([-1, -2], keepdim=True),
        lambda x: functional.adaptive_avg_pool2d(x, 1),
        lambda x: functional.adaptive_avg_pool2d(x, 2),
        lambda x: functional.adaptive_avg_pool1d(x[0], 1),
        lambda x: functional.adaptive_avg_pool1d(x[0], 2),
        lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True).eval(),
        nn.InstanceNorm2d(4, affine=True).eval(),
        nn.InstanceNorm2d(4).eval(),
    ],
)
def test_pooling_means_and_norms_are_fvcores_in_its_convention(run):
    x = torch.randn(2, 4, 8, 8)
    assert count_flops(Run(run), x).flops("fvcore") == fvcore_total(Run(run), x)


def test_grouped_and_transposed_convolutions():
    x = torch.randn(2, 4, 6, 6)
    grouped = nn.Conv2d(4, 8, 3, groups=2, padding=1)
    upward = nn.ConvTranspose2d(4, 8, 2, stride=2)
    assert count_flops(grouped, x).macs == 2 * 8 * 36 * (4 // 2) * 9 == torch_macs(grouped, x)
    assert count_flops(upward, x).macs == 2 * 36 * 4 * 8 * 4 == torch_macs(upward, x)


def test_modules_share_out_the_total():
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=10)
    count = count_flops(model, torch.randn(1, 3, 32, 32), modules=True)
    name = type(model).__name__
    assert count.by_module[name] == count.total
    blocks = [count.by_module[f"{name}.blocks.{i}"] for i in range(2)]
    assert blocks[0] == blocks[1]
    assert blocks[0].macs == 5 * 12 * 192**2 + 2 * 25 * 192
    assert sum(count.by_operator.values(), Cost()) == count.total


def test_the_counted_module_is_left_alone():
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=10).train()
    weights = {name: (p.data_ptr(), p.device) for name, p in model.named_parameters()}
    count_flops(model, torch.randn(1, 3, 32, 32), modules=True)
    assert model.training
    assert weights == {name: (p.data_ptr(), p.device) for name, p in model.named_parameters()}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not torch.nn.modules.module._global_forward_hooks
    with pytest.raises(AssertionError, match="Input height"):
        count_flops(model, torch.randn(1, 3, 99, 7), modules=True)
    assert not torch.nn.modules.module._global_forward_hooks, "a failed count leaves hooks behind"


def test_an_operator_without_a_cost_fails_the_count_by_name():
    with pytest.raises(UncountedOperatorError, match="aten::cholesky_inverse"):
        count_flops(lambda: torch.cholesky_inverse(torch.eye(3)))


def test_a_custom_operator_can_be_given_a_cost(monkeypatch):
    @torch.library.custom_op("fgbench_test::scan", mutates_args=())
    def scan(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    with pytest.raises(UncountedOperatorError, match="fgbench_test::scan"):
        count_flops(lambda: scan(torch.ones(7)))
    monkeypatch.setattr("fgbench.flops.handlers.HANDLERS", dict(HANDLERS))
    register("fgbench_test::scan", lambda inputs, outputs: Cost(others=3 * inputs[0].numel()))
    assert count_flops(lambda: scan(torch.ones(7))).flops() == 21


def test_every_pointwise_operator_of_torch_is_in_a_table_or_a_known_exception():
    """New pointwise operators of torch show up here, not as a failed count at a user's."""
    tagged = set()
    for qualified in torch._C._dispatch_get_all_op_names():
        namespace, _, rest = qualified.partition("::")
        name, _, overload = rest.partition(".")
        packet = getattr(torch.ops.aten, name, None) if namespace == "aten" else None
        operator = getattr(packet, overload or "default", None)
        if operator is not None and torch.Tag.pointwise in operator.tags:
            tagged.add(name)
    assert len(tagged) > 200
    exotic = ("special_", "igamma", "mvlgamma", "polygamma", "nextafter", "gcd", "lcm", "frexp", "fake_quantize")
    missing = {
        name
        for name in tagged
        if not name.endswith("backward")
        and not name.startswith(exotic)
        and f"aten::{name}" not in HANDLERS
        and f"aten::{name.rstrip('_')}" not in HANDLERS
    }
    assert missing == set()


def test_no_operator_stands_in_two_tables():
    assert not ZERO_COST & ELEMENTWISE
    assert not ZERO_COST & set(REDUCTIONS)
    assert not ELEMENTWISE & set(REDUCTIONS)


class MakesTensors(nn.Module):
    def forward(self, x):
        return x * torch.arange(x.shape[-1]) + torch.zeros(1)


def test_tensors_that_a_forward_makes_are_on_the_right_device():
    assert count_flops(MakesTensors(), torch.randn(3, 4)).flops() == 24


def test_counters_nest():
    x = torch.randn(3, 4)
    with FlopCounter() as outer:
        x @ x.T
        with FlopCounter() as inner:
            x @ x.T
    assert inner.result().macs == 36
    assert outer.result().macs == 72
