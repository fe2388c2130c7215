"""Files of weights: what fits is loaded, what does not is named, and nothing in a file is run."""

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
import safetensors.torch
import timm
import torch
import yacs.config
from helpers.model_scenes import backbones_of, enliven, images

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model, models
from fgbench.models.checkpoints.beside import restored


def built(name="glsim", size=64, seed=0, **options):
    backbone = options.pop("backbone", backbones_of(models.load(name))[0])
    return enliven(create_model(name, backbone, img_size=size, num_classes=3, **options), seed).eval()


def logits(model, size=64):
    with torch.no_grad():
        return model(images(2, size))


@pytest.mark.parametrize("name", models.names())
def test_our_own_files_give_the_same_logits_again(name, tmp_path):
    first, second = built(name, seed=1), built(name, seed=2)
    fgbench.save_checkpoint(first, tmp_path / "own.safetensors")
    report = fgbench.load_checkpoint(second, tmp_path / "own.safetensors")
    assert torch.equal(logits(first), logits(second))
    assert (report.format, report.missing, report.unexpected, report.resized) == ("fgbench", (), (), ())
    assert set(report.loaded) == set(first.state_dict())
    with safetensors.safe_open(tmp_path / "own.safetensors", "pt") as file:
        assert file.metadata()["model"] == type(first).__name__


def test_an_epsilon_that_a_file_of_ours_was_not_trained_with_is_said(tmp_path):
    fgbench.save_checkpoint(built("vit"), tmp_path / "timm.safetensors")
    fgbench.save_checkpoint(built("vit", norm_eps=1e-3), tmp_path / "own.safetensors")
    cases = (
        ("timm", None, 1e-6, ()),
        ("timm", 1e-2, 1e-2, ("the file was trained with norm_eps=None; the model has norm_eps=0.01",)),
        ("own", None, 1e-3, ()),
        ("own", 1e-2, 1e-3, ()),  # the file's, and the report says so
    )
    for file, eps, expected, said in cases:
        model = built("vit", norm_eps=eps)
        report = fgbench.load_checkpoint(model, tmp_path / f"{file}.safetensors")
        assert (report.differences, {m.eps for m in model.modules() if isinstance(m, torch.nn.LayerNorm)}) == (
            said,
            {expected},
        )


def test_cal_s_centers_come_along_once_training_has_begun(tmp_path):
    trained = built("cal").train()
    trained(images(2, 64), torch.tensor([0, 2]))
    fgbench.save_checkpoint(trained, tmp_path / "cal.safetensors")
    fresh = built("cal", seed=3)
    assert fresh.feature_center is None
    report = fgbench.load_checkpoint(fresh, tmp_path / "cal.safetensors")
    assert torch.equal(fresh.feature_center, trained.feature_center)
    assert report.unexpected == ()
    plain = built("cal", seed=4)
    plain.load_state_dict(trained.state_dict())
    assert torch.equal(plain.feature_center, trained.feature_center)


def test_positions_of_another_grid_are_resized_and_said(tmp_path):
    small, large = built(size=64), built(size=128, seed=5)
    fgbench.save_checkpoint(small, tmp_path / "small.safetensors")
    report = fgbench.load_checkpoint(large, tmp_path / "small.safetensors")
    assert report.resized == ("encoder.vit.pos_embed",)
    assert "resized" in str(report)
    given, kept = small.encoder.vit.pos_embed, large.encoder.vit.pos_embed
    assert kept.shape == (1, 65, 64)
    assert torch.equal(kept[:, :1], given[:, :1])
    # the corners of a resized grid lie near those of the old one
    assert torch.nn.functional.cosine_similarity(kept[0, 1], given[0, 1], dim=0) > 0.8


def test_what_is_missing_and_what_nobody_asked_for_is_listed(tmp_path):
    model = built()
    weights = model.state_dict()
    del weights["aggregator_norm.weight"]
    weights["extra.weight"] = torch.zeros(2)
    torch.save(weights, tmp_path / "part.pth")
    kept = model.aggregator_norm.weight.clone()
    report = fgbench.load_checkpoint(model, tmp_path / "part.pth")
    assert report.missing == ("aggregator_norm.weight",)
    assert report.unexpected == ("extra.weight",)
    assert torch.equal(model.aggregator_norm.weight, kept)
    for word in ("aggregator_norm.weight", "extra.weight"):
        assert word in str(report)


