"""A point's key changes with everything that could change its figure, and with nothing else."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from helpers.fakes import groups

from fgbench.measure.points import ModelSpec, RunMode, point_key

(GROUP,) = groups("vit")
SESSION = {"torch": "2.11", "device_name": "H200", "code": "abc"}
OTHER = {
    "str": "other",
    "str | None": "other",
    "int": 7,
    "int | None": 7,
    "float | None": 7.5,
    "ImageSize": 448,
    "bool": True,
}


def test_the_key_is_the_same_in_every_process():
    assert point_key(GROUP, 4, SESSION) == point_key(GROUP, 4, dict(reversed(SESSION.items())))


@pytest.mark.parametrize("field", [field.name for field in fields(ModelSpec)])
def test_every_field_of_a_case_is_in_the_key(field):
    kind = next(f.type for f in fields(ModelSpec) if f.name == field)
    other = replace(GROUP, case=replace(GROUP.case, **{field: OTHER[kind]}))
    assert point_key(other, 4, SESSION) != point_key(GROUP, 4, SESSION)


@pytest.mark.parametrize("field", [field.name for field in fields(RunMode)])
def test_every_field_of_a_mode_is_in_the_key(field):
    kind = next(f.type for f in fields(RunMode) if f.name == field)
    other = replace(GROUP, mode=replace(GROUP.mode, **{field: OTHER[kind]}))
    assert point_key(other, 4, SESSION) != point_key(GROUP, 4, SESSION)


def test_batch_repeat_and_session_are_in_the_key():
    keys = {
        point_key(GROUP, 4, SESSION),
        point_key(GROUP, 8, SESSION),
        point_key(replace(GROUP, repeat=1), 4, SESSION),
        point_key(replace(GROUP, repeat=2), 4, SESSION),
        *(point_key(GROUP, 4, SESSION | {name: "other"}) for name in SESSION),
    }
    assert len(keys) == 7
