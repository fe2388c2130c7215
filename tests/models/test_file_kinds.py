"""Kinds of files, detected by content, not by suffix: weights are loaded, other kinds are refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import socket
import tarfile
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers.model_scenes import backbones_of
from helpers.weight_files import array_file, google_arrays, torch_file
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model, models
from fgbench.models.checkpoints.files import read_source
from fgbench.training.initial_weights import file_digest


@pytest.fixture(scope="module")
def model():
    return create_model("vit", backbones_of(models.load("vit"))[0], img_size=64, num_classes=3).eval()


def tar_of(**members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def picture(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    return buffer.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 343279349\n"
INDEX = {"metadata": {"total_size": 3}, "weight_map": {"a.weight": "model-00001-of-00002.safetensors"}}
OTHER = {
    "empty": (b"", "an empty file"),
    "lfs": (POINTER, "a Git LFS pointer, not the file that it stands for.* fetch that with git lfs pull"),
    "annex": (b"/annex/objects/SHA256E-s3--ab.pth\n", "a git-annex pointer"),
    "html": (b"\n <!DOCTYPE html>\n<html><head>Sign in</head></html>", "an HTML page"),
    "html 4": (b"<HTML><BODY>404", "an HTML page"),
    "html in utf-16": ("<!doctype html><html>".encode("utf-16"), "an HTML page"),
    "html with a mark": (b"\xef\xbb\xbf<!doctype html>", "an HTML page"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML file"),
    "json": (b'{"error": "no such model"}', "a JSON file that begins with"),
    "index": (json.dumps(INDEX, indent=2).encode(), "the index of weights in several files"),
    "text": (b"Not Found\n", "a text file that begins with 'Not Found'"),
    "long text": ("gr\u00fcn ".encode() * 3000, "a text file that begins with"),
    "gzip": (gzip.compress(torch_file()), "a gzip archive.*; unpack it"),
    "bzip2": (bz2.compress(b"x"), "a bzip2 archive"),
    "xz": (lzma.compress(b"x"), "an xz archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(30), "a 7z archive"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(30), "a zstd archive"),
    "zip": (zip_of(**{"weights/vit.pth": b"x"}), r"a zip archive \(weights/vit.pth\).*; unpack it"),
    "empty zip": (zip_of(), "an empty archive"),
    "keras": (zip_of(**{"config.json": b"{}", "model.weights.h5": b"x"}), "a Keras archive"),
    "tar": (tar_of(**{"a.pth": b"x", "b.txt": b"y"}), r"a tar archive \(a.pth, b.txt\)"),
    "torch's tar": (
        tar_of(sys_info=b"", pickle=b"", storages=b"", tensors=b""),
        "a tar archive as torch.save wrote it before 2017",
    ),
    "png": (picture("PNG"), "a PNG picture"),
    "jpeg": (picture("JPEG"), "a JPEG picture"),
    "gif": (picture("GIF"), "a GIF picture"),
    "tiff": (picture("TIFF"), "a TIFF picture"),
    "pdf": (b"%PDF-1.7\n", "a PDF document"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file, as Keras and TensorFlow write it"),
    "npy": (array_file(), r"a single NumPy array \(.npy\)"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x052.4.0", "an ONNX file"),
    "gguf": (b"GGUF\x03\x00\x00\x00", "a GGUF file"),
    "tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(20), "a TensorFlow Lite file"),
    "tf index": (bytes(20) + b"\x01\x57\xfb\x80\x8b\x24\x75\x47\xdb", "the index of a TensorFlow checkpoint"),
    "pickle": (pickle.dumps({"a": np.ones(3)}), "a pickle that torch.save did not write, and was not run"),
    "old pickle": (pickle.dumps({"a": 3}, protocol=2), "a pickle that torch.save did not write"),
    "zeros": (bytes(9000), "a file that begins with nothing but zeros"),
    "noise": (bytes(range(128, 256)) * 9, "binary data of an unknown kind"),
    "program": (b"\x7fELF\x02\x01", "a program"),
    "sqlite": (b"SQLite format 3\x00", "an SQLite file"),
}


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".SAFETENSORS"])
@pytest.mark.parametrize("kind", OTHER)
def test_a_file_that_is_no_checkpoint_is_called_what_it_is(kind, suffix, tmp_path):
    content, words = OTHER[kind]
    (tmp_path / f"w{suffix}").write_bytes(content)
    for read in (read_source, file_digest):
        with pytest.raises(FgbenchError, match=f"the checkpoint is {words}") as caught:
            read(tmp_path / f"w{suffix}")
        assert "\n" not in str(caught.value)
        assert f"w{suffix}" in str(caught.value)
        assert caught.value.exit_code == 2


def test_a_torchscript_archive_is_refused_by_its_name(tmp_path):
    content = zip_of(**{"w/data.pkl": b"", "w/constants.pkl": b"", "w/code/__torch__.py": b"", "w/version": b"3"})
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(FgbenchError, match="a TorchScript archive, which holds code"):
        read_source(tmp_path / "w.pt")


class Whole(torch.nn.Module):
    """A model that is saved whole, as code that would have to be run."""


@pytest.mark.parametrize("held", [Whole(), {"model": Whole()}, torch.nn.Linear(2, 2), {"net": torch.nn.Linear(2, 2)}])
def test_a_module_that_was_saved_whole_is_refused_and_not_run(held, tmp_path):
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(FgbenchError, match=r"the checkpoint holds more than weights .*save its state dict alone"):
        read_source(tmp_path / "w.pth")


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "broken.pth").symlink_to(tmp_path / "gone")
    (tmp_path / "ring.pth").symlink_to(tmp_path / "ring.pth")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.pth"))
        for name, words in (
            ("pipe.pth", "the checkpoint is a pipe"),
            ("folder.pth", "the checkpoint is a folder: .*; name a file in it"),
            ("s.pth", "the checkpoint is a socket"),
            ("/dev/zero", "the checkpoint is a device"),
            ("broken.pth", "no checkpoint file"),
            ("ring.pth", "cannot read the checkpoint"),
            ("folder.pth/../pipe.pth/x", "no checkpoint file"),
            ("x" * 300, "cannot read the checkpoint"),
            ("null\0byte", "cannot read the checkpoint"),
        ):
            for read in (read_source, file_digest):
                with pytest.raises(FgbenchError, match=words) as caught:
                    read(tmp_path / name)
                assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "suffix",
    [".safetensors", ".SAFETENSORS", ".Safetensors", ".pth", ".PTH", ".pt", ".bin", ".npz", ".NPZ", ".tar", ""],
)
@pytest.mark.parametrize("kind", ["safetensors", "torch", "legacy", "npz"])
def test_weights_are_read_by_content_and_a_suffix_that_misleads_is_said(kind, suffix, model, tmp_path):
    path = tmp_path / f"w{suffix}"
    wanted = {name: tensor.clone() + 1 for name, tensor in model.state_dict().items()}
    if kind == "safetensors":
        path.write_bytes(safetensors.torch.save(wanted))
    elif kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **google_arrays())
    else:
        torch.save(wanted, path, _use_new_zipfile_serialization=kind == "torch")
    report = fgbench.load_checkpoint(model, path)
    if kind == "npz":
        cls = torch.from_numpy(google_arrays()["cls"])
        assert torch.equal(model.state_dict()["encoder.vit.cls_token"], cls)
    else:
        assert all(torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())
    natural = {"safetensors": (".safetensors",), "npz": (".npz",)}.get(kind, (".pth", ".pt", ".bin", ".tar"))
    misleading = suffix.lower() not in (*natural, "")
    assert any("whatever its suffix says" in note for note in report.notes) == misleading


# Files that are damaged anywhere --------------------------------------------------------------------------------------


def whole_files():
    weights = {f"blocks.{index}.weight": torch.ones(4, 4) for index in range(3)}
    held = {
        "model": weights,
        "model_ema": {**weights, "more": torch.ones(3)},
        "optimizer": {"state": {0: torch.ones(2)}},
    }
    arrays, packed = io.BytesIO(), io.BytesIO()
    np.savez(arrays, **{name: tensor.numpy() for name, tensor in weights.items()})
    np.savez_compressed(packed, **{name: tensor.numpy() for name, tensor in weights.items()})
    legacy = torch_file(held, _use_new_zipfile_serialization=False)
    return [torch_file(held), legacy, arrays.getvalue(), packed.getvalue(), safetensors.torch.save(weights)]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_file_that_is_damaged_anywhere_is_read_or_is_one_line(tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(whole_files())))
    for place, new in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.binary(max_size=8)), max_size=5)
    ):
        content[place : place + data.draw(st.integers(0, 8))] = new
    cut = data.draw(st.none() | st.integers(0, len(content)))
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    path.write_bytes(content[:cut])
    try:
        read_source(path, data.draw(st.sampled_from([None, "raw", "ema"])))
    except FgbenchError as error:
        refusal = error
    else:
        return
    assert "\n" not in str(refusal)
    assert refusal.exit_code == 2