def test_shapes_that_cannot_fit_are_named_and_the_model_stays_as_it_was(tmp_path):
    other = enliven(create_model("glsim", "fgtest_vit", img_size=64, num_classes=7))
    fgbench.save_checkpoint(other, tmp_path / "seven.safetensors")
    model = built(seed=4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(FgbenchError, match="the checkpoint has a head for 7 classes, the model for 3"):
        fgbench.load_checkpoint(model, tmp_path / "seven.safetensors")
    narrow = {**other.state_dict(), "encoder.vit.norm.bias": torch.zeros(5)}
    safetensors.torch.save_file(narrow, tmp_path / "narrow.safetensors")
    with pytest.raises(FgbenchError, match=r"3 shapes do not fit: .*head.weight \(7, 64\) in the file, \(3, 64\)"):
        fgbench.load_checkpoint(model, tmp_path / "narrow.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"model": w}, lambda w: {"state_dict": w, "epoch": 3}])
@pytest.mark.parametrize("prefix", ["", "model.", "module.model."])
def test_files_are_taken_whole_or_bare_with_or_without_prefix(wrap, prefix, tmp_path):
    first, second = built(seed=1), built(seed=2)
    weights = {prefix + name: tensor for name, tensor in first.state_dict().items()}
    torch.save(wrap(weights), tmp_path / "file.pth")
    fgbench.load_checkpoint(second, tmp_path / "file.pth")
    assert torch.equal(logits(first), logits(second))


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


def google_arrays(depth=4, width=64, heads=2, side=4, head=None):
    """A small ViT in the layout of Google's .npz files."""
    rng = np.random.default_rng(0)
    each = width // heads

    def draw(*shape):
        return rng.normal(0, 0.2, shape).astype(np.float32)

    arrays = {
        "cls": draw(1, 1, width),
        "embedding/kernel": draw(16, 16, 3, width),
        "embedding/bias": draw(width),
        "Transformer/posembed_input/pos_embedding": draw(1, side * side + 1, width),
        "Transformer/encoder_norm/scale": draw(width),
        "Transformer/encoder_norm/bias": draw(width),
    }
    for block in range(depth):
        root = f"Transformer/encoderblock_{block}"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            arrays |= {f"{root}/{norm}/scale": draw(width), f"{root}/{norm}/bias": draw(width)}
        attention = f"{root}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            arrays |= {f"{attention}/{part}/kernel": draw(width, heads, each)}
            arrays |= {f"{attention}/{part}/bias": draw(heads, each)}
        arrays |= {f"{attention}/out/kernel": draw(heads, each, width), f"{attention}/out/bias": draw(width)}
        arrays |= {f"{root}/MlpBlock_3/Dense_0/kernel": draw(width, 4 * width)}
        arrays |= {f"{root}/MlpBlock_3/Dense_0/bias": draw(4 * width)}
        arrays |= {f"{root}/MlpBlock_3/Dense_1/kernel": draw(4 * width, width)}
        arrays |= {f"{root}/MlpBlock_3/Dense_1/bias": draw(width)}
    if head:
        arrays |= {"head/kernel": draw(width, head), "head/bias": draw(head)}
    return arrays


@pytest.mark.parametrize("name", ["vit", "glsim", "ramstrans", "dcal", "transfg"])
def test_google_s_npz_fills_the_backbone_and_starts_what_hangs_on_it(name, tmp_path):
    arrays = google_arrays(head=21)
    np.savez(tmp_path / "vit.npz", **arrays)
    options = {"crop_class_token": True} if name == "glsim" else {}
    model = built(name, overlap=0, **options)
    report = fgbench.load_checkpoint(model, tmp_path / "vit.npz")
    vit = model.encoder.vit
    query = arrays["Transformer/encoderblock_1/MultiHeadDotProductAttention_1/query/kernel"].reshape(64, 64).T
    assert torch.equal(vit.blocks[1].attn.qkv.weight[:64], torch.from_numpy(query.copy()))
    assert torch.equal(vit.cls_token, torch.from_numpy(arrays["cls"]))
    assert torch.equal(vit.pos_embed, torch.from_numpy(arrays["Transformer/posembed_input/pos_embedding"]))
    assert report.resized == ()
    assert "head.weight" in report.missing
    assert set(report.unexpected) == {"head/bias", "head/kernel"}
    assert any(name.startswith("encoder.vit.blocks.3.") for name in report.started) == (name == "transfg")
    assert not set(report.loaded) & set(report.started)
    last = torch.from_numpy(arrays["Transformer/encoderblock_3/MlpBlock_3/Dense_0/kernel"].T.copy())
    assert torch.equal(vit.blocks[3].mlp.fc1.weight, last) == (name != "transfg"), "TransFG renews its last block"
    if name == "glsim":
        assert torch.equal(model.crop_class_token, vit.cls_token)
    if name == "ramstrans":
        assert torch.equal(model.second_class_token, vit.cls_token + vit.pos_embed[:, :1])
    if name == "dcal":
        assert torch.equal(model.cross_block.mlp.fc1.weight, last)


def test_google_s_npz_of_another_grid_is_resized(tmp_path):
    np.savez(tmp_path / "vit.npz", **google_arrays(side=2))
    assert fgbench.load_checkpoint(built("vit"), tmp_path / "vit.npz").resized == ("encoder.vit.pos_embed",)


@pytest.mark.parametrize("name", ["vit", "transfg", "glsim"])
def test_an_npz_with_another_number_of_heads_is_refused_though_all_shapes_fit(name, tmp_path):
    model = built(name)
    before = logits(model)
    arrays = google_arrays()
    np.savez(tmp_path / "right.npz", **arrays)
    for key, array in arrays.items():
        if "MultiHead" in key and "/out/" not in key:  # (D, H, d) and (H, d)
            arrays[key] = array.reshape(*array.shape[:-2], 2 * array.shape[-2], array.shape[-1] // 2)
        elif key.endswith("/out/kernel"):  # (H, d, D)
            arrays[key] = array.reshape(2 * array.shape[0], array.shape[1] // 2, array.shape[2])
    np.savez(tmp_path / "other.npz", **arrays)
    own = model.encoder.num_heads
    with pytest.raises(FgbenchError, match=rf"attention has {2 * own} heads in .*; the model's has {own}"):
        fgbench.load_checkpoint(model, tmp_path / "other.npz")
    assert torch.equal(logits(model), before)
    fgbench.load_checkpoint(model, tmp_path / "right.npz")
    assert not torch.equal(logits(model), before)


# Two backbones of one set of names and shapes, which differ in their activation.
def test_a_file_that_names_another_backbone_says_so(tmp_path):
    names = ("vit_base_patch32_clip_224", "vit_base_patch32_clip_quickgelu_224")
    weights = timm.create_model(names[0], img_size=32, num_classes=3).state_dict()
    for arch, said in ((names[0], True), (f"{names[1]}.openai", False), ("vit_base", False), (3, False)):
        torch.save({"arch": arch, "state_dict": weights, "version": 2}, tmp_path / "timm.pth")
        model = create_model("vit", names[1], img_size=32, num_classes=3)
        report = fgbench.load_checkpoint(model, tmp_path / "timm.pth")
        words = (f"the file names its backbone {arch}; the model has {names[1]}",) if said else ()
        assert report.differences == words
        assert report.complete


def test_an_npz_of_another_width_or_for_a_convolutional_network_is_refused(tmp_path):
    np.savez(tmp_path / "wide.npz", **google_arrays(width=32))
    model = built("vit")
    before = logits(model)
    with pytest.raises(FgbenchError, match=r"54 shapes do not fit: .* and 46 more"):
        fgbench.load_checkpoint(model, tmp_path / "wide.npz")
    assert torch.equal(logits(model), before)
    with pytest.raises(FgbenchError, match=r"has no weight for a .?CAL"):
        fgbench.load_checkpoint(built("cal"), tmp_path / "wide.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(FgbenchError, match="of no known format"):
        fgbench.load_checkpoint(model, tmp_path / "other.npz")


@pytest.mark.parametrize(("name", "backbone"), [("glsim", "fgtest_vit"), ("cal", "fgtest_resnet")])
def test_timm_s_own_weights_fill_the_backbone_whatever_their_classes(name, backbone, tmp_path):
    import timm

    theirs = enliven(timm.create_model(backbone, num_classes=11), seed=8)
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    model = built(name, size=224)
    report = fgbench.load_checkpoint(model, tmp_path / "timm.pth")
    home = model.encoder.vit if name == "glsim" else model.features
    assert report.format.startswith("timm")
    shared = [key for key in home.state_dict() if key in theirs.state_dict()]
    assert len(shared) > 30
    assert all(torch.equal(home.state_dict()[key], theirs.state_dict()[key]) for key in shared)
    assert any("head" in key or "fc" in key for key in report.unexpected)


def test_strict_loading_refuses_what_is_missing_or_too_much_and_changes_nothing(tmp_path):
    model = built()
    weights = {f"model.{name}": tensor + 1 for name, tensor in model.state_dict().items()}
    weights["model.extra"] = torch.zeros(1)
    del weights["model.head.bias"]
    torch.save(weights, tmp_path / "part.pth")
    before = logits(model)
    with pytest.raises(FgbenchError, match=r"missing: head.bias; unexpected: extra"):
        fgbench.load_checkpoint(model, tmp_path / "part.pth", strict=True)
    assert torch.equal(logits(model), before)


def test_google_s_npz_equals_timm_s_own_reading(tmp_path):
    arrays = google_arrays()
    np.savez(tmp_path / "vit.npz", **arrays)
    ours, theirs = built("vit", seed=1), built("vit", seed=2)
    fgbench.load_checkpoint(ours, tmp_path / "vit.npz")
    theirs.encoder.vit.load_pretrained(str(tmp_path / "vit.npz"))
    expected = theirs.encoder.vit.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.encoder.vit.state_dict().items())


def test_an_npz_with_more_than_the_model_has_says_so(tmp_path):
    np.savez(tmp_path / "deep.npz", **google_arrays(depth=5), **{"foo/bar": np.zeros(2)})
    report = fgbench.load_checkpoint(built("vit"), tmp_path / "deep.npz")
    assert "foo/bar" in report.unexpected
    assert any(name.startswith("Transformer/encoderblock_4/") for name in report.unexpected)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, 64).to_sparse(),
        torch.zeros(3, 64, dtype=torch.complex64),
        torch.zeros(3, 64, device="meta"),
        torch.zeros(1).expand(3, 64),
        torch.zeros(1).expand(10**6, 10**7),
    ],
)
def test_a_tensor_that_is_no_weight_is_refused_before_anything_changes(tensor, tmp_path):
    model = built()
    before = logits(model)
    weights = {name: value + 1 for name, value in model.state_dict().items()} | {"head.weight": tensor}
    torch.save(weights, tmp_path / "odd.pth")
    with pytest.raises(
        FgbenchError, match=r"head.weight in the checkpoint is no weight|more than weights|cannot be read"
    ) as caught:
        fgbench.load_checkpoint(model, tmp_path / "odd.pth")
    assert "\n" not in str(caught.value)
    assert torch.equal(logits(model), before)


def test_queries_keys_and_values_of_other_shapes_are_named(tmp_path):
    stem = "transformer.encoder.layer.0.attn"
    weights = {f"{stem}.{part}.weight": torch.zeros(64, 64) for part in ("query", "value")}
    weights |= {f"{stem}.key.weight": torch.zeros(32, 32), "part_head.weight": torch.zeros(3, 64)}
    torch.save(weights, tmp_path / "odd.pth")
    with pytest.raises(FgbenchError, match=r"one shape, got .*attn.key.weight \(32, 32\)"):
        fgbench.load_checkpoint(built("transfg"), tmp_path / "odd.pth")


@pytest.mark.parametrize(
    "prefix", ["encoder.", "vit.", "module.student.", "visual.trunk.", "0.", "module.image_encoder."]
)
def test_a_network_is_recognised_in_a_wrapper_of_any_name(prefix, tmp_path):
    theirs = enliven(timm.create_model("test_vit", num_classes=3, img_size=64)).eval()
    weights = {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"state_dict": weights | {"n_averaged": torch.tensor(5)}}, tmp_path / "file.pth")
    model = create_model("vit", "test_vit", img_size=64, num_classes=3).eval()
    report = fgbench.load_checkpoint(model, tmp_path / "file.pth")
    batch = images(2, 64)
    torch.testing.assert_close(model(batch), theirs(batch), rtol=0, atol=1e-5)
    assert report.complete
    assert report.ignored == ("n_averaged",)  # the steps of an average are no weight


