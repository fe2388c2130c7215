"""Operators that take functions, compiled functions, and tensors of other kinds: by hand, or refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._higher_order_ops import while_loop
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.map import map as map_over
from torch._higher_order_ops.scan import scan
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils.checkpoint import checkpoint

from fgbench import count_flops
from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.flops.cost import Cost

BATCH, HEADS, LENGTH, SOURCES, WIDTH, VALUE_WIDTH = 2, 4, 5, 6, 8, 3
PAIRS = BATCH * HEADS * LENGTH * SOURCES
MACS = PAIRS * (WIDTH + VALUE_WIDTH)
SCALING = BATCH * HEADS * LENGTH * WIDTH
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


class Run(nn.Module):
    """A function as a module: it is counted on the meta device."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def flex(**options):
    kv_heads = options.pop("kv_heads", HEADS)
    q = torch.randn(BATCH, HEADS, LENGTH, WIDTH)
    k, v = torch.randn(BATCH, kv_heads, SOURCES, WIDTH), torch.randn(BATCH, kv_heads, SOURCES, VALUE_WIDTH)
    run = options.pop("run", flex_attention)
    count = count_flops(lambda: run(q, k, v, enable_gqa=kv_heads != HEADS, **options))
    return count.by_operator["flex_attention"]


def test_flex_attention_costs_what_fused_attention_does():
    assert flex() == flex(kv_heads=2) == Cost(macs=MACS, others=SCALING + 5 * PAIRS)
    assert flex(run=torch.compile(flex_attention, fullgraph=True)) == flex()


def test_what_flex_attention_does_to_scores_is_counted_per_pair():
    bias = torch.randn(HEADS)
    two = flex(score_mod=lambda score, b, h, i, j: score * 2 + bias[h])
    assert two == Cost(macs=MACS, others=SCALING + 7 * PAIRS)


def test_a_block_mask_counts_as_a_dense_one():
    mask = create_block_mask(lambda b, h, i, j: i >= j, BATCH, HEADS, LENGTH, SOURCES, device="cpu")
    assert flex(block_mask=mask) == Cost(macs=MACS, others=SCALING + 6 * PAIRS)


def test_flex_attention_does_not_run_on_the_meta_device_and_the_way_out_is_said():
    q = torch.randn(1, 1, 2, 8)
    with pytest.raises(CannotMeasureError, match=r"count_flops\(lambda: model\(images\)\)"):
        count_flops(Run(lambda q: flex_attention(q, q, q)), q)


def twice(x):
    return x @ x


def once(x):
    return x * 2


def test_of_two_branches_the_one_that_runs_is_counted():
    x = torch.randn(3, 3)
    for condition, flops in ((True, 2 * 27), (False, 9)):
        assert count_flops(lambda c=condition: torch.cond(torch.tensor(c), twice, once, (x,))).flops == flops


def test_without_data_both_branches_must_cost_the_same():
    x = torch.randn(3, 3)
    same = count_flops(Run(lambda x: torch.cond(x.sum() > 0, once, lambda x: x + 1, (x,))), x)
    assert same.flops == 9 + 1 + 9
    with pytest.raises(CannotMeasureError, match=r"cond.*meta device"):
        count_flops(Run(lambda x: torch.cond(x.sum() > 0, twice, once, (x,))), x)


def loop(x):
    return while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x @ x), (torch.tensor(0), x))


def test_a_loop_is_counted_as_often_as_it_runs_and_refused_where_nothing_tells():
    x = torch.randn(3, 3)
    assert count_flops(lambda: loop(x)).flops == 4 + 3 * (1 + 2 * 27)
    with pytest.raises(CannotMeasureError, match=r"while_loop.*meta device"):
        count_flops(Run(loop), x)


@pytest.mark.parametrize(
    ("run", "shape", "macs", "others"),
    [
        (lambda x: map_over(lambda part, w: part @ w, x, x[0]), (4, 3, 3), 4 * 27, 0),
        (lambda x: scan(lambda carried, part: (carried + part, carried * part), x[0], x), (4, 3), 0, 4 * 6),
        (lambda x: associative_scan(lambda one, other: one + other, x, 0, combine_mode="generic"), (4, 3), 0, 4 * 3),
    ],
)
def test_a_function_over_slices_is_counted_for_each(run, shape, macs, others):
    x = torch.randn(shape)
    for count in (count_flops(lambda: run(x)), count_flops(Run(run), x)):
        assert (count.macs, count.total.others) == (macs, others)


def test_an_operator_that_hides_what_it_runs_is_refused_by_name():
    with pytest.raises(FgbenchError, match="operator without a cost: 'inline_asm_elementwise'"):
        count_flops(
            lambda: torch.ops.higher_order.inline_asm_elementwise(
                torch.randn(2), asm_str="", constraints="=r,r", dtype=torch.float32
            )
        )


@pytest.mark.parametrize(
    "run",
    [
        torch.compile(twice, fullgraph=True),
        torch.compile(twice, backend="eager"),
        lambda x: torch.compile(twice, backend="eager", fullgraph=True)(x),
        lambda x: checkpoint(twice, x, use_reentrant=False),
        lambda x: checkpoint(twice, x, use_reentrant=True),
        lambda x: torch.vmap(lambda row: row @ x)(x),
        lambda x: torch.func.functional_call(nn.Linear(3, 3, bias=False), {"weight": x}, (x,)),
    ],
)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_a_function_costs_the_same_however_it_is_wrapped(run):
    x = torch.randn(3, 3)
    assert count_flops(lambda: run(x)).macs == 27


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_compiled_modules_and_scripts():
    x, linear = torch.randn(5, 3), nn.Linear(3, 4)
    compiled = torch.compile(linear, backend="eager")
    assert count_flops(compiled, x).by_module.keys() == {"Linear"}
    assert count_flops(compiled, x).macs == count_flops(lambda: compiled(x)).macs == 60
    script = torch.jit.script(linear)
    assert count_flops(lambda: script(x)).macs == 60
    linear.compile(backend="eager")
    assert count_flops(linear, x).macs == 60


