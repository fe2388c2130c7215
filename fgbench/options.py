"""Options: what can be typed, declared once each. No torch, no typer.

A field of a request carries its option, and the program makes the rest of it: the parameter of the command, its line in
the help, the value out of what was typed, and the words that give the same value to another process::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class SweepRequest:
        image_sizes: Annotated[Sequence[int] | None, SIZES.but(default="224; on a GPU 448"), "What to measure"] = None

The text behind an option is the section of the help that it stands in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from fgbench import values
from fgbench.errors import FgbenchError
from fgbench.quantities import duration
from fgbench_selectors.entries import IMPLS as IMPLS  # the commands take it from here

DEVICES = ("cuda", "cpu")  # the best first
CONVENTIONS = ("full", "fvcore", "paper")  # of counting
DTYPES = ("float32", "tf32", "float16", "bfloat16", "amp")  # floating point, the default mode first
ENGINE_DTYPES = (*DTYPES, "int8")  # of all engines
NORMS = ("imagenet", "half")  # of colours
INTERPOLATIONS = ("bilinear", "bicubic")
STORE_VARIABLE, DEFAULT_STORE = "FGBENCH_STORE", "fgbench.db"
OUTPUT_SECTION = "Output"  # of the help, the last one
MAX_CLASSES, MAX_THREADS, MAX_SEED = 10_000_000, 4096, 2**31 - 1

# What people type in the singular and in the plural.
NOUNS = ("model", "backbone", "selector", "size", "batch-size", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of the command line. :func:`one`, :func:`many`, :func:`switch` and :func:`argument` make them."""

    flags: tuple[str, ...]  # spellings; none: what is typed without a flag
    help: str
    metavar: str | None  # what the help calls a value; None: a switch, which has none
    many: bool = False  # several values, in every habit: --sizes 224 448, --sizes 224,448, --sizes 224 --sizes 448
    read: Callable[[Any], Any] = str  # a word, or all words of an option of several values → the value
    write: Callable[[Any], str] = str  # a value, or one of several → its word
    value: bool = True  # of a switch that is typed
    default: str | None = None  # as the help says it; None: as the field has it
    variable: str | None = None  # of the environment
    section: str | None = None  # of the help

    def but(self, **changes: Any) -> Option:
        """The option with other attributes: a command's own default or words of help."""
        return replace(self, **changes)

    def of_one(self, **changes: Any) -> Option:
        """The option of one value in place of several, with other attributes."""
        return replace(self, **{"many": False, "metavar": "NAME", "default": None, **changes})

    def words(self, value: Any) -> list[str]:
        """The words that give this value to another process."""
        if self.metavar is None:
            return [self.flags[0]] if value is self.value else []
        return [f"{self.flags[0]}={self.write(item)}" for item in (value if self.many else [value])]


def one(flags: str, says: str, metavar: str = "NAME", **attributes: Any) -> Option:
    """An option of one value.

    Args:
        flags: Its spellings, with spaces between them. A noun of :data:`NOUNS` is there in singular and plural.
        says: Its line in the help.
        metavar: What the help calls the value: ``NAME``, ``N``, ``FILE``, …
        attributes: The other attributes of :class:`Option`: ``read`` takes the word, and returns the value.

    Returns:
        The option.

    """
    return Option(flags=_spellings(flags), help=says, metavar=metavar, **attributes)


def many(flags: str, says: str, metavar: str = "NAME…", **attributes: Any) -> Option:
    """An option of several values, as :func:`one`; ``read`` takes the list of words as they were typed."""
    return Option(flags=_spellings(flags), help=says, metavar=metavar, many=True, **{"read": list, **attributes})


def switch(flag: str, says: str, **attributes: Any) -> Option:
    """A flag without a value: it makes the field True, or what ``value`` says."""
    return Option(flags=(flag,), help=says, metavar=None, **attributes)


def argument(metavar: str, says: str, *, several: bool = False, **attributes: Any) -> Option:
    """A value without a flag, or several."""
    given = {"read": list, **attributes} if several else attributes
    return Option(flags=(), help=says, metavar=metavar, many=several, **given)


def _spellings(flags: str) -> tuple[str, ...]:
    spellings: dict[str, None] = {}
    for flag in flags.split():
        noun = flag.removeprefix("--").removesuffix("s")
        spellings |= dict.fromkeys([flag, *((f"--{noun}", f"--{noun}s") if noun in NOUNS else ())])
    return tuple(spellings)