@pytest.mark.parametrize("outside", ["head.weight", "norm.bias", "blocks.0.attn.qkv.weight"])
@pytest.mark.parametrize("prefix", ["model.", "backbone.", "module.", "encoder.", "module.model."])
@pytest.mark.parametrize("first", ["inside", "outside"])
def test_two_weights_for_one_place_are_refused_unless_they_are_equal(first, prefix, outside, tmp_path):
    own = timm.create_model("test_vit", num_classes=3, img_size=64).state_dict()
    inside, beside = {prefix + name: tensor for name, tensor in own.items()}, {outside: own[outside] + 1}
    model = create_model("vit", "test_vit", img_size=64, num_classes=3)
    before = logits(model)
    torch.save(inside | beside if first == "inside" else beside | inside, tmp_path / "file.pth")
    with pytest.raises(FgbenchError, match=rf"one place in the model, \S*{outside} and '{outside}'"):
        fgbench.load_checkpoint(model, tmp_path / "file.pth")
    assert torch.equal(logits(model), before)
    torch.save(inside | {outside: own[outside].clone()}, tmp_path / "file.pth")
    assert fgbench.load_checkpoint(model, tmp_path / "file.pth").complete


@pytest.mark.parametrize("prefix", ["model.", "_orig_mod.", "module."])
def test_what_stands_beside_the_state_dict_does_not_hide_it(prefix, tmp_path):
    first, second = built(seed=1), built(seed=2)
    weights = {prefix + name: tensor for name, tensor in first.state_dict().items()} | {"criterion.w": torch.zeros(1)}
    torch.save({"model": {"state_dict": weights}, "best": torch.tensor(0.9)}, tmp_path / "file.pth")
    report = fgbench.load_checkpoint(second, tmp_path / "file.pth")
    assert torch.equal(logits(first), logits(second))
    assert report.unexpected == ("criterion.w",)


