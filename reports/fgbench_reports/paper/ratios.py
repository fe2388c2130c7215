"""Section 5.3: how many times faster GLSim is than others, and how many times less memory it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from fgbench.results.paper import MODEL_SELECTORS, NUM_CLASSES, published_backbones
from fgbench.results.records import ThroughputRow
from fgbench_reports.choose.configurations import Configuration, configurations
from fgbench_reports.data import Data
from fgbench_reports.paper.differences import to_decimals
from fgbench_reports.paper.names import MODELS
from fgbench_reports.published import PAPER
from fgbench_reports.published import ratios as published_rows
from fgbench_reports.report import Item, Missing, Report
from fgbench_reports.sweep_rows import EnvironmentKey, environment_notes, reason_notes
from fgbench_reports.tables.column import Cell, figure, word
from fgbench_reports.tables.table import Table, frame_of

if TYPE_CHECKING:
    import pandas as pd

QUANTITY, SUBJECT, VERSUS, PAPERS, MODE = "quantity", "model", "versus", "paper ×", "measured on"
QUANTITIES = {"throughput": "throughput", "vram_saving": "memory saving"}
MEASURED = {"published": "published code ×", "fast": "fast ×"}
WORDS = {"throughput": "throughput", "vram_saving": "memory"}
MAX_MODES = 6  # devices, dtypes and environments that have lines

Line = dict[str, Cell]


class SizedModel(NamedTuple):
    """A model at an image size in pixels."""

    model: str
    size: int

    @property
    def title(self) -> str:
        """As it stands in a table."""
        return f"{MODELS[self.model]} at {self.size}"


class Comparison(NamedTuple):
    """One ratio of the section."""

    metric: str
    subject: SizedModel
    versus: SizedModel
    published: float


Best = dict[tuple[SizedModel, str | None], Configuration]  # by model, size and implementation: the fastest batch


class Measured(NamedTuple):
    """One environment: its name, its fastest batches, and its ratios by comparison and implementation."""

    name: str
    best: Best
    ratios: dict[tuple[Comparison, str], float]


def ratios(data: Data) -> pd.DataFrame:
    """The ratios of Section 5.3 as numbers: published, measured with either implementation, and the difference."""
    return frame_of(_lines(_by_mode(data.throughput)))


class Ratios(Report):
    """Section 5.3: throughput and memory of GLSim beside others, published and measured."""

    name: ClassVar[str] = "ratios"

    def items(self, data: Data) -> Iterable[Item]:
        """The ratios, and what has not been measured."""
        modes = _by_mode(data.throughput)
        yield _table(modes)
        yield from _missing(modes)


def _by_mode(rows: Sequence[ThroughputRow]) -> list[Measured]:
    """What every device, dtype and environment has for the section, those with most ratios first."""
    modes: dict[EnvironmentKey, tuple[str, Best]] = {}
    wanted = [row for row in rows if _is_the_papers(row)]
    for point in configurations(Data(throughput=wanted), dataset=""):  # no data set: accuracies do not matter here
        row = point.row
        if not isinstance(row.image_size, int):
            continue
        key = (SizedModel(row.model, row.image_size), row.impl)
        _, best = modes.setdefault(point.mode, (point.mode_name, {}))
        best[key] = max(best.get(key, point), point, key=lambda each: each.img_s)  # of two names of one backbone
    found = [Measured(name, best, _ratios(best)) for name, best in modes.values()]
    return sorted((each for each in found if each.ratios), key=lambda each: -len(each.ratios))


def _is_the_papers(row: ThroughputRow) -> bool:
    known = row.model in MODELS and row.selector == MODEL_SELECTORS.get(row.model)
    known = known and (row.environment or {}).get("num_classes") in (None, NUM_CLASSES)
    return known and row.backbone in published_backbones(row.model)


def _comparisons() -> list[Comparison]:
    return [
        Comparison(row["metric"], _sized_model(row["subject"]), _sized_model(row["versus"]), float(row["ratio"]))
        for row in published_rows()
    ]


def _sized_model(text: str) -> SizedModel:
    model, _, size = text.partition("@")
    return SizedModel(model, int(size))


def _ratios(best: Best) -> dict[tuple[Comparison, str], float]:
    found = {(each, impl): _ratio(each, best, impl) for each in _comparisons() for impl in MEASURED}
    return {key: ratio for key, ratio in found.items() if ratio is not None}


def _ratio(comparison: Comparison, best: Best, impl: str) -> float | None:
    """Of one mode and implementation; a model of which there is one implementation stands for both."""
    pair = (comparison.subject, comparison.versus)
    ours, theirs = (best.get((each, impl)) or best.get((each, None)) for each in pair)
    if ours is None or theirs is None:
        return None
    if comparison.metric == "throughput":
        return ours.img_s / theirs.img_s
    if ours.mode.device != "cuda" or not ours.memory_bytes or not theirs.memory_bytes:
        return None  # of a CPU the resident set of a whole process is known, which is another thing
    return theirs.memory_bytes / ours.memory_bytes


def _lines(modes: Sequence[Measured]) -> list[Line]:
    """A line per comparison and mode that has it; columns for the implementations that were measured."""
    shown = modes[:MAX_MODES]
    impls = [impl for impl in MEASURED if any(impl == key[1] for mode in shown for key in mode.ratios)]
    lines = []
    for each in _comparisons():
        having = [mode for mode in shown if any((each, impl) in mode.ratios for impl in impls)]
        places: list[Measured | None] = [*having]
        for mode in places or [None]:
            line = {QUANTITY: word(QUANTITIES[each.metric])}
            line |= {SUBJECT: word(each.subject.title), VERSUS: word(each.versus.title)}
            line[PAPERS] = Cell(each.published, f"{each.published:.2f}")
            if impls:
                line[MODE] = word(mode.name if mode else "not measured")
            for impl in impls:
                ratio = mode.ratios.get((each, impl)) if mode else None
                line[MEASURED[impl]] = figure(ratio, "{:.2f}".format)
                line[f"{MEASURED[impl].removesuffix('×')}Δ"] = to_decimals(ratio, each.published, 2)
            lines.append(line)
    return lines


def _table(modes: Sequence[Measured]) -> Table:
    lines = _lines(modes)
    return Table.from_cells(
        "ratios",
        "Section 5.3: GLSim beside other models",
        lines,
        names=[heading for heading in (QUANTITY, SUBJECT, VERSUS, MODE) if heading in lines[0]],
        notes=_notes(modes),
    )


def _notes(modes: Sequence[Measured]) -> list[str]:
    notes = [f"Published: {PAPER}, Section 5.3, on one V100: every model at the batch of its highest throughput."]
    if modes:
        rows = [point.row for mode in modes[:MAX_MODES] for point in mode.best.values()]
        environments = [note for note in environment_notes(rows) if not note.startswith("There are")]
        notes.append(
            "Measured: the same rule, within one device, dtype and environment, which have lines of their own. "
            "Published code and fast are ways to compute the same selection; memory is the most that tensors held on a "
            "GPU. Δ is the difference to the paper's ratio."
        )
        notes += [*reason_notes(rows), *environments]
    if (left := len(modes) - MAX_MODES) > 0:
        notes.append(f"Not shown: {left} more of these, which have fewer of the ratios.")
    return notes


def _missing(modes: Sequence[Measured]) -> Iterator[Missing]:
    """Models and sizes that take part in a ratio that no mode has, published and fast."""
    known = {key for mode in modes for key in mode.ratios}
    lacking = [each for each in _comparisons() if any((each, impl) not in known for impl in MEASURED)]
    if lacking:
        sized = [model for each in lacking for model in (each.subject, each.versus)]
        models = list(dict.fromkeys(each.model for each in sized))
        sizes = sorted({each.size for each in sized})
        metrics = {each.metric for each in lacking}
        what = " and ".join(said for metric, said in WORDS.items() if metric in metrics)
        device = " --device cuda" if "vram_saving" in metrics else ""
        yield Missing(
            what=f"Section 5.3: measured {what} of {', '.join(MODELS[model] for model in models)}, "
            f"at {' and '.join(map(str, sizes))}",
            command=f"fgbench throughput --models {' '.join(models)} --sizes {' '.join(map(str, sizes))} "
            f"--impl published fast{device}",
            why="no environment has both sides of every ratio, published and fast; memory is compared on GPUs alone",
        )