def options_of(request: type) -> dict[str, Option]:
    """The options of a request, by the names of its fields, in their order."""
    hints = get_type_hints(request, include_extras=True)
    found: dict[str, Option] = {}
    for field in fields(request):
        extras = getattr(hints[field.name], "__metadata__", ())
        option = next((extra for extra in extras if isinstance(extra, Option)), None)
        if option is not None:
            section = next((extra for extra in extras if isinstance(extra, str)), option.section)
            found[field.name] = option.but(section=section)
    return found


def command_words(request: Any, always: Sequence[str] = ()) -> list[str]:
    """The words that ask another process for what a request asks for.

    Args:
        request: A dataclass whose fields carry options.
        always: Fields whose words are there even where they say what is the default here: another version of the
            program may have another default.

    Returns:
        The words, in the order of the fields; a field that is None has none.

    """
    defaults = {field.name: field.default for field in fields(request)}
    words: list[str] = []
    for name, option in options_of(type(request)).items():
        value = getattr(request, name)
        if value is not None and (name in always or value != defaults[name]):
            words += option.words(value)
    return words


def from_words(request: type, typed: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a request's fields out of what was typed; what was not typed is left to the fields' defaults.

    Args:
        request: The dataclass.
        typed: By the fields' names: a word, a list of words, or whether a switch is there.

    Returns:
        Values by the fields' names.

    Raises:
        FgbenchError: For what cannot be read.

    """
    read: dict[str, Any] = {}
    for name, option in options_of(request).items():
        word = typed.get(name)
        if option.metavar is None:
            read |= {name: option.value} if word else {}
        elif word is not None and word not in ([], ()):
            read[name] = option.read(word)
    return read


# Readers of values: each returns a function for `read`.


def names_of(kind: str) -> Callable[[Sequence[str]], list[str]]:
    """Reads a list of names."""
    return partial(values.names, kind=kind)


def one_of(kind: str, known: Sequence[str]) -> Callable[[str], str]:
    """Reads one name out of a short list."""
    return partial(values.choice, kind=kind, known=known)


def some_of(kind: str, known: Sequence[str]) -> Callable[[Sequence[str]], list[str]]:
    """Reads names out of a short list."""
    return partial(values.choices, kind=kind, known=known)


def whole(what: str, example: int, largest: int | None = None, smallest: int = 1) -> Callable[[str], int]:
    """Reads a whole number, as :func:`fgbench.values.whole_number`."""
    return partial(values.whole_number, what=what, example=example, largest=largest, smallest=smallest)


def real(what: str, example: float, largest: float) -> Callable[[str], float]:
    """Reads a number from 0 up."""
    return partial(values.real_number, what=what, example=example, largest=largest)


def time(what: str) -> Callable[[str], float]:
    """Reads a time as ``10m`` or ``90s``, in seconds."""
    return partial(duration, what=what)


def real_paths(words: Sequence[str]) -> list[str]:
    """Reads paths, and follows links: a worker may stand in another folder."""
    return [os.path.realpath(word) for word in words]


def _seconds(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") + "s"


# Options of several commands.

MODELS = many("--model", "'fgbench list models', any of timm's, FILE.py:FUNCTION", read=names_of("model"))
BACKBONES = many("--backbones", "timm's names", read=names_of("backbone"))
BACKBONE = one("--backbone", "timm's name")
SELECTORS = many("--selectors", "in place of the published ones", read=names_of("selector"))
SIZES = many("--sizes", "image sides", "PIXELS…", read=values.image_sizes)
SHAPES = SIZES.but(help="image sides; 224x448: height x width", read=values.image_shapes)
SIZE = one(
    " ".join(SIZES.flags), "side of the network's input", "PIXELS", read=whole("image size", 224, values.MAX_IMAGE_SIZE)
)
BATCH_SIZES = many("--batch-sizes", "images per batch", "N…", read=values.batch_sizes)
IMPLEMENTATIONS = many("--impl", "published, fast", read=some_of("impl", IMPLS))
IMPLEMENTATION = one("--impl", "published or fast: the same up to rounding", read=one_of("impl", IMPLS))
MODEL_OPTIONS = many(
    "--model-options", "such as top_k=16", "KEY=VALUE…", read=partial(values.literals, flag="--model-options")
)
REDUCTIONS = many(
    "--reduction",
    "reduce the models' tokens: 'fgbench list reductions'; none: the model itself",
    read=names_of("reduction"),
)
KEEP_RATES = many(
    "--keep-rate",
    "share of the tokens that --reduction keeps",
    "RATE…",
    default="those of the reductions' papers",
    read=values.shares,
)
NUM_CLASSES = one("--num-classes", "classes of the head", "N", read=whole("number of classes", 200, MAX_CLASSES))
CONVENTION = many("--convention", ", ".join(CONVENTIONS), default="full", read=some_of("convention", CONVENTIONS))
DTYPE = many("--dtype", ", ".join(ENGINE_DTYPES), default="float32", read=some_of("dtype", ENGINE_DTYPES))
ENGINES = many("--engine", "'fgbench list engines'", default="torch", read=names_of("engine"))
DEVICE = one("--device", "cuda or cpu", default="cuda where there is one", read=one_of("device", DEVICES))
THREADS = one("--threads", "of a CPU", "N", default="torch's", read=whole("number of threads", 4, MAX_THREADS))
MAX_TIME = one("--max-time", "of timed blocks, per point", "TIME", read=time("--max-time"), write=_seconds)
TIMEOUT = one("--timeout", "of one point", "TIME", default="10m", read=time("--timeout"), write=_seconds)
PRETRAINED = switch("--pretrained", "timm's weights for the backbone")
FROM_SCRATCH = switch("--from-scratch", "random weights on the shipped backbone too, instead of its own")
CHECKPOINT = one("--checkpoint", "a file of weights", "FILE", read=Path)
WEIGHTS = one("--weights", "where --checkpoint has several sets: raw, ema or a key of the file")
POSITION_INTERPOLATION = one(
    "--position-interpolation",
    "how --checkpoint's position embeddings are resized to another grid: bilinear (corners aligned) or bicubic",
    default="as its authors do",
    read=one_of("interpolation", INTERPOLATIONS),
)
BASELINE = one("--baseline", "one of the models: a column of ratios to it")
NORM = one(
    "--norm",
    "mean and deviation of colours: imagenet or half",
    default="the weights' own",
    read=one_of("norm", NORMS),
)
WEIGHTS_SEED = one("--seed", "of random weights", "N", read=whole("seed", 0, MAX_SEED, smallest=0))
AGAIN = switch("--again", "measure what is in the store once more")
RETRY = switch("--retry", "measure once more what is in the store with another status than ok")
PLUGINS = many(
    "--plugin", "Python files of your own: selectors, models, reductions, data sets, engines, reports", "FILE…"
)
STORE = one("--store", "where results are kept", "FILE", read=Path, variable=STORE_VARIABLE)
ROWS = many("--rows", "saved rows: .json, .csv, other stores; without --store these alone", "FILE…")
FORMAT = one(
    "--format -f",
    "table, json, csv, markdown or latex; by default what --output ends in",
    read=one_of("format", values.FORMATS),
)
OUTPUT = one(
    "--output -o",
    "a file, written whole or not at all; standard output by default",
    "FILE",
    read=values.output_path,
)


def check_device(device: str | None, *, has_cuda: bool, doing: str) -> None:
    """Refuse ``--device cuda`` where there is no such device.

    Args:
        device: What was asked for; None: nothing.
        has_cuda: Whether there is a CUDA device.
        doing: The verb of what runs on the CPU without the option.

    Raises:
        FgbenchError: There is no CUDA device.

    """
    if device == "cuda" and not has_cuda:
        raise FgbenchError("no CUDA device is there for", "--device cuda", f"leave it out to {doing} on the CPU")


class ReadsCheckpoint:
    """What requests share that read a file of weights. They declare the fields, in the order of their own help."""

    __slots__ = ()
    checkpoint: Path | None
    weights: str | None
    position_interpolation: str | None

    @property
    def begins_shipped(self) -> bool:
        """Whether models on the shipped backbone have its weights without being asked for them."""
        return False

    @property
    def reading(self) -> dict[str, str | None]:
        """How the checkpoint is read, as :func:`fgbench.load_checkpoint` takes it."""
        return {"weights": self.weights, "interpolation": self.position_interpolation}

    def check_reading(self) -> None:
        """Refuse options of a checkpoint where there is none.

        Raises:
            FgbenchError: For an option without a file.

        """
        if self.weights is not None and self.checkpoint is None:
            raise FgbenchError("--weights chooses what is read of a file", do="say which with --checkpoint FILE")
        if self.position_interpolation is not None and self.checkpoint is None:
            do = "say which with --checkpoint FILE"
            raise FgbenchError("--position-interpolation says how a file is read", do=do)
