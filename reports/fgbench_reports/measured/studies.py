"""Studies: every condition over its seeds, and its difference from the condition that it is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from fgbench.results.predictions import PredictionsRow
from fgbench.results.records import AccuracyRow, StudyRow
from fgbench_reports.conventions import measured_rows
from fgbench_reports.data import Data, group_by
from fgbench_reports.measured.selector_quality import over_seeds
from fgbench_reports.measured.study_statements import statement_table
from fgbench_reports.paper.statements import STATEMENTS
from fgbench_reports.plots.forest import Forest, Tree
from fgbench_reports.report import Item, Missing, Report
from fgbench_reports.statistics import BETTER, ONE_SEED, WORSE, Difference, Judgement, all_answers, differences, judged
from fgbench_reports.tables.column import NOTHING, Cell, Column
from fgbench_reports.tables.numbers import how_many, significant, with_prefix
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import Table, distinct, file_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A condition: its runs, and its comparison."""

    place: StudyRow  # of one of its runs
    runs: Sequence[AccuracyRow]
    baseline: Sequence[AccuracyRow]  # none for a condition that is compared with nothing
    judgement: Judgement | None
    times: float | None  # FLOPs over those of what it is compared with

    @property
    def difference(self) -> Difference | None:
        """The difference from what it is compared with."""
        return None if self.judgement is None else self.judgement.difference

    @property
    def top1(self) -> float:
        """The mean accuracy over seeds, in percent."""
        return fmean(run.top1_percent for run in self.runs)

    @property
    def reduction(self) -> float | None:
        """How much smaller the error is than that of what it is compared with, in percent of that."""
        error = 100 - fmean(run.top1_percent for run in self.baseline) if self.baseline else 0.0
        return 100 * (1 - (100 - self.top1) / error) if error else None


class _Points(Column):
    """The difference in points, with its 95 % interval in print."""

    __slots__ = ()

    def cell(self, row: Line) -> Cell:
        """The difference and its text."""
        one = row.difference
        if one is None:
            return NOTHING
        known = one.low_points is not None and one.high_points is not None
        interval = f" ({one.low_points:+.1f} to {one.high_points:+.1f})" if known else ""
        return Cell(one.mean_points, f"{one.mean_points:+.1f}{interval}")


def _verdict(line: Line) -> str | None:
    return None if line.judgement is None else line.judgement.verdict


def _seeds_for_one(line: Line) -> int | None:
    return None if line.difference is None else line.difference.seeds_for_one_point


class _Accuracy(Column):
    """The mean over seeds; ± is their standard deviation."""

    __slots__ = ()

    def cell(self, row: Line) -> Cell:
        """The mean and its text."""
        return Cell(row.top1, over_seeds([run.top1_percent for run in row.runs]))


