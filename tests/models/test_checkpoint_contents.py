"""Contents of files of weights beside the weights: settings and logs are ignored, and no code in a file runs."""

from __future__ import annotations

import argparse
import os
import pickle
import random
import sys
import time
import uuid
from collections import OrderedDict, defaultdict, deque
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path, PureWindowsPath
from types import ModuleType, SimpleNamespace

import fvcore.common.config
import numpy as np
import pytest
import torch
import yacs.config
from helpers.model_scenes import built, logits

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.unpickling import restored


def test_the_arguments_and_the_log_of_a_training_run_do_no_harm(tmp_path):
    first, second = built(seed=1), built(seed=2)
    log = {"top1": np.array([1.0, 2.0]), "loss": np.float64(0.5), "epoch": 3, "seen": np.int64(4)}
    held = {"model": first.state_dict(), "args": argparse.Namespace(lr=0.1, name="x"), "logs": log}
    torch.save(held, tmp_path / "whole.pth")
    fgbench.load_checkpoint(second, tmp_path / "whole.pth")
    assert torch.equal(logits(first), logits(second))


class Node:
    """Stands for a node of OmegaConf, which is not installed: an object with a state."""

    def __init__(self, content) -> None:
        self._content = content


class Attributes(dict):
    """Stands for the dictionaries that easydict, addict and Lightning read by attributes."""


class SomebodysConfig:
    """A class that nobody knows."""


def named(kind, module, name, monkeypatch):
    """A class under the name of one whose package is not installed."""
    home = ModuleType(module)
    parents = [module[:place] for place, letter in enumerate(module) if letter == "."]
    for parent in parents:
        monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
    monkeypatch.setitem(sys.modules, module, home)
    made = type(name, (kind,), {"__module__": module})
    setattr(home, name, made)
    return made


BESIDE = {
    "a path": lambda _: Path("/runs/1"),
    "a path of Windows": lambda _: PureWindowsPath("C:/runs"),
    "a log": lambda _: defaultdict(list, {"loss": [0.5, np.float32(0.25)], "top1": [np.float64(3)]}),
    "a queue": lambda _: deque([1.0, 2.0], maxlen=5),
    "times": lambda _: [datetime.now(timezone.utc), timedelta(3), time.localtime()],
    "numbers of NumPy": lambda _: [np.dtype(code).type(1) for code in "bhilqBHILQefdgFD"] + [np.bool_(True)],
    "text of NumPy": lambda _: [np.str_("ant"), np.array(["ant", "bee"]), np.datetime64("2020-01-01")],
    "states of random generators": lambda _: [random.getstate(), np.random.get_state(), torch.get_rng_state()],
    "a version of torch": lambda _: torch.__version__,
    "an id": lambda _: uuid.UUID(int=3),
    "types": lambda _: {"type": int, "range": range(3), "cut": slice(2), "fixed": frozenset((1, 2))},
    "a namespace": lambda _: SimpleNamespace(lr=0.1),
    "yacs": lambda _: yacs.config.CfgNode({"MODEL": {"DEPTH": 12}}),
    "fvcore": lambda _: fvcore.common.config.CfgNode({"MODEL": {"DEPTH": 12}}),
    "OmegaConf": lambda patch: named(Node, "omegaconf.dictconfig", "DictConfig", patch)({"lr": Path("a")}),
    "easydict": lambda patch: named(Attributes, "easydict", "EasyDict", patch)(lr=0.1, more={"a": [1]}),
    "Lightning": lambda patch: named(Attributes, "lightning.fabric.utilities.data", "AttributeDict", patch)(lr=0.1),
}


@pytest.mark.parametrize("whole_zip", [True, False])
@pytest.mark.parametrize("kind", BESIDE)
def test_settings_and_logs_beside_weights_do_no_harm(kind, whole_zip, tmp_path, monkeypatch):
    first, second = built(seed=1), built(seed=2)
    beside = BESIDE[kind](monkeypatch)
    held = {"args": argparse.Namespace(it=beside), "state_dict": first.state_dict(), "beside": beside, "two": [beside]}
    torch.save(held, tmp_path / "whole.pth", _use_new_zipfile_serialization=whole_zip)
    monkeypatch.undo()
    report = fgbench.load_checkpoint(second, tmp_path / "whole.pth")
    assert torch.equal(logits(first), logits(second))
    assert (report.missing, report.unexpected, report.weights) == ((), (), None)


