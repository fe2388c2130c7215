"""Repeating an operator's result on meta tensors gives what running it again would have given."""

from __future__ import annotations

import pytest
import torch
from torch.utils._pytree import tree_leaves

from fgbench.flops.counter import count_flops
from fgbench.flops.replay import MetaReplay
from fgbench.models.backbone import build_on_meta

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
