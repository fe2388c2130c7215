"""Files with several sets of weights: the default set, the choice of another, and the message."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers.model_scenes import backbones_of
from helpers.weight_files import google_arrays
from hypothesis import given, settings
from hypothesis import strategies as st

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model, models
from fgbench.models.checkpoints.files import read_source
from fgbench.models.checkpoints.sets import choose


@pytest.fixture(scope="module")
def model():
    return create_model("vit", backbones_of(models.load("vit"))[0], img_size=64, num_classes=3).eval()


def weights(value, **more):
    """A set of weights that is told by its value."""
    return {"block.weight": torch.full((2, 2), float(value)), "head.bias": torch.full((2,), float(value)), **more}


def prefixed(prefix, held):
    return {prefix + name: tensor for name, tensor in held.items()}


def read(tmp_path, held, wanted=None, name="file.pth"):
    """The value of the set that is read, and its key."""
    torch.save(held, tmp_path / name)
    source = read_source(tmp_path / name, wanted)
    values = {float(tensor.mean()) for tensor in source.tensors.values() if tensor.ndim}
    assert len(values) == 1
    return values.pop(), source.key


RAW, EMA = weights(1), weights(2)
# Layouts: what the file holds, the keys of the default, of raw and of ema. Raw weights are 1, averages 2.
TWO = {
    "DeiT, ConvNeXt": ({"model": RAW, "model_ema": EMA, "epoch": 3}, "model", "model", "model_ema"),
    "timm": ({"state_dict": RAW, "state_dict_ema": EMA, "arch": "vit"}, "state_dict", "state_dict", "state_dict_ema"),
    "net and ema": ({"net": RAW, "ema": EMA}, "net", "net", "ema"),
    "a shadow of its own": ({"model": RAW, "ema": {"module": EMA, "decay": 0.99}}, "model", "model", "ema.module"),
    "one within the other": ({"model": {"state_dict": RAW, "ema": EMA}}, "model.state_dict", "model.state_dict", None),
    "camel case": ({"model": RAW, "modelEMA": EMA}, "model", "model", "modelEMA"),
    "BasicSR": ({"params": RAW, "params_ema": EMA}, "params", "params", "params_ema"),
    "torch's AveragedModel": (
        {"model_state_dict": RAW, "averaged_model": prefixed("module.", EMA) | {"n_averaged": torch.tensor(4)}},
        "model_state_dict",
        "model_state_dict",
        "averaged_model",
    ),
    "SWA": ({"model": RAW, "swa_model": EMA}, "model", "model", "swa_model"),
    "at the top": ({**RAW, "ema": EMA}, ".", ".", "ema"),
    "of another name": ({"generator": RAW, "generator_ema": EMA}, "generator", "generator", "generator_ema"),
    # MMEngine's EMAHook swaps them as it saves: see its docstring.
    "MMEngine": (
        {"meta": {"epoch": 3}, "state_dict": EMA, "message_hub": {}, "ema_state_dict": prefixed("module.", RAW)},
        "state_dict",
        "ema_state_dict",
        "state_dict",
    ),
    # Lightning's WeightAveraging as well.
    "Lightning": (
        {"state_dict": EMA, "current_model_state": RAW, "averaging_state": {"n_averaged": torch.tensor(4)}},
        "state_dict",
        "current_model_state",
        "state_dict",
    ),
    "by prefixes": (prefixed("model.", RAW) | prefixed("model_ema.", EMA), "model", "model", "model_ema"),
    "by prefixes, wrapped": (
        prefixed("module.net.", RAW) | prefixed("module.ema.", EMA),
        "net",
        "net",
        "ema",
    ),
    "by prefixes, one of them wrapped": (
        {"state_dict": prefixed("model.", RAW) | prefixed("ema.module.", EMA)},
        "state_dict.model",
        "state_dict.model",
        "state_dict.ema",
    ),
    "by the prefix of one": ({"state_dict": RAW | prefixed("ema.", EMA)}, "state_dict", "state_dict", "ema"),
}


@pytest.mark.parametrize("layout", TWO)
def test_one_of_two_sets_is_read_and_named_and_the_other_can_be_chosen(layout, tmp_path):
    held, by_default, raw, ema = TWO[layout]
    of = {raw: 1.0, ema: 2.0, "model.ema": 2.0}
    ema = ema or "model.ema"
    assert read(tmp_path, held) == (of[by_default], by_default)
    assert read(tmp_path, held, "raw") == (1.0, raw)
    value, key = read(tmp_path, held, "ema")
    assert (value, key.removeprefix("state_dict.") if layout == "by the prefix of one" else key) == (2.0, ema)
    assert read(tmp_path, held, key) == (2.0, key)
    (note,) = read_source(tmp_path / "file.pth", None).notes
    assert note.startswith(f"the weights under {by_default!r} are read, not those under ")
    assert "--weights chooses" in note
    assert ("keeps the average under 'state_dict'" in note) == (layout in ("MMEngine", "Lightning"))


ALONE = ["net", "ema", "module", "teacher", "student", "network", "backbone", "encoder", "model_ema", "state_dict_ema"]


@pytest.mark.parametrize("key", [*ALONE, "model", "state_dict", "model_state_dict", "weights"])
@pytest.mark.parametrize("beside", [{}, {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "epoch": 3}])
def test_a_single_set_is_read_under_whatever_key(key, beside, tmp_path):
    value, read_key = read(tmp_path, {**beside, key: weights(5)})
    assert value == 5.0
    assert read_key == (None if key in ("model", "state_dict", "model_state_dict") else key)


def test_what_training_keeps_beside_weights_is_no_set_of_weights(tmp_path):
    tensor = torch.ones(4)
    held = {
        "optimizer": {"state": {0: {"exp_avg": tensor}}, "param_groups": [{"lr": 0.1}]},
        "optimizer_states": [{"state": {0: tensor}}],
        "lr_schedulers": {"base": tensor},
        "dino_loss": {"center": tensor},
        "criterion": {"weight": tensor},
        "scaler": {"scale": tensor},
        "torch_rng_state": torch.get_rng_state(),
        "rng_state": {"cpu": torch.get_rng_state()},
        "buffer_names": ["a"],
        "args": argparse.Namespace(lr=0.1),
        "best": torch.tensor(0.5),
        "hyper_parameters": {"width": 3},
        "anything": OrderedDict(weights(7)),
    }
    assert read(tmp_path, held) == (7.0, "anything")
    del held["anything"]
    with pytest.raises(FgbenchError, match=r"no weights in the checkpoint .*; tensors are under .*'optimizer.state.0'"):
        read(tmp_path, held)


EQUAL_RIGHT = {
    "DINO": ({"student": RAW, "teacher": EMA}, "'student', 'teacher'"),
    "DINOv2": ({"model": prefixed("student.", RAW) | prefixed("teacher.", EMA)}, "'model.student', 'model.teacher'"),
    "two names of the same": ({"model": RAW, "state_dict": EMA}, "'model', 'state_dict'"),
    "parts": ({"backbone": RAW, "head": EMA}, "'backbone', 'head'"),
    "two averages": ({"model_ema": RAW, "model_ema_2": EMA}, "'model_ema', 'model_ema_2'"),
    "two steps": ({"best_model": RAW, "last_model": EMA}, "'best_model', 'last_model'"),
    "MoCo": ({"encoder_q": RAW, "encoder_k": EMA}, "'encoder_q', 'encoder_k'"),
    "the top and a key": ({"centers": torch.ones(3), "feature_net": EMA}, "'.' (the file's top), 'feature_net'"),
}


@pytest.mark.parametrize("layout", EQUAL_RIGHT)
def test_two_sets_of_equal_right_are_named_and_neither_is_read(layout, tmp_path):
    held, keys = EQUAL_RIGHT[layout]
    with pytest.raises(FgbenchError, match=r"2 sets of weights, under ") as caught:
        read(tmp_path, held)
    assert keys in str(caught.value)
    assert "choose with --weights" in str(caught.value)
    assert "\n" not in str(caught.value)
    if layout != "the top and a key":
        first, second = (key.strip("'") for key in keys.split(", "))
        assert [read(tmp_path, held, key) for key in (first, second)] == [(1.0, first), (2.0, second)]


def test_the_teacher_is_the_average_of_the_student(tmp_path):
    for held in ({"student": RAW, "teacher": EMA}, prefixed("student.", RAW) | prefixed("teacher.", EMA)):
        assert [read(tmp_path, held, which) for which in ("raw", "ema")] == [(1.0, "student"), (2.0, "teacher")]


def test_two_names_of_one_set_are_one(tmp_path):
    assert read(tmp_path, {"model": RAW, "state_dict": RAW}) == (1.0, None)
    assert read(tmp_path, {"model": weights(1), "state_dict": weights(1)})[0] == 1.0
    assert read(tmp_path, {"student": RAW, "teacher": RAW}, "teacher")[0] == 1.0


@pytest.mark.parametrize(
    ("held", "wanted", "words"),
    [
        (RAW, "ema", r"no average of weights is in the checkpoint .*tensors are under '\.' \(the file's top\)"),
        ({"model": RAW}, "ema", "no average of weights is in the checkpoint .*tensors are under 'model'"),
        ({"ema": EMA}, "raw", "nothing but averages of weights is in the checkpoint .*under 'ema'"),
        ({"model": RAW, "model_ema": EMA}, "emma", "no set of weights is called 'emma' .*'model', 'model_ema'"),
        ({"model": RAW}, "", "no set of weights is called '' in"),
        ({"model": RAW, "ema": EMA, "ema_slow": EMA | weights(3)}, "average", "no set of weights is called 'average'"),
        ({"net": RAW, "ema_a": EMA, "ema_b": weights(3)}, "ema", "2 sets of weights, under 'ema_a', 'ema_b'"),
    ],
)
def test_a_choice_that_the_file_does_not_have_is_refused(held, wanted, words, tmp_path):
    with pytest.raises(FgbenchError, match=words):
        read(tmp_path, held, wanted)


def test_other_formats_have_one_set(tmp_path):
    safetensors.torch.save_file(weights(4), tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **google_arrays())
    for name in ("a.safetensors", "a.npz"):
        assert read_source(tmp_path / name, "raw").key is None
        for wanted in ("ema", "model"):
            with pytest.raises(FgbenchError, match=r"no average of weights|none is called|no set of weights is called"):
                read_source(tmp_path / name, wanted)


def test_safetensors_tell_sets_apart_by_prefixes(tmp_path):
    safetensors.torch.save_file(prefixed("net.", RAW) | prefixed("ema.", EMA), tmp_path / "a.safetensors")
    assert read_source(tmp_path / "a.safetensors").key == "net"
    assert torch.equal(read_source(tmp_path / "a.safetensors", "ema").tensors["head.bias"], EMA["head.bias"])


def itself():
    held = {"epoch": 3}
    held["model"] = held
    return held


def in_a_ring():
    first, second = {}, weights(1)
    first["state_dict"], second["ema"] = second, first
    return {"model": first}


def deep(levels):
    held = weights(1)
    for _ in range(levels):
        held = {"model": held}
    return held


def doubled(levels):
    """A dictionary that is met 2 to the power of ``levels`` times by whoever follows all ways."""
    held = weights(6)
    for _ in range(levels):
        held = {"a": held, "b": held}
    return held


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (itself(), "a dictionary in the checkpoint holds itself"),
        (in_a_ring(), "a dictionary in the checkpoint holds itself"),
        (deep(300), "dictionaries lie more than 32 deep"),
        ({"model": [torch.ones(3), torch.ones(3)]}, "no weights in the checkpoint .*'model \\(without names\\)'"),
        (
            {"model": {0: torch.ones(3), ("a", 1): torch.ones(2)}},
            "no weights .* under 'model \\(names that are no text\\)'",
        ),
        ([weights(1)], "no weights"),
        (torch.ones(3), "no weights"),
        ("weights", "no weights"),
        ({}, "no weights"),
        ({"model": {}}, "no weights"),
        ({"model": None, "best": torch.tensor(3.0)}, "no weights"),
    ],
)
def test_a_file_without_a_dictionary_of_weights_is_one_line_and_never_hangs(held, words, tmp_path):
    with pytest.raises(FgbenchError, match=words) as caught:
        read(tmp_path, held)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_dictionaries_in_one_another_are_looked_at_once_each(tmp_path):
    assert read(tmp_path, deep(20)) == (1.0, None)
    assert read(tmp_path, doubled(30))[0] == 6.0


def test_a_weight_that_a_code_keeps_beside_is_taken_from_where_it_belongs(tmp_path):
    held = {
        "state_dict": weights(1),
        "feature_center": torch.full((3,), 1.0),
        "other": {"feature_center": torch.full((3,), 9.0), **weights(9)},
    }
    assert read(tmp_path, held) == (1.0, "state_dict")
    assert "feature_center" in read_source(tmp_path / "file.pth").tensors


def test_arrays_in_place_of_tensors_are_weights(tmp_path):
    held = {name: tensor.numpy() for name, tensor in weights(3).items()}
    assert read(tmp_path, {"model": held}) == (3.0, None)


def test_the_report_says_which_set_a_model_was_given(model, tmp_path):
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    raw, ema = ({name: tensor + shift for name, tensor in own.items()} for shift in (1, 2))
    torch.save({"model": raw, "model_ema": ema, "epoch": 1}, tmp_path / "a.pth")
    for which, key, wanted in ((None, "model", raw), ("ema", "model_ema", ema), ("raw", "model", raw)):
        report = fgbench.load_checkpoint(model, tmp_path / "a.pth", weights=which)
        assert all(torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())
        assert report.weights == key
        assert f"the weights under {key!r} are read, not those under" in str(report)
    torch.save({"model": raw}, tmp_path / "one.pth")
    alone = fgbench.load_checkpoint(model, tmp_path / "one.pth")
    assert (alone.weights, alone.notes) == (None, ())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: {"module": w, "buffer_names": [], "param_shapes": [{"a": torch.Size([3])}], "ds_version": "0.9"},
        lambda w: {"state_dict": prefixed("model.", w), "callbacks": {}, "hyper_parameters": {}, "loops": None},
        lambda w: {"state_dict": prefixed("module.", w), "optimizer": {"state": {}}},
        lambda w: {"meta": {"epoch": 1}, "state_dict": w},
        lambda w: prefixed("_orig_mod.module.", w),
        lambda w: {"teacher": prefixed("module.backbone.", w) | {"module.head.mlp.0.weight": torch.ones(2, 2)}},
        lambda w: {"model": {"state_dict": OrderedDict(prefixed("module.model.", w))}},
    ],
    ids=["DeepSpeed", "Lightning", "SwAV", "MMEngine", "compiled", "DINO", "nested"],
)
def test_layouts_of_training_codes_are_loaded_whole(wrap, model, tmp_path):
    wanted = {name: tensor.clone() + 1 for name, tensor in model.state_dict().items()}
    torch.save(wrap(wanted), tmp_path / "a.pth")
    report = fgbench.load_checkpoint(model, tmp_path / "a.pth")
    assert report.missing == ()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())


KEYS = ["model", "model_ema", "state_dict", "net", "teacher", "student", "ema", "optimizer", "loss", "a", "b", "meta"]
OF_TRAINING = {"optimizer", "loss", "meta"}
TREES = st.recursive(
    st.sampled_from(["weights", "number", "list"]),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@given(TREES, st.sampled_from([None, "raw", "ema", "model", "a", "."]))
@settings(max_examples=150, deadline=None)
def test_weights_of_two_sets_are_never_mixed_and_states_of_training_never_read(tree, wanted):
    of: dict[float, tuple[str, ...]] = {}

    def grown(tree, line=()):
        if isinstance(tree, dict):
            return {key: grown(inner, (*line, key)) for key, inner in tree.items()}
        if tree == "weights":
            of[float(len(of) + 1)] = line
            return weights(len(of))
        return 3 if tree == "number" else [torch.ones(2)]

    held = grown(tree)
    try:
        chosen = choose(held, wanted, Path("file.pth"))
    except FgbenchError as error:
        refusal: FgbenchError | None = error
    else:
        refusal = None
    sets = [line for line in of.values() if OF_TRAINING.isdisjoint(line)]
    if refusal is not None:
        assert "\n" not in str(refusal)
        assert len(sets) != 1 or wanted is not None, "the only set there is is read"
        return
    (value,) = {float(tensor.mean()) for tensor in chosen.weights.values()}
    line = of[value]
    assert line in sets
    assert chosen.key in (None, ".".join(line) or ".")
    assert chosen.key is not None or len(sets) == 1
    average = not {"ema", "model_ema", "teacher"}.isdisjoint(line)
    assert wanted not in ("raw", "ema") or average == (wanted == "ema") or wanted == ".".join(line)