def test_tied_weights_and_other_metadata_are_saved_and_another_suffix_is_refused(tmp_path):
    model = built()
    model.aggregator.norm1.weight = model.aggregator.norm2.weight
    fgbench.save_checkpoint(model, tmp_path / "tied.safetensors", epoch=3)
    second = built(seed=2)
    fgbench.load_checkpoint(second, tmp_path / "tied.safetensors")
    assert torch.equal(logits(model), logits(second))
    with pytest.raises(FgbenchError, match=r"as .safetensors, not as 'own.pth'"):
        fgbench.save_checkpoint(model, tmp_path / "own.pth")


@pytest.mark.parametrize("name", ["transfg", "ffvt"])
@pytest.mark.parametrize("fresh", [True, False])
def test_the_last_block_starts_anew_unless_it_is_to_keep_the_backbone_s(name, fresh, tmp_path):
    np.savez(tmp_path / "vit.npz", **google_arrays())
    model = built(name, overlap=0, fresh_last_block=fresh)
    fgbench.load_checkpoint(model, tmp_path / "vit.npz")
    given = google_arrays()["Transformer/encoderblock_3/MlpBlock_3/Dense_0/kernel"].T.copy()
    assert torch.equal(model.encoder.vit.blocks[3].mlp.fc1.weight, torch.from_numpy(given)) != fresh


def test_a_file_of_another_depth_whose_last_block_would_hide_another_is_refused(tmp_path):
    names = [
        "part_head.weight",
        "transformer.encoder.layer.3.ffn.fc1.weight",
        "transformer.encoder.part_layer.ffn.fc1.weight",
    ]
    torch.save({name: torch.zeros(3, 64) for name in names}, tmp_path / "deep.pth")
    with pytest.raises(FgbenchError, match=r"layer.3.ffn.fc1.weight and .*part_layer.* does its depth fit"):
        fgbench.load_checkpoint(built("transfg"), tmp_path / "deep.pth")
