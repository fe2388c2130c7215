"""The rows of a sweep: which stand in one table and in what order, what they are called, and the notes below them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from fgbench.results.escaping import sentence
from fgbench.results.records import Record
from fgbench_reports.data import AnyRow, Row, group_by
from fgbench_reports.tables.column import as_text as as_text  # the home of it is there
from fgbench_reports.tables.numbers import gigabytes, how_many

if TYPE_CHECKING:
    from rich.table import Table

# The device, the dtype, its flags, then the environment's values: rows that differ in any stand in different tables.
EnvironmentKey = tuple[str, ...]
TORCH = "torch"  # the engine that is not named
USUAL_CLASSES = 200  # of heads: others are told
FLAGS = {"channels_last": "channels last", "cuda_graph": "CUDA graph"}
ENVIRONMENT = {
    **{"device_name": "", "torch": "torch ", "cuda": "CUDA ", "driver": "driver "},
    **{"threads": "threads ", "code": "code "},
}
CONTENDER = ("model", "selector", "impl", "backbone")
NUMBER = r"(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:e[+-]?\d+)?)"  # with commas between thousands, or none
FIGURES_VARY = ("oom", "oom_inferred", "unconverged", "contended", "timeout")  # from reason to reason
MAX_NOTES, MAX_PLACES, MAX_BATCHES, MAX_LETTERS = 8, 4, 8, 240  # of a kind; in a note; at a place; in a reason
MAX_REVISIONS = 3  # of fgbench, in an environment's note


def by_environment(rows: Sequence[AnyRow]) -> dict[EnvironmentKey, list[AnyRow]]:
    """The rows of each table: those of one device, dtype, mode and environment, in the order in which they come."""
    groups: dict[EnvironmentKey, list[AnyRow]] = {}
    keys = [_key_of(row) for row in rows]
    with_figures = dict.fromkeys(key for row, key in zip(rows, keys, strict=True) if row["latency_s"] is not None)
    for row, key in zip(rows, keys, strict=True):
        if row["latency_s"] is None:  # a point that failed early may lack a part of its environment
            fits = (full for full in with_figures if all(a in (b, "–") for a, b in zip(key, full, strict=True)))
            key = next(fits, key)
        groups.setdefault(key, []).append(row)
    return groups


# Keys of records, which do not change, by identity. The record is kept: as long as it is, no other has its identity.
_KEYS: dict[int, tuple[Record, EnvironmentKey]] = {}
MAX_KEYS = 100_000


def _key_of(row: Row) -> EnvironmentKey:
    if not isinstance(row, Record):
        return _environment_key(row)
    if (known := _KEYS.get(id(row))) is not None:
        return known[1]
    if len(_KEYS) >= MAX_KEYS:
        _KEYS.clear()
    key = _environment_key(row)
    _KEYS[id(row)] = (row, key)
    return key


def _environment_key(row: Row) -> EnvironmentKey:
    environment: Mapping[str, Any] = row["environment"] or {}
    values = [environment.get(name) for name in ENVIRONMENT]
    if not values[0] and row["device"] == "cpu":  # rows that were kept beside trained models name it so
        values[0] = environment.get("cpu")
    if not environment.get("code") and (revision := environment.get("git_revision")):  # a row from before there was one
        values[list(ENVIRONMENT).index("code")] = f"of revision {revision}"
    flags = [bool(environment.get(name)) for name in FLAGS]
    return _spelt(
        str(row["device"]),
        str(row["dtype"]),
        str(row.get("engine") or TORCH),
        bool(row.get("compiled")),
        tuple(flags),
        environment.get("memory_limit_bytes"),
        environment.get("num_classes"),
        tuple([None if value is None else str(value) for value in values]),
    )


@functools.lru_cache(maxsize=1024)  # thousands of rows share a few
def _spelt(
    device: str,
    dtype: str,
    engine: str,
    compiled: bool,
    flags: tuple[bool, ...],
    limit: int | None,
    classes: int | None,
    told: tuple[str | None, ...],
) -> EnvironmentKey:
    words = ["compiled" if compiled else "eager"] if engine == TORCH else [engine]
    words += [said for said, is_set in zip(FLAGS.values(), flags, strict=True) if is_set]
    words += [f"at most {gigabytes(limit)} GB"] if limit else []
    words += [] if classes in (None, USUAL_CLASSES) else [how_many(classes, "class", "classes")]
    return tuple(map(as_text, (device, dtype, " · ".join(words), *told)))


# The names that plug-ins of fgbench 0.1 import.
Mode: TypeAlias = EnvironmentKey
by_mode = by_environment


def environment_of(mode: EnvironmentKey) -> dict[str, str]:
    """The values of a mode's environment by their fields."""
    return dict(zip(ENVIRONMENT, mode[3:], strict=True))


