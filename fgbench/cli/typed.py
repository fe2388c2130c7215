"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from fgbench.cli.arguments import output_path

MAX_CLASSES = 10_000_000

# typer reads these at run time, on Python 3.10 too.
Many = Optional[list[str]]  # noqa: UP045
Text = Optional[str]  # noqa: UP045
Format = Annotated[
    Text,
    typer.Option(
        "--format", "-f", metavar="NAME", help="table, json, csv, markdown or latex; by default what --output ends in"
    ),
]
Output = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        parser=output_path,
        help="a file, written whole or not at all; standard output by default",
    ),
]
Plugin = Annotated[
    Many,
    typer.Option("--plugin", metavar="FILE…", help="Python files of your own: selectors, models, data sets, reports"),
]

SavedRows = Annotated[
    Many,
    typer.Option("--rows", metavar="FILE…", help="saved rows: .json, .csv, other stores; without --store these alone"),
]
SavedStore = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--store", metavar="FILE", help="[default: FGBENCH_STORE or fgbench.db, without --rows]"),
]

PositionInterpolation = Annotated[
    Text,
    typer.Option(
        "--position-interpolation",
        metavar="NAME",
        help="how --checkpoint's position embeddings are resized to another grid: bilinear (corners aligned) or "
        "bicubic  [default: as its authors do]",
    ),
]
INTERPOLATIONS = ("bilinear", "bicubic")

# What people type in the singular and in the plural.
NOUNS = ("model", "backbone", "selector", "size", "batch-size", "seed")


def option(flag: str, says: str, metavar: str = "NAME…") -> Any:
    """What is typed after a flag; most are lists of names, and every command has its own default to tell of.

    A flag that is a noun of :data:`NOUNS` is there in the singular and in the plural.
    """
    flags = flag.split()
    spellings = dict.fromkeys(flags)
    for name in flags:
        noun = name.removeprefix("--").removesuffix("s")
        spellings |= dict.fromkeys([name, *((f"--{noun}", f"--{noun}s") if noun in NOUNS else ())])
    return typer.Option(*spellings, metavar=metavar, help=says)


def switch(flag: str, says: str) -> Any:
    """A flag that nothing is typed after."""
    return typer.Option(flag, help=says)
