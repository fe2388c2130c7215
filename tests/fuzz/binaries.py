"""Checkpoints and pictures: real files that are cut, flipped and called by other names, and pickles of odd things."""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz.case import Case, Draw
from fuzz.values import WORDS, mutated

SMALL = ("--backbone", "test_vit", "--size", "32", "--selectors", "gls", "-f", "json")
SUFFIXES = (".safetensors", ".pth", ".pt", ".npz", ".bin", ".ckpt", ".tar", ".h5", ".msgpack", ".zip", "")


def checkpoints(draw: Draw, files: Mapping[str, bytes]) -> Case:
    """A file of weights."""
    real = draw.choice([name for name in sorted(files) if name.startswith("weights")])
    kind = draw.randrange(6)
    suffix = draw.choice(SUFFIXES) if draw.random() < 0.4 else Path(real).suffix
    if kind < 3:
        data = mutated(draw, files[real])
    elif kind == 3:
        data, suffix = pickled(draw), ".pth"
    elif kind == 4:
        data, suffix = safetensors(draw), ".safetensors"
    else:
        data, suffix = arrays(draw), ".npz"
    path = Path(f"w{suffix}")
    path.write_bytes(data)
    Path("a.png").write_bytes(files["picture.png"])
    more = ["--weights", draw.choice(WORDS)] if draw.random() < 0.2 else []
    return Case(words=["visualize", "a.png", "--checkpoint", str(path), *more, *SMALL])


def odd_weights(draw: Draw) -> Any:
    """What a file of weights might hold in place of them."""
    tensor = torch.zeros(draw.choice([(), (0,), (2,), (2, 3, 4)]), dtype=draw.choice([torch.float32, torch.int8]))
    values = [tensor, torch.nn.Parameter(torch.zeros(2)), 1, "x", None, [tensor], {"weight": tensor}, (tensor,), b"\0"]
    names = ["weight", "head.weight", "model", "state_dict", "epoch", "pos_embed", "", 7, None, draw.choice(WORDS)]
    found: Any = {draw.choice(names): draw.choice(values) for _ in range(draw.randrange(4))}
    for _ in range(draw.randrange(3)):
        found = draw.choice(
            [{"model": found}, {"state_dict": found, "ema": found}, [found], collections.OrderedDict(found)]
        )
        found = found if isinstance(found, dict) else {"list": found}
    return draw.choice([found, found, found, draw.choice(values)])


def pickled(draw: Draw) -> bytes:
    """By torch, as it is, or by pickle alone."""
    buffer, value = io.BytesIO(), odd_weights(draw)
    if draw.random() < 0.5:
        torch.save(value, buffer)
        return buffer.getvalue() if draw.random() < 0.7 else mutated(draw, buffer.getvalue())
    odd = draw.choice(
        [value, print, complex(1, 2), range(3), collections.Counter("ab"), Path("x"), np.float32(1), b"x" * 9]
    )
    return pickle.dumps(odd, protocol=draw.randrange(6))


def safetensors(draw: Draw) -> bytes:
    """A header that promises something, and some bytes."""
    kind = draw.choice(["F32", "F8_E5M2", "I64", "BOOL", "X", ""])
    shape = draw.choice(["[2]", "[]", "[-1]", "[9999999999999]", "[0]", '["a"]', "2", "[4294967296,4294967296]"])
    offsets = draw.choice(["[0,8]", "[8,0]", "[0,99999999999]", "[0]", "[]", "[-8,8]", '"x"'])
    entry = f'{{"dtype":"{kind}","shape":{shape},"data_offsets":{offsets}}}'
    name = draw.choice(["w", "head.weight", "__metadata__", "", "\\u001b[31m", "\\ud800", "::error::x"])
    header = draw.choice([f'{{"{name}":{entry}}}', "{}", "[]", '{"__metadata__":{"a":1}}', "{", "", "[" * 5000])
    length = draw.choice([len(header), len(header) - 1, 2**63, 0, 2**40])
    return struct.pack("<Q", max(0, length)) + header.encode() + bytes(draw.choice([0, 8, 16]))


def arrays(draw: Draw) -> bytes:
    """A zip of numpy's arrays whose headers lie."""
    shape = draw.choice(["(2,)", "(-1,)", "(99999999999,)", "()", "(2", "None", "(2.5,)", "(True,)"])
    kind = draw.choice(["<f4", "|O", "<U3", "|V8", ">f8", "x", "<f4,<i4"])
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}\n"
    array = (
        b"\x93NUMPY"
        + bytes([draw.choice([1, 2, 3, 9]), 0])
        + struct.pack("<H", len(header))
        + header.encode()
        + bytes(8)
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in draw.sample(["Transformer/x.npy", "head/kernel.npy", "a.npy", "../a.npy", "é.npy", "b"], 2):
            file.writestr(zipfile.ZipInfo(name), draw.choice([array, mutated(draw, array), b""]))
    return buffer.getvalue() if draw.random() < 0.8 else mutated(draw, buffer.getvalue())


def pictures(draw: Draw, files: Mapping[str, bytes]) -> Case:
    """A picture, and perhaps a good one beside it."""
    real = draw.choice([name for name in sorted(files) if name.startswith("picture")])
    suffix = (
        draw.choice([".png", ".jpg", ".gif", ".txt", ".tiff", ".svg", ""]) if draw.random() < 0.3 else Path(real).suffix
    )
    path = Path(f"p{suffix}")
    path.write_bytes(mutated(draw, files[real]))
    Path("a.png").write_bytes(files["picture.png"])
    good = ["a.png"] if draw.random() < 0.2 else []
    view = draw.choice([[], ["--view", "whole"], ["--norm", "half"], ["--rule", "released"]])
    return Case(words=["visualize", str(path), *good, *view, *SMALL])