def differing_fields(modes: Iterable[EnvironmentKey]) -> list[str]:
    """The fields that tell these environments apart: the device's name, and what differs on one device."""
    devices = group_by([environment_of(mode) for mode in modes], "device_name").values()
    differing = [name for name in ENVIRONMENT if any(len({each[name] for each in some}) > 1 for some in devices)]
    return ["device_name", *differing] if len(devices) > 1 else differing


def field_name(field: str) -> str:
    """What a field of an environment is called."""
    return "measured code" if field == "code" else field.replace("_", " ")


def by_contender(rows: Sequence[Row]) -> Iterator[tuple[EnvironmentKey, list[tuple[Row, bool]]]]:
    """Per mode and contender its rows in order, with whether a row is the one best of its size."""
    for mode, group in by_environment(rows).items():
        for contender in group_by(group, *CONTENDER).values():
            yield mode, list(in_order(contender))


def in_order(rows: Sequence[Row]) -> Iterator[tuple[Row, bool]]:
    """A contender's rows by size, batch and repeat, and whether a row is the one best of its size."""
    by_size = group_by(rows, "image_size")
    for size in sorted(by_size):
        some = sorted(by_size[size], key=lambda row: (row["batch_size"], row.get("repeat") or 0))
        # Sweeps that were put together can each have a best one.
        flagged = [index for index, row in enumerate(some) if row["best"] and row["throughput_img_s"] is not None]
        best = max(flagged, key=lambda index: some[index]["throughput_img_s"], default=None)
        yield from ((row, index == best) for index, row in enumerate(some))


def varying_fields(rows: Sequence[Row]) -> list[str]:
    """What a model's name does not tell: the fields of a contender that differ among these rows."""
    return [name for name in CONTENDER[1:] if len({row[name] for row in rows}) > 1]


def label_lines(row: Row, varying: Sequence[str]) -> list[str]:
    """A contender's name, in lines: the model, its selector and implementation, its backbone."""
    told = {name: as_text(row[name]) for name in varying if row[name] is not None}
    chosen = " · ".join(told[name] for name in ("selector", "impl") if name in told)
    lines = [chosen, told.get("backbone", "") if row["backbone"] != row["model"] else ""]
    return [as_text(row["model"]), *(f" {line}" for line in lines if line)]


def mode_name(mode: EnvironmentKey, modes: Iterable[EnvironmentKey]) -> str:
    """The device, the dtype, compiled or eager, and what else tells this mode's environment from the others'."""
    environment, (device, *flags) = environment_of(mode), mode[:3]
    name = environment["device_name"] if environment["device_name"] != "–" else device
    others = (field for field in differing_fields(modes) if field != "device_name")
    differing = (ENVIRONMENT[field] + environment[field].replace("–", "unknown") for field in others)
    return " · ".join([name, *flags, *differing])


def common_title(rows: Sequence[Row], *words: str) -> str:
    """These words, and what the contenders have in common."""
    common = [{row[name] for row in rows} - {None} for name in CONTENDER[1:] if name not in varying_fields(rows)]
    return " · ".join([*words, *(as_text(value) for values in common for value in values)])


def status_word(row: Row) -> str:
    """A status as it stands in a table: the row's own word."""
    return as_text(row["status"])


def empty_table(title: str, headings: Sequence[str], right: Sequence[str]) -> Table:
    """A table without lines; the columns named in ``right`` hold figures and stand to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Without edges the lines fit 80 columns; what stood above and below is a blank line.
    table = Table(
        title=Text(f"{title}\n", "bold", no_wrap=True, overflow="ignore"),
        caption=" ",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    table.show_edge = False
    for heading in headings:
        figures = heading in right and heading != "latency ms"  # never cut; names fold where a terminal is narrow
        lines = heading.replace("allocated", "alloc.").replace(" ", "\n") if " " in heading else f"\n{heading}"
        table.add_column(
            lines.rstrip(), justify="right" if heading in right else "left", overflow="fold", no_wrap=figures
        )
    return table


def on_lines(labels: Sequence[str], lines: int) -> list[str]:
    """A name's lines on the lines of a table, the last of which takes those left over."""
    cells = [*labels, *([""] * lines)][: lines - 1]
    return [*cells, "\n".join(labels[lines - 1 :])]


def shown_sizes(points: Sequence[Sequence[Row]]) -> list[str]:
    """The image size where it changes."""
    sizes = [str(point[0]["image_size"]) for point in points]
    return ["" if index and sizes[index - 1] == size else size for index, size in enumerate(sizes)]


def in_common(reasons: Sequence[str]) -> str:
    """Reasons that differ in their figures alone as one: of a figure that differs, from which to which it was met.

    The reasons are sentences that are the same but for their numbers.
    """
    parts = zip(*(re.split(NUMBER, reason) for reason in reasons), strict=True)
    return "".join(_from_to(some) for some in parts)


