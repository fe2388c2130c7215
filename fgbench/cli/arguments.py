"""What people type, as values: lists in every habit, sizes, output formats. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from fgbench.errors import FgbenchError, UnknownNameError

SUFFIXES = {
    ".json": "json",
    ".csv": "csv",
    ".md": "markdown",
    ".markdown": "markdown",
    ".tex": "latex",
    ".latex": "latex",
    ".txt": "table",
    "": "table",
}
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
MAX_IMAGE_SIZE = 16384
MAX_BATCH_SIZE = 1_000_000


def spread_values(args: Sequence[str], flags: Iterable[str]) -> list[str]:
    """``--sizes 224 448`` as ``--sizes=224 --sizes=448`` for flags that take several values."""
    many, rest = set(flags), list(args)
    spread: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*spread, word, *rest]
        flag, equals, inline = word.partition("=")
        if flag not in many:
            spread.append(word)
            continue
        values = [inline] if equals else []
        while rest and not _is_flag(rest[0]):
            values.append(rest.pop(0))
        spread += [f"{flag}={value}" for value in values] or [flag]
    return spread


def _is_flag(word: str) -> bool:
    """Whether a word begins an option; a negative number is a (bad) value, not an option."""
    return word.startswith("-") and len(word) > 1 and not word[1].isdigit()


def split_list(values: Sequence[str] | None) -> list[str]:
    """``["224,448", "768 1024"]`` → ``["224", "448", "768", "1024"]``, each once, in order."""
    return list(dict.fromkeys(word for value in values or () for word in value.replace(",", " ").split()))


def whole_number(text: str | int, what: str, example: int, largest: int | None = None, smallest: int = 1) -> int:
    """A whole number from ``smallest`` up, or an error that says what was met."""
    if not re.fullmatch(
        r"[+-]?[0-9]{1,99}", str(text).strip()
    ):  # int() also takes 1_60 and the digits of other scripts
        raise FgbenchError(f"{what} must be a whole number, got", text, f"for example {example}")
    number = int(text)
    if number < smallest:
        raise FgbenchError(f"{what} must be at least {smallest}, got", number, f"for example {example}")
    if largest is not None and number > largest:
        raise FgbenchError(f"{what} must be at most {largest}, got", number, f"for example {example}")
    return number


def real_number(text: str, what: str, example: float, largest: float) -> float:
    """A number from 0 up, as ``0.001`` or ``1e-3``, or an error that says what was met."""
    try:
        found = float(text)
    except ValueError:
        raise FgbenchError(f"{what} must be a number, got", text, f"for example {example:g}") from None
    if not 0 <= found <= largest:  # NaN is not, either
        raise FgbenchError(f"{what} must lie between 0 and {largest:g}, got", text, f"for example {example:g}")
    return found


def key_values(values: Sequence[str] | None, flag: str) -> dict[str, str]:
    """``KEY=VALUE`` words as a dictionary; the last one of a key counts."""
    found = {}
    for word in values or ():
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise FgbenchError(f"{flag} takes KEY=VALUE, got", word, "for example top_k=16")
        found[key] = value
    return found


def literal(text: str) -> bool | int | float | str:
    """What a word stands for: true or false, a whole number, a number, or itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def image_sizes(values: Sequence[str] | None, default: Sequence[int]) -> list[int]:
    """Image sides in pixels, each once."""
    sizes = [whole_number(word, "image size", 224, MAX_IMAGE_SIZE) for word in names(values, "image size") or ()]
    return list(dict.fromkeys(sizes)) or list(default)


def batch_sizes(values: Sequence[str] | None) -> list[int] | None:
    """Batch sizes in images, each once; None where none was asked for."""
    words = names(values, "batch size")
    return None if words is None else [whole_number(word, "batch size", 8, MAX_BATCH_SIZE) for word in words]


def names(values: Sequence[str] | None, kind: str) -> list[str] | None:
    """The names of a list option, or None where the option was not given; a list without any is an error."""
    words = split_list(values)
    if values and not words:
        raise FgbenchError(f"no {kind} was given", do="an empty list is not the default; leave the option out")
    return words or None


def choices(values: Sequence[str] | None, kind: str, known: Sequence[str], default: Sequence[str]) -> list[str]:
    """Names out of a short list, or an error that shows the nearest and all of them."""
    return [choice(word, kind, known) for word in names(values, kind) or default]


def choice(word: str, kind: str, known: Sequence[str]) -> str:
    """One name out of a short list."""
    if word not in known:
        raise UnknownNameError(kind, word, known)
    return word


def output_path(text: str) -> Path:
    """The file to write to. A path would forget the slash at the end that names a folder."""
    if text.endswith("/"):
        raise FgbenchError("cannot write to", text, "it is the name of a folder; name a file in it")
    return Path(text)


def output_format(given: str | None, output: Path | None) -> str:
    """The format that was asked for, or the one of the file's suffix, or a table."""
    if given is not None:
        return choice(given, "format", FORMATS)
    suffix = output.suffix.lower() if output else ""
    if suffix not in SUFFIXES:
        known = " ".join(filter(None, SUFFIXES))
        raise FgbenchError("no format is known for the suffix", suffix, f"known: {known}; or say --format")
    return SUFFIXES[suffix]
