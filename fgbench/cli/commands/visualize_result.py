"""What ``fgbench visualize`` shows, and where: sheets of pictures, or rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fgbench.errors import FgbenchError
from fgbench.results.output import emit, emit_bytes, make_folder

if TYPE_CHECKING:
    from fgbench.explain.request import VisualizeRequest
    from fgbench.explain.session import ModelResults, Shown
    from fgbench_reports.pictures import Cell, Line, Outline, Sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """What is shown, and where."""

    format_: str  # png, svg, pdf or json
    output: Path | None  # a file; None: standard output
    folder: Path | None  # a file per picture in it, in place of one for all
    style: str  # heat, crops or both
    colour_map: str
    alpha: float
    dpi: int


def show_result(request: VisualizeRequest, visits: Sequence[ModelResults], show: Show) -> list[Path]:
    """Write everything that was seen; the files that were written."""
    if show.format_ == "json":
        from fgbench.explain.rows import rows
        from fgbench_reports.tables.render import to_json

        emit(to_json(list(rows(request, visits))), show.output)
        return []
    if show.folder is None:
        assert show.output is not None
        _write(request, visits, show, show.output)
        return [show.output]
    return list(_write_each(request, visits, show, show.folder))


def _write_each(request: VisualizeRequest, visits: Sequence[ModelResults], show: Show, folder: Path) -> Iterator[Path]:
    make_folder(folder)
    paths = list(dict.fromkeys(shown.gaze.path for visit in visits for shown in visit.shown))
    for path, name in zip(paths, file_names(paths), strict=True):
        some = [replace(visit, shown=[each for each in visit.shown if each.gaze.path == path]) for visit in visits]
        target = folder / f"{name}.{show.format_}"
        _write(request, some, show, target)
        yield target


def file_names(paths: Iterable[str]) -> list[str]:
    """A plain file name for every picture, no two the same on any system."""
    found: list[str] = []
    taken: set[str] = set()
    for path in paths:
        plain = re.sub(r"[^\w.-]+", "_", Path(path).stem, flags=re.ASCII).strip(".")[:100] or "picture"
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        found.append(name)
    return found


def _write(request: VisualizeRequest, visits: Sequence[ModelResults], show: Show, target: Path) -> None:
    from fgbench_reports.pictures import draw, encode

    made = sheet(request, [visit for visit in visits if visit.shown], show)
    try:
        figure = draw(made, show.dpi)
    except ValueError as error:
        raise FgbenchError(f"{error}; name a folder with --output, and every picture gets a file of its own") from error
    emit_bytes(encode(figure, show.format_, made.about), target)


def sheet(request: VisualizeRequest, visits: Sequence[ModelResults], show: Show) -> Sheet:
    """The sheet of some visits."""
    from fgbench.explain.caption import caption, title, warning
    from fgbench.explain.explainer import columns_of
    from fgbench_reports.pictures import Block, Sheet

    names = [name for name in columns_of([visit.looking for visit in visits]) if _seen_by(name, visits)]
    columns = [_Column(name, kind, index) for index, name in enumerate(names) for kind in _kinds(name, visits, show)]
    words, loud = caption(request, visits), warning(visits)
    blocks = [
        Block(
            title=title(visit) if len(visits) > 1 else "",
            lines=[_line(shown, visit, columns, show) for shown in visit.shown],
        )
        for visit in visits
    ]
    return Sheet(
        headings=["picture", *(column.heading(visits, show.style) for column in columns)],
        blocks=blocks,
        warning=loud,
        caption=words,
        colour_map=show.colour_map,
        alpha=show.alpha,
        about=" ".join(filter(None, [loud, *words])),
    )


@dataclass(frozen=True, slots=True)
class _Column:
    name: str  # of a selector
    kind: int  # 0: heat; from 1: which crop
    index: int  # which selector

    def heading(self, visits: Sequence[ModelResults], style: str) -> str:
        """What stands above it."""
        from fgbench.explain.records import OWN

        models = dict.fromkeys(visit.onlooker.name for visit in visits if visit.looking.columns[:1] == [OWN])
        own = f"{next(iter(models))} itself" if len(models) == 1 else "own selection"
        name = own if self.name == OWN else self.name
        if self.kind == 0:
            return name
        crop = "crop" if self.kind == 1 else f"crop {self.kind}"
        return crop if style == "both" else f"{name}: {crop}"


def _seen_by(name: str, visits: Sequence[ModelResults]) -> bool:
    return any(name in shown.gaze.sights for visit in visits for shown in visit.shown)


def _kinds(name: str, visits: Sequence[ModelResults], show: Show) -> list[int]:
    crops = max((len(shown.crops.get(name, ())) for visit in visits for shown in visit.shown), default=0)
    heat = [0] if show.style in ("heat", "both") or not crops else []
    return [*heat, *(range(1, crops + 1) if show.style in ("crops", "both") else ())]


def _line(shown: Shown, visit: ModelResults, columns: Sequence[_Column], show: Show) -> Line:
    from fgbench.datasets.dataset import readable
    from fgbench_reports.pictures import Cell, Line, Outline

    gaze = shown.gaze
    told = gaze.prediction
    partly = gaze.seen != (0.0, 0.0, *map(float, gaze.size))
    outlines = [Outline(box=gaze.seen, thin=True, dashed=True)] if partly else []
    if show.style == "crops":
        for column in columns:
            outlines += _outlines(shown, column)
    picture = Cell(
        pixels=shown.picture,
        size=_size(shown),
        outlines=outlines,
        under="" if told is None else f"class {told.index} ({100 * told.probability:.0f} %)",
    )
    return Line(
        label=readable(Path(gaze.path).name), cells=[picture, *(_cell(shown, visit, each, show) for each in columns)]
    )


def _cell(shown: Shown, visit: ModelResults, column: _Column, show: Show) -> Cell:
    from fgbench_reports.pictures import Cell

    sight = shown.gaze.sights.get(column.name)
    if sight is None:
        return Cell(words="left out" if column.name in visit.looking.columns else "–")
    if column.kind == 0:
        return Cell(
            pixels=shown.picture,
            size=_size(shown),
            heat=None if sight.is_flat else sight.heat,
            seen=shown.gaze.seen,
            outlines=_outlines(shown, column, white=True),
            words="all patches score alike" if sight.is_flat else "",
        )
    crops = shown.crops.get(column.name, ())
    if column.kind > len(crops):
        return Cell(words="no crop" if column.kind == 1 else "")
    return Cell(pixels=crops[column.kind - 1], frame=_colour(column) if show.style == "crops" else None)


def _outlines(shown: Shown, column: _Column, *, white: bool = False) -> list[Outline]:
    from fgbench_reports.pictures import Outline

    sight = shown.gaze.sights.get(column.name)
    if sight is None:
        return []
    boxes = sight.boxes if column.kind == 0 else sight.boxes[column.kind - 1 : column.kind]
    colour = "white" if white else _colour(column)
    return [Outline(box=box, colour=colour, thin=not sight.are_crops) for box in boxes]


def _colour(column: _Column) -> str:
    from fgbench_reports.pictures import OUTLINES

    return OUTLINES[column.index % len(OUTLINES)]


def _size(shown: Shown) -> tuple[float, float]:
    return float(shown.gaze.size[0]), float(shown.gaze.size[1])
