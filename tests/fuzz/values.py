"""Wrong values: numbers, names, and paths of every type of file."""

from __future__ import annotations

import os
from pathlib import Path

from fuzz.case import Draw
from helpers.obeyed import HOSTILE

# No number here is a valid amount of work: each is small, or beyond every bound.
NUMBERS = (
    *(
        "0",
        "-1",
        "1",
        "2",
        "7",
        "32",
        "+5",
        " 7 ",
        "3.5",
        "1e3",
        "1_0",
        "0x10",
        "１２",
        "٣",
        "NaN",
        "inf",
        "-inf",
        "1e999",
    ),
    *("99999999999999999999", "9" * 400, "-0", "1,2", "1 2", ",", "", "--", "1/0", "0.1", "1e-320", "true", "None"),
)
AMOUNTS = (
    "20ms",
    "1e400s",
    "-1ms",
    "8GB",
    "8 XB",
    "0B",
    "1h",
    "0h",
    "NaNms",
    "90%",
    "0.5J",
    "1e-400J",
    "10m",
    "5 ms 3",
)
NAMES = (
    *("gls", "psm", "vit", "glsim", "test_vit", "resnet18", "fast", "published", "full", "fvcore", "float32", "cpu"),
    *("gsl", "no such name", "a,b", "a=b", "=", "top_k=16", "top_k=x", "classes=-1", "\\", "'", '"', "*", "%s", "{0}"),
    *("é", "漢字", "🐦", "a" * 300, " ", "\t", "\n", "[/x]", "[red]", ":heart:", "$HOME", "~", "-", "--sizes", "-f"),
)
WORDS = (*NUMBERS, *AMOUNTS, *NAMES, *(text.replace("\0", "") for text in HOSTILE), "\udcff", "a\udc80b")


def write_paths(root: Path) -> list[str]:
    """Paths of every kind, made here where they can be; of those outside none can be written over."""
    os.mkfifo(root / "pipe")  # that nobody writes into, or reads
    (root / "folder").mkdir()
    (root / "closed").mkdir(mode=0o000)
    (root / "secret.json").write_text("[]")
    (root / "secret.json").chmod(0o000)
    (root / "loop").symlink_to("loop")
    (root / "dangling.json").symlink_to("nowhere/x.json")
    (root / "to_folder").symlink_to("folder")
    (root / "empty.json").write_bytes(b"")
    (root / "zeros.json").write_bytes(bytes(1000))
    (root / "latin.json").write_bytes("[{'é': 1}]".encode("latin-1"))
    (root / "text.txt").write_text("no data at all\n")
    (root / "-f").write_text("[]")
    return [
        *(
            "folder",
            "folder/",
            "closed",
            "closed/x.json",
            "secret.json",
            "loop",
            "loop/x",
            "dangling.json",
            "to_folder",
        ),
        *("empty.json", "zeros.json", "latin.json", "text.txt", "./-f", "missing.json", "missing/x.json", "text.txt/x"),
        *(
            "",
            ".",
            "./",
            "/dev/null",
            "/dev/full",
            "pipe",
            "/dev/zero",
            "/dev/urandom",
            "/dev/stdout",
            "-",
            "/proc/self/mem",
            "/proc/self/fd/999",
        ),
        *(
            "x" * 300,
            f"{'x' * 300}.json",
            "/".join(["y" * 200] * 21),
            "n\nl.json",
            "\x1b[31m.json",
            "\udcff.json",
            "é.json",
        ),
    ]


def remove_paths(root: Path) -> None:
    """Give back what could not be removed without it."""
    for path in (root / "closed", root / "secret.json"):
        if path.exists():
            path.chmod(0o700)


def mutated(draw: Draw, data: bytes) -> bytes:
    """Bytes that are cut, flipped, doubled, or put where others were."""
    if not data:
        return draw.randbytes(draw.randrange(40))
    at, to = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    kind = draw.randrange(7)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[to:]
    if kind == 2:
        return data[:to] + data[at:]
    if kind == 3:
        return data[:at] + draw.randbytes(draw.randrange(1, 64)) + data[at:]
    flipped = bytearray(data)
    near = len(data) if kind == 4 else min(len(data), 512)  # headers lie at the beginning
    for _ in range(draw.randrange(1, 12)):
        flipped[draw.randrange(near)] = draw.choice([0, 255, 127, 34, 44, draw.randrange(256)])
    return bytes(flipped)
