"""Words of a command line and their values: lists in every habit, numbers, names, formats. No torch, no typer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.results.image_size import ImageSize, image_size

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
MAX_IN_FLIGHT = 1024


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


def split_list(words: Sequence[str]) -> list[str]:
    """``["224,448", "768 1024"]`` → ``["224", "448", "768", "1024"]``, each once, in order."""
    return list(dict.fromkeys(name for word in words for name in _split(word)))


def _split(word: str) -> list[str]:
    """The names in a word; a file with a function in it is one, whatever its path has."""
    file, colon, _ = word.rpartition(":")
    return [word] if colon and file.endswith(".py") and Path(file).is_file() else word.replace(",", " ").split()


def names(words: Sequence[str], kind: str) -> list[str]:
    """The names in the words of a list option.

    Args:
        words: What was typed.
        kind: What the names are names of, for the error.

    Returns:
        Each name once, in order; at least one.

    Raises:
        FgbenchError: Where the words hold no name: an empty list is not the default.

    """
    found = split_list(words)
    if not found:
        raise FgbenchError(f"no {kind} was given", do="an empty list is not the default; leave the option out")
    return found


def whole_number(text: str | int, what: str, example: int, largest: int | None = None, smallest: int = 1) -> int:
    """A whole number.

    Args:
        text: What was typed.
        what: What the number is, for the error.
        example: A number that is good, for the error.
        largest: The largest number that is accepted; None: any.
        smallest: The smallest one.

    Returns:
        The number.

    Raises:
        FgbenchError: For a text that is no whole number, or is out of range.

    """
    # int() also takes 1_60 and the digits of other scripts
    if not re.fullmatch(r"[+-]?[0-9]{1,99}", str(text).strip()):
        raise FgbenchError(f"{what} must be a whole number, got", text, f"for example {example}")
    number = int(text)
    if number < smallest:
        raise FgbenchError(f"{what} must be at least {smallest}, got", number, f"for example {example}")
    if largest is not None and number > largest:
        raise FgbenchError(f"{what} must be at most {largest}, got", number, f"for example {example}")
    return number


def real_number(text: str, what: str, example: float, largest: float) -> float:
    """A number from 0 up, as ``0.001`` or ``1e-3``; the arguments are those of :func:`whole_number`."""
    number = _number(text)
    if number is None:
        raise FgbenchError(f"{what} must be a number, got", text, f"for example {example:g}")
    if not 0 <= number <= largest:  # NaN is not, either
        raise FgbenchError(f"{what} must lie between 0 and {largest:g}, got", text, f"for example {example:g}")
    return number


def _number(text: str) -> float | None:
    """The number that a text is; None where it is none. float() also takes 1_60 and the digits of other scripts."""
    try:
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None


def image_sizes(words: Sequence[str]) -> list[int]:
    """Image sides in pixels, each once, where all images are squares."""
    if any(re.fullmatch(r"\d+x\d+", word) for word in split_list(words)):
        raise FgbenchError("this command takes square images, got size", " ".join(words), "give a side, as 224")
    sizes = [whole_number(word, "image size", 224, MAX_IMAGE_SIZE) for word in names(words, "image size")]
    return list(dict.fromkeys(sizes))


def image_shapes(words: Sequence[str]) -> list[ImageSize]:
    """Image sizes, each once: sides of squares in pixels, or height and width as ``224x448``."""
    sizes: list[ImageSize] = []
    for word in names(words, "image size"):
        height, _, width = word.partition("x")
        both = (height, width) if height.isdecimal() and width.isdecimal() else (word,)
        sides = [whole_number(side, "image size", 224, MAX_IMAGE_SIZE) for side in both]
        sizes.append(image_size(tuple(sides)) if len(sides) == 2 else sides[0])
    return list(dict.fromkeys(sizes))


def batch_sizes(words: Sequence[str]) -> list[int]:
    """Batch sizes in images, each once."""
    sizes = [whole_number(word, "batch size", 8, MAX_BATCH_SIZE) for word in names(words, "batch size")]
    return list(dict.fromkeys(sizes))


def numbers_in_flight(words: Sequence[str]) -> list[int]:
    """Numbers of requests in flight, each once."""
    numbers = [whole_number(word, "requests in flight", 4, MAX_IN_FLIGHT) for word in names(words, "number")]
    return list(dict.fromkeys(numbers))


def shares(words: Sequence[str]) -> list[float]:
    """Shares above 0 and up to 1, each once."""
    found = [real_number(word, "--keep-rate", 0.7, 1.0) for word in names(words, "share")]
    if 0.0 in found:
        raise FgbenchError("--keep-rate must be above", 0, "for example 0.7")
    return list(dict.fromkeys(found))


def choice(word: str, kind: str, known: Sequence[str]) -> str:
    """One name out of a short list, or an error that shows the nearest and all of them."""
    if word not in known:
        raise UnknownNameError(kind, word, known)
    return word


def choices(words: Sequence[str], kind: str, known: Sequence[str]) -> list[str]:
    """Names out of a short list."""
    return [choice(word, kind, known) for word in names(words, kind)]


def key_values(words: Sequence[str], flag: str) -> dict[str, str]:
    """``KEY=VALUE`` words as a dictionary; the last one of a key counts."""
    pairs = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise FgbenchError(f"{flag} takes KEY=VALUE, got", word, "for example top_k=16")
        pairs[key] = value
    return pairs


def literal(text: str) -> bool | int | float | str:
    """What a word stands for: true or false, a whole number, a number, or itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    number = _number(text)
    if number is None:
        return text
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,99}", text.strip()) else number


def literals(words: Sequence[str], flag: str) -> dict[str, bool | int | float | str]:
    """``KEY=VALUE`` words as a dictionary of what the values stand for."""
    return {key: literal(value) for key, value in key_values(words, flag).items()}


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
