"""Copies of modules on the meta device, and repeated results of operators there."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from fgbench import count_flops
from fgbench.errors import FgbenchError
from fgbench.flops.meta import MetaReplay, meta_copy
from fgbench.models.backbone import build_on_meta

X = torch.randn(2, 6)


class PlainTensors(nn.Module):
    """Tensors that are neither parameters nor buffers, one of them with a graph behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.ones(6)
        self.more = {"list": [nn.Parameter(torch.ones(6)) * 2]}

    def forward(self, x):
        return x * self.scale * self.more["list"][0]


class Keywords(nn.Module):
    def forward(self, x, *, mask=None, twice=False):
        x = x if mask is None else x * mask
        return x + x if twice else x


class Marked(nn.Module):
    def forward(self, x):
        with torch.profiler.record_function("part"):
            return x + 1


def test_plain_tensors_go_along():
    assert count_flops(PlainTensors(), X).flops() == 2 * 12


def test_keywords_are_handed_on():
    assert count_flops(Keywords(), X).flops() == 0
    assert count_flops(Keywords(), X, mask=torch.ones(6), twice=True).flops() == 2 * 12
    assert count_flops(Keywords().forward, X, mask=torch.ones(6)).flops() == 12


@pytest.mark.parametrize("normed", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_reparametrized_weights_are_counted(normed):
    layer = normed(nn.Linear(6, 5))
    layer(X)  # leaves its weight behind as a tensor with a graph
    assert count_flops(layer, X).flops() == 3 * 30 + 2 * 60
    assert count_flops(lambda: layer(X)).flops() == 3 * 30 + 2 * 60


def test_what_is_wrapped_for_several_devices_is_counted_on_its_own():
    assert count_flops(nn.DataParallel(nn.Linear(6, 5)), X).macs == 60


def test_marks_for_a_profiler_are_free():
    assert count_flops(Marked(), X).flops() == 12


def test_a_copy_takes_no_data():
    copied = meta_copy(PlainTensors())
    assert copied.scale.device.type == copied.more["list"][0].device.type == "meta"


class Indexes(nn.Module):
    def forward(self, x):
        return x[x > 0]


class Branches(nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x


class Leaves(nn.Module):
    def forward(self, x):
        return x.cpu()


class ToNumPy(nn.Module):
    def forward(self, x):
        return torch.from_numpy(x.numpy())


class Hides(nn.Module):
    """It holds a layer where no copy finds its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(5, 5)]

    def forward(self, x):
        return self.layers[0](x)


@dataclass
class Inputs:
    x: torch.Tensor


class TakesInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)

    def forward(self, inputs):
        return self.layer(inputs.x)


@pytest.mark.parametrize("given", [(Hides(), torch.ones(2, 5)), (TakesInputs(), Inputs(torch.ones(2, 5)))])
def test_tensors_that_a_copy_does_not_find_are_refused_with_a_way_out(given):
    module, inputs = given
    with pytest.raises(FgbenchError, match=r"where a copy on the meta device does not find them; count_flops\(lambda"):
        count_flops(module, inputs)
    assert count_flops(lambda: module(inputs)).macs == 50


def test_what_cannot_be_called_is_no_model():
    with pytest.raises(FgbenchError, match="a module or a function is counted, not 3"):
        count_flops(3)


@pytest.mark.parametrize("module", [Indexes(), Branches(), Leaves(), ToNumPy()])
def test_a_module_that_reads_values_is_refused_with_a_way_out(module):
    with pytest.raises(FgbenchError, match=r"reads the values of tensors.*count_flops\(lambda: model\(images\)\)"):
        count_flops(module, X)


@pytest.mark.parametrize("module", [Indexes(), Branches()])
def test_the_way_out_works(module):
    assert count_flops(lambda: module(X)).flops() > 0


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_modules_that_cannot_be_copied_are_refused_in_one_line():
    scripted = nn.Sequential(torch.jit.script(nn.Linear(6, 5)))
    for module, message in ((scripted, "torch.jit module"), (nn.LazyLinear(5), "no shape yet")):
        with pytest.raises(FgbenchError, match=message) as caught:
            count_flops(module, X)
        assert "\n" not in str(caught.value)


def test_an_error_of_the_modules_own_stays_what_it_is():
    with pytest.raises(RuntimeError, match="broadcast"):
        count_flops(PlainTensors(), torch.randn(2, 5))


aten = torch.ops.aten


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def layouts(outputs) -> list:
    return [(x.shape, x.stride(), x.dtype, x.device.type) for x in tree_leaves(outputs)]


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.mul.Tensor, (meta(3, 4), meta(4))),
        (aten.mul.Tensor, (meta(4, 3).t(), meta(3, 4))),
        (aten.bmm.default, (meta(2, 3, 4), meta(2, 4, 5))),
        (aten.native_layer_norm.default, (meta(3, 4), [4], meta(4), meta(4), 1e-6)),
        (aten.max.dim, (meta(3, 4), 1)),
        (
            aten.convolution.default,
            (meta(1, 3, 8, 8), meta(4, 3, 2, 2), None, [2, 2], [0, 0], [1, 1], False, [0, 0], 1),
        ),
        (aten.view.default, (meta(3, 4), [12])),
        (aten.sum.default, (meta(3, 4, dtype=torch.int32),)),
        (aten.split.Tensor, (meta(6, 4), 2)),
    ],
    ids=lambda value: str(value) if callable(value) else "",
)
def test_a_repeated_result_has_the_layout_of_a_real_one(func, args):
    replay = MetaReplay()
    expected = layouts(func(*args))
    for _ in range(3):
        assert layouts(replay.run(func, args, {})) == expected


def test_equal_keys_of_other_types_are_other_operators():
    replay, whole = MetaReplay(), meta(3, dtype=torch.int64)
    assert replay.run(aten.mul.Scalar, (whole, 1), {}).dtype == torch.int64
    assert replay.run(aten.mul.Scalar, (whole, 1.0), {}).dtype == torch.float32
    assert replay.run(aten.mul.Scalar, (whole, 1), {}).dtype == torch.int64


def test_what_is_written_to_is_returned_itself():
    replay = MetaReplay()
    for _ in range(3):
        x, place = meta(3, 4), meta(2, 3, 3)
        assert replay.run(aten.add_.Tensor, (x, 1), {}) is x
        assert replay.run(aten.bmm.out, (meta(2, 3, 4), meta(2, 4, 3)), {"out": place}) is place


def test_operators_that_change_a_shape_in_place_run_every_time():
    replay = MetaReplay()
    for _ in range(3):
        x = meta(3, 1, 4)
        assert replay.run(aten.squeeze_.dim, (x, 1), {}).shape == x.shape == (3, 4)


def test_tensors_with_data_are_computed_every_time():
    replay = MetaReplay()
    for value in (1.0, 2.0):
        assert replay.run(aten.mul.Tensor, (torch.tensor(value), torch.tensor(3.0)), {}).item() == 3 * value


def test_a_count_is_the_same_with_and_without(monkeypatch):
    built = build_on_meta("vit_tiny_patch16_224", 224)
    repeated = count_flops(built.module.forward, built.image())
    monkeypatch.setattr(MetaReplay, "run", lambda self, func, args, kwargs: func(*args, **kwargs))
    assert count_flops(built.module.forward, built.image()) == repeated