POINTS = _Points("points", "difference")
COLUMNS = (
    Column("condition", lambda line: line.place.condition, is_name=True),
    Column("against", lambda line: line.place.against, is_name=True),
    Column("seeds", lambda line: len(line.runs)),
    _Accuracy("top-1 %", "top1", unit="%", better="high"),
    POINTS,
    Column("error −%", lambda line: line.reduction, "{:.1f}".format, unit="%"),
    Column("verdict", _verdict, is_name=True),
    Column("seeds for 1 point", _seeds_for_one),
    Column("FLOPs", lambda line: line.place.flops, with_prefix, unit="FLOP"),
    Column("×", lambda line: line.times, significant),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyGroup:
    """The lines of one table: a study on a data set, with one recipe."""

    study: str
    title: str
    dataset: str
    series: str
    lines: Sequence[Line]

    def table(self, name: str) -> Table:
        """The table, with its notes."""
        several = len({line.place.against for line in self.lines} - {None}) > 1
        columns = [one for one in COLUMNS if self._is_filled(one) and (several or one.heading != "against")]
        title = f"{self.title} · {self.data()} at {self._sizes()}"
        return Table.from_rows(name, title, columns, self.lines, notes=self._notes())

    def _is_filled(self, column: Column) -> bool:
        return any(column.cell(line).value is not None for line in self.lines)

    def data(self) -> str:
        """The data set with its number of classes: several sets of one name differ in it."""
        classes = self.lines[0].runs[0].num_classes
        return self.dataset if classes is None else f"{self.dataset}, {how_many(classes, 'class', 'classes')}"

    def _sizes(self) -> str:
        return ", ".join(str(size) for size in sorted({line.place.image_size for line in self.lines}))

    def _notes(self) -> list[str]:
        runs = [run for line in self.lines for run in line.runs]
        first = runs[0]
        starts = ", ".join(sorted({str(run.begun_from) for run in runs}))
        backbones = ", ".join(dict.fromkeys(str(run.backbone) for run in runs))
        sizes = "" if first.train_images is None else f"{first.train_images} training and "
        lengths = sorted({run.epochs for run in runs if run.epochs is not None})
        epochs = f", {' or '.join(map(str, lengths))} epochs" if lengths else ""
        notes = [
            f"{sizes}{how_many(first.images, 'test image')}{epochs}; begun from {starts}; backbones: {backbones}; "
            "± is the standard deviation over seeds."
        ]
        if compared := [line.judgement for line in self.lines if line.judgement is not None]:
            others = list(dict.fromkeys(line.place.against for line in self.lines if line.judgement is not None))
            other = f"that of {others[0]}" if len(others) == 1 else "that of the condition in 'against'"
            counted = how_many(len(compared), "comparison")
            words = [f"points: the accuracy less {other}, with a 95 % interval; {counted}, corrected by Holm"]
            words.append("error −%: how much smaller the error is, in percent of the other's")
            words.append("seeds for 1 point: of each condition, that would find a difference of one point")
            notes.append("; ".join(words) + ".")
            notes.append(_what_it_says(self.lines))
        notes += _searched(self.lines)
        return [*notes, *measured_rows("Accuracy", runs)]


def _what_it_says(lines: Sequence[Line]) -> str:
    """Which conditions are better or worse, in a sentence."""
    told = {verdict: [_named(line) for line in lines if _verdict(line) == verdict] for verdict in (BETTER, WORSE)}
    words = [f"{verdict}: {', '.join(names)}" for verdict, names in told.items() if names]
    return (
        "; ".join(words).capitalize() if words else "No difference was found between any two conditions compared"
    ) + "."


def _named(line: Line) -> str:
    return f"{line.place.condition} than {line.place.against}"


def _searched(lines: Sequence[Line]) -> list[str]:
    """Learning rates that were searched, and what came of them."""
    told = []
    for line in lines:
        if line.place.tried:
            tried = ", ".join(f"{one['lr']:g}: {_percent(one['validation_top1_percent'])}" for one in line.place.tried)
            told.append(f"{line.place.condition} took {line.runs[0].lr:g} ({tried})")
    return [f"Learning rates searched on a part of the training images: {'; '.join(told)}."] if told else []


def _percent(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1f} %"


def study_groups(
    runs: Sequence[AccuracyRow], places: Sequence[StudyRow], predictions: Sequence[PredictionsRow] = ()
) -> list[StudyGroup]:
    """The tables of studies: conditions in their order, each with its comparison.

    Args:
        runs: Rows of accuracy, with the keys of their runs.
        places: The places of runs in studies.
        predictions: Predictions per image, as far as they were kept.

    """
    by_run = {run.run: run for run in runs if run.run is not None}
    known = [place for place in places if place.run in by_run]
    groups = []
    for (study, series, dataset), of_study in group_by(known, "study", "series", "dataset").items():
        of_study.sort(key=lambda place: (place.position, place.seed))
        conditions: dict[str, list[StudyRow]] = group_by(of_study, "condition")
        found = {name: [by_run[place.run] for place in rows] for name, rows in conditions.items()}
        lines = _lines(conditions, found, predictions)
        title = of_study[0].title
        groups.append(StudyGroup(study=study, title=title, dataset=dataset, series=series, lines=lines))
    return groups


def _lines(
    conditions: dict[str, list[StudyRow]], runs: dict[str, list[AccuracyRow]], predictions: Sequence[PredictionsRow]
) -> list[Line]:
    compared: dict[str, Difference] = {}
    for name, places in conditions.items():
        against = places[0].against
        if against is not None and against in runs:
            pair = (all_answers(runs[against], predictions), all_answers(runs[name], predictions))
            compared[name] = differences(*pair)
    verdicts = dict(zip(compared, judged(list(compared.values())), strict=True))
    flops = {name: places[0].flops for name, places in conditions.items()}
    lines = []
    for name, places in conditions.items():
        against = places[0].against
        own, other = flops[name], flops.get(against or "")
        lines.append(
            Line(
                place=places[0],
                runs=runs[name],
                baseline=runs.get(against or "", []),
                judgement=verdicts.get(name),
                times=own / other if own and other else None,
            )
        )
    return lines


def study_tables(
    runs: Sequence[AccuracyRow], places: Sequence[StudyRow], predictions: Sequence[PredictionsRow] = ()
) -> RowTables:
    """The rows of a study as each format shows them."""
    groups = study_groups(runs, places, predictions)
    tables = [table for group, name in _with_names(groups) for table in _of_group(group, name)]
    notes = [note for table in tables for note in table.notes]
    return RowTables(rows=[*runs, *places, *predictions], narrow=tables, wide=tables, notes=notes)


def _with_names(groups: Sequence[StudyGroup]) -> Iterator[tuple[StudyGroup, str]]:
    names = distinct(file_name(group.study, group.dataset) for group in groups)
    return zip(groups, names, strict=True)


def _of_group(group: StudyGroup, name: str) -> Iterator[Table]:
    yield group.table(name)
    if statements := [one for one in STATEMENTS if one.study == group.study]:
        yield statement_table(group, name, statements)


def _forest(group: StudyGroup, name: str) -> Iterator[Forest]:
    """The differences of a study below each other, where there are some."""
    compared = [line for line in group.lines if line.judgement is not None]
    if compared:
        others = {line.place.against for line in compared}
        baseline = str(others.pop()) if len(others) == 1 else "what each is compared with"
        yield Forest(
            name=f"{name}-differences",
            title=f"{group.title} · {group.data()}",
            alt=f"Differences of {how_many(len(compared), 'condition')} from {baseline} in points of top-1 accuracy, "
            f"one below the other, with their 95 % intervals. {_what_it_says(group.lines)}",
            notes=[_what_it_says(group.lines)],
            baseline=baseline,
            trees=[_tree(line) for line in compared],
        )


def _tree(line: Line) -> Tree:
    one, verdict = line.difference, _verdict(line)
    assert one is not None
    ends = None if one.low_points is None or one.high_points is None else (one.low_points, one.high_points)
    return Tree(
        label=line.place.condition,
        points=one.mean_points,
        ends=ends,
        better={BETTER: True, WORSE: False}.get(str(verdict)),
        one_seed=verdict == ONE_SEED,
        text=f"{line.place.condition} than {line.place.against}: {POINTS.cell(line).text} points, {verdict}",
    )


class Studies(Report):
    """Studies: conditions over seeds, differences with intervals, verdicts, cost."""

    title = "Studies"
    studies: ClassVar[tuple[str, ...]] = ()  # none: all that have no report of their own

    def items(self, data: Data) -> Iterable[Item]:
        """A table per study, data set and recipe; and what the paper's text says, where it says something."""
        groups = [group for group in data.once("studies", lambda: _groups_of(data)) if self._takes(group)]
        for group, name in _with_names(groups):
            yield from _of_group(group, name)
            yield from _forest(group, name)
        if not groups:
            study = self.studies[0] if self.studies else "selectors"
            yield Missing(what=f"study {study}", command=f"fgbench study {study}")

    def _takes(self, group: StudyGroup) -> bool:
        return group.study in self.studies if self.studies else group.study not in NAMED


def _groups_of(data: Data) -> list[StudyGroup]:
    return study_groups(data.accuracy, data.study, getattr(data, "predictions", ()))


class Table5(Studies):
    """Table 5: the components of GLSim, measured, beside what the paper's text says."""

    title, studies = "Table 5: components of GLSim", ("table5",)


class Table11(Studies):
    """Table 11: levels of augmentation, on several models at two image sizes, measured."""

    title, studies = "Table 11: augmentation", ("table11",)


class Table12(Studies):
    """Table 12: random crops with and without the aggregator, measured."""

    title, studies = "Table 12: random crops", ("table12",)


class Table13(Studies):
    """Table 13: the number of patches that the crop holds, measured."""

    title, studies = "Table 13: patches in the crop", ("table13",)


class Table14(Studies):
    """Table 14: measures of similarity, measured."""

    title, studies = "Table 14: similarity", ("table14",)


class Table15(Studies):
    """Table 15: backbones of two patch sizes, measured."""

    title, studies = "Table 15: patch size", ("table15",)


class EqualCost(Studies):
    """Models beside plain ViTs that cost as much: larger images, overlapping patches, more blocks."""

    title, studies = "Models beside a plain ViT of the same cost", ("equal-cost",)


class KeepRate(Studies):
    """Token reduction at several rates: accuracy beside FLOPs."""

    title, studies = "Token reduction", ("keep-rate",)


NAMED = frozenset(
    name
    for report in (Table5, Table11, Table12, Table13, Table14, Table15, EqualCost, KeepRate)
    for name in report.studies
)
