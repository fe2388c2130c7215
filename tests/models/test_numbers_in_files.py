"""Numbers in files of weights: those that a network can have are loaded as they are, all others are refused."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers.model_scenes import backbones_of
from helpers.weight_files import array_file, google_arrays, torch_file
from numpy.lib import format as npy

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model, models
from fgbench.models.checkpoints.files import read_source, read_weights


@pytest.fixture(scope="module")
def model():
    return create_model("vit", backbones_of(models.load("vit"))[0], img_size=64, num_classes=3).eval()


# .npz -----------------------------------------------------------------------------------------------------------------


def with_array(tmp_path, array, name="embedding/kernel", **options):
    arrays = google_arrays()
    arrays[name] = array
    np.savez(tmp_path / "w.npz", **arrays, **options)
    return tmp_path / "w.npz"


@pytest.mark.parametrize("name", ["embedding/kernel", "cls", "names"])
@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array(["a", "bc"]), r"no weight but text \(<U2\)"),
        (np.array([b"a", b"bc"]), r"no weight but text \(\|S2\)"),
        (np.array(["2020-01-01"], dtype="M8[D]"), r"no weight but dates \(datetime64\[D\]\)"),
        (np.array([3], dtype="m8[s]"), r"no weight but spans of time"),
        (np.ones(3, dtype="c8"), r"no weight but complex numbers \(complex64\)"),
        (np.ones(3, dtype=">c16"), "no weight but complex numbers"),
        (np.zeros(3, dtype="V2"), r"no weight but raw bytes or records .*JAX writes bfloat16 so"),
        (np.zeros(3, dtype="V7"), "no weight but raw bytes or records"),
        (np.zeros(3, dtype=[("a", "f4"), ("b", "i4")]), "no weight but raw bytes or records"),
        (np.array([{}, 3], dtype=object), "no weight but Python objects, which were not restored"),
    ],
)
def test_an_npz_with_what_is_no_number_is_one_line(array, words, name, tmp_path):
    path = with_array(tmp_path, array, name)
    with pytest.raises(FgbenchError, match=f"{name} in the checkpoint is {words}") as caught:
        read_source(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "order"), [(">f4", "C"), (">f8", "F"), ("<f8", "C"), ("f2", "F"), (">f2", "C"), ("longdouble", "F")]
)
def test_numbers_of_another_byte_order_precision_or_layout_are_the_same_numbers(dtype, order, model, tmp_path):
    plain = {name: array.astype("f2").astype("f4") for name, array in google_arrays().items()}
    np.savez(tmp_path / "plain.npz", **plain)
    np.savez_compressed(
        tmp_path / "other.npz", **{name: np.array(array, dtype=dtype, order=order) for name, array in plain.items()}
    )
    fgbench.load_checkpoint(model, tmp_path / "plain.npz")
    wanted = {name: tensor.clone() for name, tensor in model.state_dict().items() if name.startswith("encoder")}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    fgbench.load_checkpoint(model, tmp_path / "other.npz")
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in wanted.items())


def raw_npz(tmp_path, shape, dtype="<f4", data=b"", compression=zipfile.ZIP_STORED):
    """An .npz file with one array whose header says what is asked for, whatever its data."""
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "w.npz", "w", compression) as archive:
        archive.writestr("embedding/kernel.npy", header.getvalue() + data)
    return tmp_path / "w.npz"


@pytest.mark.parametrize(
    "shape", [(2**50,), (10**30, 10**30), (2**20, 2**20, 2**20), (-1,), (-4, -2), (4,), (2**33,), ()]
)
def test_a_header_that_claims_what_the_file_does_not_hold_is_one_line(shape, tmp_path):
    path = raw_npz(tmp_path, shape, data=bytes(8))
    with pytest.raises(FgbenchError, match=r"embedding/kernel in the checkpoint claims the shape .* bytes, and has 8"):
        read_source(path)


def test_an_array_of_no_dimension_and_one_of_no_number_are_arrays(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.float32(3), b=np.zeros((0, 4)), c=np.array([True]), d=np.arange(3, dtype=">i8"))
    arrays = read_source(tmp_path / "w.npz").arrays
    assert {name: (array.shape, array.dtype.isnative) for name, array in arrays.items()} == {
        "a": ((), True),
        "b": ((0, 4), True),
        "c": ((1,), True),
        "d": ((3,), True),
    }
    assert arrays["d"].tolist() == [0, 1, 2]


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_not_unpacked(tmp_path):
    # The sizes that the archive's directory claims are enough to refuse it: nothing of that size is written here.
    raw_npz(tmp_path, (4,), data=bytes(16), compression=zipfile.ZIP_DEFLATED)
    content = bytearray((tmp_path / "w.npz").read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, directory + 24, 2**31)  # the unpacked size of its one member
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(FgbenchError, match=r"would unpack to 2,147,483,648: .*; it was not unpacked"):
        read_source(tmp_path / "w.npz")


@pytest.mark.parametrize("damage", [30, -40, 0.5])
def test_a_damaged_npz_is_one_line(damage, tmp_path):
    np.savez(tmp_path / "w.npz", **google_arrays())
    content = bytearray((tmp_path / "w.npz").read_bytes())
    if isinstance(damage, float):
        content = content[: int(len(content) * damage)]
    else:
        content[damage : damage + 6] = b"\xff" * 6
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(FgbenchError, match="the checkpoint") as caught:
        read_source(tmp_path / "w.npz")
    assert "\n" not in str(caught.value)


def test_an_archive_with_more_than_arrays_or_with_two_of_a_name_is_one_line(tmp_path):
    array = array_file()
    for members, words in (
        ([("a.npy", array), ("readme.txt", b"hello")], "readme.txt in the checkpoint is no array"),
        ([("a.npy", array), ("a", array)], "several arrays have one name"),
        ([("a.npy", b"\x93NUMPY\x09\x00" + bytes(90))], "cannot be read"),
        ([("a.npy", b"\x93NUMPY\x01\x00\x76\x00" + b"(" * 118)], "cannot be read"),
    ):
        with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
            for name, content in members:
                archive.writestr(name, content)
        with pytest.raises(FgbenchError, match=words) as caught:
            read_source(tmp_path / "w.npz")
        assert "\n" not in str(caught.value)


# Numbers that are no weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "suffix"), [(torch.complex64, ".safetensors"), (torch.complex64, ".pth"), (torch.complex128, ".pth")]
)
def test_complex_weights_are_one_line(dtype, suffix, model, tmp_path):
    weights = {**model.state_dict(), "head.weight": torch.ones(3, 64, dtype=dtype)}
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(weights, path)
    else:
        safetensors.torch.save_file(weights, path)
    with pytest.raises(FgbenchError, match=r"head.weight in the checkpoint is no weight but a .*complex"):
        fgbench.load_checkpoint(model, path)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_integers_in_place_of_real_numbers_are_refused(dtype, suffix, model, tmp_path):
    before = model.state_dict()["head.weight"].clone()
    weights = {**model.state_dict(), "head.weight": torch.ones(3, 64).to(dtype)}
    path = tmp_path / f"w{suffix}"
    path.write_bytes(safetensors.torch.save(weights) if suffix == ".safetensors" else torch_file(weights))
    with pytest.raises(FgbenchError, match=r"1 weights in the checkpoint are torch.*, not real numbers: 'head.weight'"):
        fgbench.load_checkpoint(model, path)
    assert torch.equal(model.state_dict()["head.weight"], before)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_values_that_are_not_finite_are_refused(value, dtype, model, tmp_path):
    head = torch.ones(3, 64)
    head[1, 2] = value
    torch.save({**model.state_dict(), "head.weight": head.to(dtype)}, tmp_path / "w.pth")
    with pytest.raises(
        FgbenchError, match=r"1 weights in the checkpoint have values that are not finite: 'head.weight'"
    ):
        fgbench.load_checkpoint(model, tmp_path / "w.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_real_numbers_of_another_precision_are_loaded_as_they_are(dtype, suffix, model, tmp_path):
    wanted = torch.randn(3, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    weights = {**model.state_dict(), "head.weight": wanted}
    path = tmp_path / f"w{suffix}"
    path.write_bytes(safetensors.torch.save(weights) if suffix == ".safetensors" else torch_file(weights))
    fgbench.load_checkpoint(model, path)
    assert torch.equal(model.state_dict()["head.weight"], wanted.float())


def test_numbers_of_eight_bits_with_a_scale_of_their_own_are_refused(model, tmp_path):
    head = torch.ones(3, 64).to(torch.float8_e4m3fn)
    torch.save({**model.state_dict(), "head.weight": head, "head.weight_scale_inv": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(FgbenchError, match=r"head.weight in the checkpoint is no weight but .*head.weight_scale_inv"):
        fgbench.load_checkpoint(model, tmp_path / "w.pth")


def test_shared_weights_and_parts_of_larger_tensors_are_weights(model, tmp_path):
    large = torch.randn(9, 64, generator=torch.Generator().manual_seed(0))
    weights = {**model.state_dict(), "head.weight": large[3:6], "copy": large}
    torch.save(weights, tmp_path / "w.pth")
    fgbench.load_checkpoint(model, tmp_path / "w.pth")
    assert torch.equal(model.state_dict()["head.weight"], large[3:6])


def test_safetensors_that_lie_about_themselves_are_one_line(tmp_path):
    for header, data in (
        ({"a": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}}, b""),
        ({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, bytes(4)),
        ({"a": {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
        ({"a": 3}, b""),
    ):
        text = json.dumps(header).encode()
        (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
        for read in (read_source, read_weights):
            with pytest.raises(FgbenchError, match="the checkpoint cannot be read") as caught:
                read(tmp_path / "w.safetensors")
            assert "\n" not in str(caught.value)
    (tmp_path / "w.safetensors").write_bytes(safetensors.torch.save({}))
    with pytest.raises(FgbenchError, match="no weights in the checkpoint"):
        read_source(tmp_path / "w.safetensors")
