"""Matching of benchmark names after their root folder changed: names with the same end, if only one fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

SEPARATOR = "::"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The known names that belong to the names of one file."""

    renamed: Mapping[str, str] = field(default_factory=dict)  # name in the file → known name
    unclear: Mapping[str, Sequence[str]] = field(default_factory=dict)  # known name → several names with the same end


def match_names(known: Iterable[str], names: Iterable[str]) -> Matched:
    """Match names that only one list has by their ends: ``repo/tests/a.py::test_x`` is ``tests/a.py::test_x``.

    The file, the class and the function with its parameters must be equal, or one name must be the end of the other.
    If several names fit, the change of the root folder that fits most names decides; if two changes fit equally many,
    the match is unclear.
    """
    known, names = dict.fromkeys(known), dict.fromkeys(names)
    missing, fresh = [name for name in known if name not in names], [name for name in names if name not in known]
    by_end: dict[str, list[str]] = {}
    for name in fresh:
        by_end.setdefault(_parts(name)[-1], []).append(name)
    alike = {name: _alike(name, by_end.get(_parts(name)[-1], ())) for name in missing}
    roots: dict[_Roots, list[tuple[str, str]]] = {}
    for name, others in alike.items():
        for other, change in others.items():
            roots.setdefault(change, []).append((name, other))
    renamed = {other: name for name, other in _clear(roots)}
    matched = set(renamed.values())
    unclear = {name: list(others) for name, others in alike.items() if others and name not in matched}
    return Matched(renamed=renamed, unclear=unclear)


_Roots = tuple[tuple[str, ...], tuple[str, ...]]  # the folders before the common end, in the known and in the new name


def _alike(name: str, others: Iterable[str]) -> dict[str, _Roots]:
    """The names with the same end, each with the change of the root folder between them."""
    found = {}
    for other in others:
        one, another = _parts(name), _parts(other)
        common = _common(one, another)
        if common == min(len(one), len(another)) or common >= max(_least(name), _least(other)):
            found[other] = (tuple(one[: len(one) - common]), tuple(another[: len(another) - common]))
    return found


def _clear(roots: Mapping[_Roots, Sequence[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    """Pairs of names by the changes of the root that fit most names; names with two equal candidates are left out."""
    taken: set[str] = set()  # known and new names together: the two lists are disjoint
    counts = sorted({len(pairs) for pairs in roots.values()}, reverse=True)
    for count in counts:
        links = [link for pairs in roots.values() if len(pairs) == count for link in pairs]
        links = [link for link in links if not taken.intersection(link)]
        met = Counter(name for link in links for name in link)
        yield from (link for link in links if met[link[0]] == met[link[1]] == 1)
        taken.update(met)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """The number of equal parts at the end."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count


def _least(name: str) -> int:
    """The number of parts of a name, beginning with the file."""
    path, apart, _ = name.partition(SEPARATOR)
    return len(_parts(name)) - (len(_folders(path)) - 1 if apart else 0)


def _parts(name: str) -> list[str]:
    """Folders, the file, classes, and the function with its parameters in brackets."""
    path, apart, rest = name.partition(SEPARATOR)
    if not apart:
        return [name]
    inside, bracket, parameters = rest.partition("[")
    *classes, function = inside.split(SEPARATOR)
    return [*_folders(path), *classes, f"{function}{bracket}{parameters}"]


def _folders(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")] or [""]