def test_tensors_that_run_other_operators_in_their_place_are_counted_by_these():
    x = TwoTensor(torch.randn(3, 3), torch.randn(3, 3))
    count = count_flops(lambda: x @ x * 2)
    assert (count.macs, count.total.others) == (2 * 27, 2 * 9)
    ragged = torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(4, 3)], layout=torch.jagged)
    assert count_flops(lambda: functional.linear(ragged, torch.randn(5, 3))).macs == 6 * 3 * 5


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_tensors_whose_sizes_do_not_tell_the_work_are_refused():
    x = torch.eye(4)
    nested = torch.nested.nested_tensor([torch.randn(2, 4), torch.randn(3, 4)])
    for other, kind in ((x.to_sparse(), "sparse_coo"), (x.to_sparse_csr(), "sparse_csr"), (x.to_mkldnn(), "_mkldnn")):
        with pytest.raises(FgbenchError, match=rf"'aten::\w+ on {kind} tensors'"):
            count_flops(lambda other=other: other * other)
    with pytest.raises(FgbenchError, match="'aten::linear on nested tensors'"):
        count_flops(lambda: functional.linear(nested, x))


IMAGE, KERNEL = torch.randn(1, 3, 8, 8), torch.randn(4, 3, 3, 3)
CONVOLUTION = (IMAGE, KERNEL, [4], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True] * 3)
TOKENS, SQUARE = torch.randn(2, 5, 8), torch.randn(8, 8)
MULTI_HEAD = (TOKENS, TOKENS, TOKENS, 8, 2, torch.randn(24, 8), torch.randn(24), SQUARE, torch.randn(8))
REFUSED = {
    "_native_multi_head_attention": lambda: torch._native_multi_head_attention(*MULTI_HEAD),
    "_fft_r2c": lambda: torch.fft.fft(torch.randn(8)),
    "_linalg_svd": lambda: torch.linalg.svd(SQUARE),
    "_foreach_add": lambda: torch._foreach_add([SQUARE], 1.0),
    "convolution_backward": lambda: torch.ops.aten.convolution_backward(torch.randn(1, 4, 6, 6), *CONVOLUTION),
    "quantize_per_tensor": lambda: torch.quantize_per_tensor(SQUARE, 0.1, 0, torch.quint8),
    "binary_cross_entropy": lambda: functional.binary_cross_entropy(SQUARE.sigmoid(), SQUARE.sigmoid()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_cost_is_refused_in_one_line_by_name(name):
    with pytest.raises(FgbenchError, match=f"operator without a cost: 'aten::{name}") as caught:
        count_flops(REFUSED[name])
    assert "\n" not in str(caught.value)


def test_a_backward_pass_is_refused_in_one_line():
    with pytest.raises(CannotMeasureError, match="backward pass"):
        count_flops(lambda: nn.Linear(3, 3)(torch.randn(2, 3)).sum().backward())


def test_a_tensor_of_a_class_of_its_own_is_made_before_the_count():
    q, k = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 6, 8)
    attend = functional.scaled_dot_product_attention
    with pytest.raises(CannotMeasureError, match="make them before") as caught:
        count_flops(lambda: attend(q, k, k, causal_lower_right(5, 6)))
    assert "\n" not in str(caught.value)
    bias = causal_lower_right(5, 6)
    assert count_flops(lambda: attend(q, k, k, bias)).macs == 2 * 3 * 5 * 6 * 16


def test_packed_sequences_are_counted_with_their_values():
    recurrent, x = nn.LSTM(8, 6), torch.randn(5, 2, 8)
    packed = nn.utils.rnn.pack_padded_sequence(x, [5, 3])
    with pytest.raises(CannotMeasureError, match=r"count_flops\(lambda"):
        count_flops(recurrent, packed)
    pack = nn.utils.rnn.pack_padded_sequence
    assert count_flops(lambda: recurrent(pack(x, [5, 3]))).macs == (5 + 3) * 4 * 6 * (8 + 6)


def test_broadcast_queries_are_counted_for_every_key():
    q, k = torch.randn(1, 8, 5, 4), torch.randn(3, 8, 6, 4)
    assert count_flops(lambda: functional.scaled_dot_product_attention(q, k, k)).macs == 5_760


@pytest.mark.parametrize("shape", [(6,), (1, 1, 1, 2, 3, 6)])
def test_norms_of_any_number_of_axes(shape):
    assert count_flops(lambda: functional.layer_norm(torch.randn(shape), (6,))).flops == 4 * torch.Size(shape).numel()


def test_adding_where_a_mask_is_true_needs_its_values():
    x, mask = torch.empty(4, 6, device="meta"), torch.empty(4, dtype=torch.bool, device="meta")
    with pytest.raises(CannotMeasureError, match="aten::index_put"):
        count_flops(lambda: x.index_put_((mask,), torch.empty((), device="meta"), accumulate=True))