def test_what_stands_for_settings_is_none_of_the_classes_named(tmp_path):
    torch.save({"model": {"a.weight": torch.ones(2)}, "path": Path("/"), "log": defaultdict(list)}, tmp_path / "a.pth")
    with torch.serialization.safe_globals(restored()):
        held = torch.load(tmp_path / "a.pth", weights_only=True)
    assert (held["path"], held["log"]) == (OrderedDict(), OrderedDict())
    allowed = {one[0] if isinstance(one, tuple) else one for one in restored()}
    assert allowed.isdisjoint((Path, type(Path()), defaultdict, deque, getattr, eval, exec))


@pytest.mark.parametrize(
    ("beside", "what"),
    [
        (SomebodysConfig(), "SomebodysConfig"),
        (partial(int, base=3), "functools.partial"),
        (torch.nn.functional.gelu, "gelu"),
        (np.array([None], dtype=object), "numpy.dtypes.ObjectDType"),
        (np.zeros(2, dtype=[("a", "f4")]), "numpy.dtypes.VoidDType"),
    ],
)
def test_an_object_that_nobody_knows_is_refused_by_name(beside, what, tmp_path):
    torch.save({"model": built().state_dict(), "beside": beside}, tmp_path / "a.pth")
    with pytest.raises(FgbenchError, match=rf"holds more than weights \(\S*{what}\) .* save its state dict alone"):
        fgbench.load_checkpoint(built(), tmp_path / "a.pth")


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_pickle_of_a_newer_protocol_is_read_or_said_to_be_one(protocol, tmp_path):
    first, second = built(seed=1), built(seed=2)
    torch.save({"model": first.state_dict()}, tmp_path / "a.pth", pickle_protocol=protocol)
    try:
        fgbench.load_checkpoint(second, tmp_path / "a.pth")
    except FgbenchError as error:
        assert "that only running it could read" in str(error) and "pickle_protocol (2)" in str(error)  # noqa: PT017, PT018
    else:
        assert torch.equal(logits(first), logits(second))


class Evil:
    """An object whose restoring runs a command."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_crafted_file_is_refused_and_nothing_in_it_runs(tmp_path):
    trace = tmp_path / "it-ran"
    model = built()
    before = logits(model)
    torch.save({"model": model.state_dict(), "extra": Evil(trace)}, tmp_path / "evil.pth")
    with (tmp_path / "raw.pth").open("wb") as file:
        pickle.dump({"model": Evil(trace)}, file)
    np.savez(tmp_path / "evil.npz", **{"embedding/kernel": np.array([Evil(trace)], dtype=object)})
    torch.save({"model": np.array([Evil(trace)], dtype=object)}, tmp_path / "array.pth")
    for name in ("evil.pth", "raw.pth", "evil.npz", "array.pth"):
        with pytest.raises(FgbenchError) as caught:
            fgbench.load_checkpoint(model, tmp_path / name)
        assert "\n" not in str(caught.value)
        assert not trace.exists(), name
    assert torch.equal(logits(model), before)
    # the same file does run where somebody unpickles it
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.npz"])
@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half an archive"])
def test_a_damaged_file_is_one_clear_line(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FgbenchError, match=name) as caught:
        fgbench.load_checkpoint(built(), tmp_path / name)
    assert "\n" not in str(caught.value)


def test_half_a_file_is_one_clear_line(tmp_path):
    fgbench.save_checkpoint(built(), tmp_path / "a.safetensors")
    torch.save(built().state_dict(), tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(FgbenchError, match="cannot be read"):
            fgbench.load_checkpoint(built(), tmp_path / name)


@pytest.mark.parametrize(
    ("held", "why"),
    [({"a": torch.zeros(1)}, "of no known format"), ({"epoch": 3}, "no weights"), ([1, 2], "no weights")],
)
def test_a_file_of_something_else_is_refused(held, why, tmp_path):
    torch.save(held, tmp_path / "other.pth")
    with pytest.raises(FgbenchError, match=why):
        fgbench.load_checkpoint(built(), tmp_path / "other.pth")


def test_a_missing_file_and_a_folder_that_is_not_there_are_one_line(tmp_path):
    for name in ("none.pth", "none.npz", "none.safetensors"):
        with pytest.raises(FgbenchError, match="no checkpoint file"):
            fgbench.load_checkpoint(built(), tmp_path / name)
    with pytest.raises(FgbenchError, match="cannot be written"):
        fgbench.save_checkpoint(built(), tmp_path / "nowhere" / "a.safetensors")
    assert list(tmp_path.iterdir()) == []
