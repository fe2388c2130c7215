"""Rows of sweeps: groups by environment, their order, names of series and environments, notes below tables."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from fgbench.results.escaping import sentence
from fgbench.results.image_size import ImageSize
from fgbench.results.paper import NUM_CLASSES
from fgbench.results.records import BackendRow, SelectionRow, Status, ThroughputRow
from fgbench_reports.data import group_by
from fgbench_reports.tables.column import as_text as as_text  # the home of it is there
from fgbench_reports.tables.numbers import gigabytes, how_many

Point = ThroughputRow | SelectionRow | BackendRow  # what was timed
AnyPoint = TypeVar("AnyPoint", bound=Point)

TORCH = "torch"  # the engine that is not named
FLAGS = {"channels_last": "channels last", "cuda_graph": "CUDA graph", "training": "training step"}
LOADS = {"concurrency": "{:g} at once", "rate_per_s": "{:g}/s"}
ENVIRONMENT = {
    **{"device_name": "", "torch": "torch ", "cuda": "CUDA ", "driver": "driver "},
    **{"threads": "threads ", "code": "code "},
}
SERIES = ("model", "selector", "impl", "backbone")  # fields that tell one series of a sweep from another
CONTENDER = SERIES  # the earlier name, which plug-ins import
NUMBER = r"(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:e[+-]?\d+)?)"  # with commas between thousands, or none
# Statuses whose reasons hold figures.
FIGURES_VARY = (Status.OOM, Status.OOM_INFERRED, Status.UNCONVERGED, Status.CONTENDED, Status.TIMEOUT)
MAX_NOTES, MAX_PLACES, MAX_BATCHES, MAX_LETTERS = 8, 4, 8, 240  # of a kind; in a note; at a place; in a reason
MAX_REVISIONS = 3  # of fgbench, in the note of an environment


class EnvironmentKey(NamedTuple):
    """Device, dtype, mode and environment of a point, as texts; – where unknown.

    Rows with different keys stand in different tables. The fields from ``device_name`` on are those of
    :data:`ENVIRONMENT`, in its order.
    """

    device: str  # cuda or cpu
    dtype: str
    mode: str  # eager, compiled or the engine, then the flags that are set: "compiled · channels last"
    device_name: str
    torch: str  # version
    cuda: str  # version
    driver: str  # version
    threads: str
    code: str  # the hash of the measuring code


def by_environment(rows: Sequence[AnyPoint]) -> dict[EnvironmentKey, list[AnyPoint]]:
    """Group rows by device, dtype, mode and environment.

    Args:
        rows: Rows of throughput, or of selectors by themselves.

    Returns:
        The rows of each environment, both in the order in which they come. A row without figures that lacks a part of
        its environment is in the first group that it fits.

    """
    groups: dict[EnvironmentKey, list[AnyPoint]] = {}
    keys = [_key_of(row) for row in rows]
    with_figures = dict.fromkeys(key for row, key in zip(rows, keys, strict=True) if row.latency_s is not None)
    for row, key in zip(rows, keys, strict=True):
        if row.latency_s is None:  # a point that failed early may lack a part of its environment
            fits = (full for full in with_figures if all(a in (b, "–") for a, b in zip(key, full, strict=True)))
            key = next(fits, key)
        groups.setdefault(key, []).append(row)
    return groups


# Keys of records, which do not change, by identity. The record is kept: as long as it is, no other has its identity.
_KEYS: dict[int, tuple[Point, EnvironmentKey]] = {}
MAX_KEYS = 100_000


def _key_of(row: Point) -> EnvironmentKey:
    if (known := _KEYS.get(id(row))) is not None:
        return known[1]
    if len(_KEYS) >= MAX_KEYS:
        _KEYS.clear()
    key = _environment_key(row)
    _KEYS[id(row)] = (row, key)
    return key


def _environment_key(row: Point) -> EnvironmentKey:
    environment: Mapping[str, Any] = row.environment or {}
    values = [environment.get(name) for name in ENVIRONMENT]
    if not values[0] and row.device == "cpu":  # rows that were kept beside trained models name it so
        values[0] = environment.get("cpu")
    if not environment.get("code") and (revision := environment.get("git_revision")):  # a row from before there was one
        values[list(ENVIRONMENT).index("code")] = f"of revision {revision}"
    flags = [bool(environment.get(name)) for name in FLAGS]
    return _spelt(
        str(row.device),
        str(row.dtype),
        _engine_words(row),
        isinstance(row, ThroughputRow) and bool(row.compiled),
        tuple(flags),
        tuple([environment.get(name) for name in LOADS]),
        environment.get("memory_limit_bytes"),
        environment.get("num_classes"),
        tuple([None if value is None else str(value) for value in values]),
    )


def _engine_words(row: Point) -> str:
    """The engine, its version and its provider where that is not the device: others are measured apart."""
    engine = row.engine if isinstance(row, ThroughputRow) else TORCH
    if not engine or engine == TORCH:
        return TORCH
    facts = (row.environment or {}).get("engine")
    facts = facts if isinstance(facts, Mapping) else {}
    version, provider = facts.get("version"), str(facts.get("provider") or row.device)
    short = provider.removesuffix("ExecutionProvider")
    words = [engine, *([str(version)] if version else []), *([short] if short.lower() != row.device else [])]
    return " ".join(words)


@functools.lru_cache(maxsize=1024)  # thousands of rows share a few
def _spelt(
    device: str,
    dtype: str,
    engine: str,
    compiled: bool,
    flags: tuple[bool, ...],
    loads: tuple[float | None, ...],
    limit: int | None,
    classes: int | None,
    values: tuple[str | None, ...],
) -> EnvironmentKey:
    words = ["compiled" if compiled else "eager"] if engine == TORCH else [engine]
    words += [word for word, is_set in zip(FLAGS.values(), flags, strict=True) if is_set]
    words += [text.format(load) for text, load in zip(LOADS.values(), loads, strict=True) if load]
    words += [f"at most {gigabytes(limit)} GB"] if limit else []
    words += [] if classes in (None, NUM_CLASSES) else [how_many(classes, "class", "classes")]
    return EnvironmentKey(*map(as_text, (device, dtype, " · ".join(words), *values)))


# The names that plug-ins of fgbench 0.1 import.
Mode: TypeAlias = EnvironmentKey
by_mode = by_environment


def environment_of(key: EnvironmentKey) -> dict[str, str]:
    """The values of :data:`ENVIRONMENT` in a key, by their names."""
    return {name: getattr(key, name) for name in ENVIRONMENT}


def differing_fields(keys: Iterable[EnvironmentKey]) -> list[str]:
    """The fields that differ between environments: the name of the device, and those that differ on one device."""
    devices = group_by([environment_of(key) for key in keys], "device_name").values()
    differing = [
        name
        for name in ENVIRONMENT
        if any(len({environment[name] for environment in environments}) > 1 for environments in devices)
    ]
    return ["device_name", *differing] if len(devices) > 1 else differing


def field_name(field: str) -> str:
    """The name of a field of an environment, for readers."""
    return "measured code" if field == "code" else field.replace("_", " ")


def by_series(rows: Sequence[ThroughputRow]) -> Iterator[tuple[EnvironmentKey, list[tuple[ThroughputRow, bool]]]]:
    """Per environment and series: the rows in order, each with whether it is the best one of its size."""
    for key, group in by_environment(rows).items():
        for series in group_by(group, *SERIES).values():
            yield key, list(in_order(series))


by_contender = by_series  # the earlier name, which plug-ins import


def in_order(rows: Sequence[ThroughputRow]) -> Iterator[tuple[ThroughputRow, bool]]:
    """The rows of a series by image size, batch and repeat, each with whether it is the best one of its size."""
    by_size = group_by(rows, "image_size")
    for size in sorted(by_size):
        ordered = sorted(by_size[size], key=lambda row: (row.batch_size, row.repeat or 0))
        # Of several sweeps in one store, each has a best row.
        flagged = [index for index, row in enumerate(ordered) if row.best and row.throughput_img_s is not None]
        best = max(flagged, key=lambda index: ordered[index].throughput_img_s or 0.0, default=None)
        yield from ((row, index == best) for index, row in enumerate(ordered))


def varying_fields(rows: Sequence[ThroughputRow]) -> list[str]:
    """The fields of a series, beside the model, that differ among these rows."""
    return [name for name in SERIES[1:] if len({getattr(row, name) for row in rows}) > 1]


def label_lines(row: ThroughputRow, varying: Sequence[str]) -> list[str]:
    """The name of a series in lines: the model, its selector and implementation, its backbone."""
    texts = {name: as_text(value) for name in varying if (value := getattr(row, name)) is not None}
    selector = " · ".join(texts[name] for name in ("selector", "impl") if name in texts)
    lines = [selector, texts.get("backbone", "") if row.backbone != row.model else ""]
    return [as_text(row.model), *(f" {line}" for line in lines if line)]


def mode_name(key: EnvironmentKey, keys: Iterable[EnvironmentKey]) -> str:
    """The name of an environment: device, dtype, mode, and the fields in which environments differ.

    Args:
        key: The environment.
        keys: All environments that the name tells it from.

    """
    environment = environment_of(key)
    name = key.device_name if key.device_name != "–" else key.device
    fields = (field for field in differing_fields(keys) if field != "device_name")
    differing = (ENVIRONMENT[field] + environment[field].replace("–", "unknown") for field in fields)
    return " · ".join([name, key.dtype, key.mode, *differing])


def common_title(rows: Sequence[ThroughputRow], *words: str) -> str:
    """These words, then the selector, implementation and backbone that all rows share."""
    common = [{getattr(row, name) for row in rows} - {None} for name in SERIES[1:] if name not in varying_fields(rows)]
    return " · ".join([*words, *(as_text(value) for values in common for value in values)])


def status_word(row: Point) -> str:
    """The status of a row, as text."""
    return as_text(row.status)


def on_lines(labels: Sequence[str], lines: int) -> list[str]:
    """The lines of a name on so many lines of a table; the last one takes the rest."""
    cells = [*labels, *([""] * lines)][: lines - 1]
    return [*cells, "\n".join(labels[lines - 1 :])]


def shown_sizes(points: Sequence[Sequence[ThroughputRow]]) -> list[str]:
    """The image sizes of points; empty where the size is that of the point before."""
    sizes = [str(point[0].image_size) for point in points]
    return ["" if index and sizes[index - 1] == size else size for index, size in enumerate(sizes)]


def in_common(reasons: Sequence[str]) -> str:
    """One sentence for reasons that differ only in their numbers: a number that differs becomes a range.

    Args:
        reasons: Sentences that are the same but for their numbers.

    """
    parts = zip(*(re.split(NUMBER, reason) for reason in reasons), strict=True)
    return "".join(_from_to(texts) for texts in parts)


def _from_to(texts: Sequence[str]) -> str:
    """A text that several sentences share, or the smallest and the largest number."""
    if len(set(texts)) == 1:
        return texts[0]
    low, high = (pick(texts, key=lambda number: float(number.replace(",", ""))) for pick in (min, max))
    return f"{low} to {high}"


def reason_notes(rows: Sequence[ThroughputRow]) -> list[str]:
    """Each reason of a status other than ok once, with the points that have it."""
    groups: dict[tuple[str, str], list[ThroughputRow]] = {}
    for row in rows:
        if not row.status.is_ok:
            reason = one_line(row.reason)
            key = re.sub(NUMBER, "#", reason) if row.status in FIGURES_VARY else reason
            groups.setdefault((row.status, key), []).append(row)
    notes, sites = [], sites_of(rows)
    for (status, _), group in groups.items():
        reason = in_common([one_line(row.reason) for row in group])
        notes.append(f"{as_text(status)}: {places_of(group, sites)} – {reason}")
    return first_notes(notes, "reason")


def sites_of(rows: Sequence[ThroughputRow]) -> dict[int, str]:
    """The series, environment and image size of each row, by its id, in as few words as tell them apart.

    Returns:
        ``id`` of a row → ``"glsim gls at 448"``.

    """
    groups: dict[tuple[str, ImageSize], list[tuple[EnvironmentKey, ThroughputRow]]] = {}
    for key, rows_of_key in by_environment(rows).items():
        for row in rows_of_key:
            groups.setdefault((row.model, row.image_size), []).append((key, row))
    sites = {}
    for (_, size), group in groups.items():
        keys, varying = dict.fromkeys(key for key, _ in group), varying_fields([row for _, row in group])
        names = {key: f" ({mode_name(key, keys)})" if len(keys) > 1 else "" for key in keys}
        for key, row in group:
            sites[id(row)] = f"{' '.join(map(str.strip, label_lines(row, varying)))}{names[key]} at {size}"
    return sites


def places_of(rows: Sequence[ThroughputRow], sites: Mapping[int, str]) -> str:
    """The points of rows in words: glsim at 448, batches 64, 128; transfg at 448, batch 64; and 3 more points.

    Args:
        rows: The rows.
        sites: The names of these and more rows, as of :func:`sites_of`.

    """
    places: dict[str, dict[str, None]] = {}
    for row in rows:
        places.setdefault(sites[id(row)], {})[str(row.batch_size)] = None
    written, left = [], sum(map(len, places.values()))
    for place, all_batches in list(places.items())[:MAX_PLACES]:
        batches = list(all_batches)[:MAX_BATCHES]
        written.append(f"{place}, batch{'es' if len(batches) > 1 else ''} {', '.join(batches)}")
        left -= len(batches)
    return "; ".join([*written, *([f"and {left} more point{'s' if left > 1 else ''}"] if left else [])])


def environment_notes(rows: Sequence[Point]) -> list[str]:
    """The device and the software of rows, a line per environment."""
    keys, groups = by_environment(rows), dict[str, list[Point]]()
    for key, group in keys.items():
        environment = environment_of(key)
        values = [ENVIRONMENT[name] + environment[name] for name in ENVIRONMENT if environment[name] != "–"]
        device = [key.device] if key.device_name == "–" else []
        groups.setdefault(", ".join([*device, *values]), []).extend(group)
    lines = [f"Measured on {', '.join([words, *_versions(group)])}." for words, group in groups.items()]
    if len(lines) > 1:
        names = ", ".join(map(field_name, differing_fields(keys))) or "device"
        lines.insert(0, f"There are {len(lines)} environments, in tables of their own; they differ in {names}.")
    return first_notes(lines, "environment")


def _versions(rows: Sequence[Point]) -> list[str]:
    """The versions and revisions of fgbench of rows with the same measuring code."""
    environments = [row.environment or {} for row in rows]
    versions = _distinct(environment.get("fgbench") for environment in environments)
    # Without a hash of the code, the revision stands for it.
    revisions = _distinct(environment.get("git_revision") for environment in environments if environment.get("code"))
    several = "revisions" if len(revisions) > 1 else "revision"
    return [f"{word} {_listed(names)}" for word, names in (("fgbench", versions), (several, revisions)) if names]


def _distinct(values: Iterable[object]) -> list[str]:
    return list(dict.fromkeys(as_text(value) for value in values if value))


def _listed(names: Sequence[str]) -> str:
    left = len(names) - MAX_REVISIONS
    return ", ".join(names[:MAX_REVISIONS]) + (f" and {left} more" if left > 0 else "")


def first_notes(notes: Sequence[str], thing: str) -> list[str]:
    """The first :data:`MAX_NOTES` notes of a kind, and a note with the number of the others."""
    left = len(notes) - MAX_NOTES
    return [*notes[:MAX_NOTES], *([f"And {left} more {thing}{'s' if left > 1 else ''}."] if left > 0 else [])]


def one_line(text: object) -> str:
    """A reason on one line of at most :data:`MAX_LETTERS` letters."""
    line = sentence(text or "no reason was given")
    return line if len(line) <= MAX_LETTERS else f"{line[: MAX_LETTERS - 1]}…"