def _from_to(some: Sequence[str]) -> str:
    """The part of several sentences: a word that they share, or the least and the largest number."""
    if len(set(some)) == 1:
        return some[0]
    low, high = (pick(some, key=lambda number: float(number.replace(",", ""))) for pick in (min, max))
    return f"{low} to {high}"


def reason_notes(rows: Sequence[Row]) -> list[str]:
    """Each reason once, with where it was met."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["status"] != "ok":
            reason = one_line(row["reason"])
            key = re.sub(NUMBER, "#", reason) if row["status"] in FIGURES_VARY else reason
            groups.setdefault((row["status"], key), []).append(row)
    notes, sites = [], sites_of(rows)
    for (status, _), group in groups.items():
        reason = in_common([one_line(row["reason"]) for row in group])
        notes.append(f"{as_text(status)}: {places_of(group, sites)} – {reason}")
    return first_notes(notes, "reason")


def sites_of(rows: Sequence[Row]) -> dict[int, str]:
    """Where each row, by its id, was measured, in the words that tell it from others: glsim gls at 448."""
    alike: dict[tuple[str, int], list[tuple[EnvironmentKey, Row]]] = {}
    for mode, some in by_environment(rows).items():
        for row in some:
            alike.setdefault((row["model"], row["image_size"]), []).append((mode, row))
    sites = {}
    for (_, size), group in alike.items():
        modes, varying = dict.fromkeys(mode for mode, _ in group), varying_fields([row for _, row in group])
        names = {mode: f" ({mode_name(mode, modes)})" if len(modes) > 1 else "" for mode in modes}
        for mode, row in group:
            sites[id(row)] = f"{' '.join(map(str.strip, label_lines(row, varying)))}{names[mode]} at {size}"
    return sites


def places_of(rows: Sequence[Row], sites: Mapping[int, str]) -> str:
    """Where something was met: glsim at 448, batches 64, 128; transfg at 448, batch 64; and 3 more points."""
    places: dict[str, dict[str, None]] = {}
    for row in rows:
        places.setdefault(sites[id(row)], {})[str(row["batch_size"])] = None
    written, left = [], sum(map(len, places.values()))
    for place, met in list(places.items())[:MAX_PLACES]:
        batches = list(met)[:MAX_BATCHES]
        written.append(f"{place}, batch{'es' if len(batches) > 1 else ''} {', '.join(batches)}")
        left -= len(batches)
    return "; ".join([*written, *([f"and {left} more point{'s' if left > 1 else ''}"] if left else [])])


def environment_notes(rows: Sequence[Row]) -> list[str]:
    """What it was measured on and with, a line per environment."""
    modes, groups = by_environment(rows), dict[str, list[Row]]()
    for mode, group in modes.items():
        environment = environment_of(mode)
        told = [ENVIRONMENT[name] + environment[name] for name in ENVIRONMENT if environment[name] != "–"]
        device = [mode[0]] if environment["device_name"] == "–" else []
        groups.setdefault(", ".join([*device, *told]), []).extend(group)
    lines = [f"Measured on {', '.join([told, *_versions(group)])}." for told, group in groups.items()]
    if len(lines) > 1:
        names = ", ".join(map(field_name, differing_fields(modes))) or "device"
        lines.insert(0, f"There are {len(lines)} environments, in tables of their own; they differ in {names}.")
    return first_notes(lines, "environment")


def _versions(rows: Sequence[Row]) -> list[str]:
    """The versions and revisions of fgbench behind these rows, whose measured code is the same."""
    met = [row["environment"] or {} for row in rows]
    versions = _distinct(each.get("fgbench") for each in met)
    revisions = _distinct(each.get("git_revision") for each in met if each.get("code"))  # else it is told as the code
    several = "revisions" if len(revisions) > 1 else "revision"
    return [f"{word} {_listed(names)}" for word, names in (("fgbench", versions), (several, revisions)) if names]


def _distinct(values: Iterable[object]) -> list[str]:
    return list(dict.fromkeys(as_text(value) for value in values if value))


def _listed(names: Sequence[str]) -> str:
    left = len(names) - MAX_REVISIONS
    return ", ".join(names[:MAX_REVISIONS]) + (f" and {left} more" if left > 0 else "")


def first_notes(notes: Sequence[str], thing: str) -> list[str]:
    """No more notes of a kind than are read, and how many are left out."""
    left = len(notes) - MAX_NOTES
    return [*notes[:MAX_NOTES], *([f"And {left} more {thing}{'s' if left > 1 else ''}."] if left > 0 else [])]


def one_line(text: object) -> str:
    """A reason on one line, cut where it is long."""
    line = sentence(text or "no reason was given")
    return line if len(line) <= MAX_LETTERS else f"{line[: MAX_LETTERS - 1]}…"
