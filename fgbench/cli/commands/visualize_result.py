"""Output of ``fgbench visualize``: sheets of pictures, or rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fgbench.errors import FgbenchError
from fgbench.results.output import emit, emit_bytes, make_folder

if TYPE_CHECKING:
    from fgbench.explain.records import ImageResult
    from fgbench.explain.request import VisualizeRequest
    from fgbench.explain.run import ModelResults
    from fgbench_reports.pictures import Cell, Line, Outline, Sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """Options of the output."""

    format_: str  # png, svg, pdf or json
    output: Path | None  # a file; None: standard output
    folder: Path | None  # a file per picture in it, in place of one for all
    style: str  # heat, crops or both
    colour_map: str
    alpha: float
    dpi: int


def show_result(request: VisualizeRequest, results: Sequence[ModelResults], show: Show) -> list[Path]:
    """Write all results, and return the files that were written."""
    if show.format_ == "json":
        from fgbench.explain.rows import rows
        from fgbench_reports.tables.render import to_json

        emit(to_json([row.as_dict() for row in rows(request, results)]), show.output)
        return []
    if show.folder is None:
        assert show.output is not None
        _write(request, results, show, show.output)
        return [show.output]
    return list(_write_each(request, results, show, show.folder))


def _write_each(request: VisualizeRequest, results: Sequence[ModelResults], show: Show, folder: Path) -> Iterator[Path]:
    make_folder(folder)
    paths = list(dict.fromkeys(image.path for model in results for image in model.images))
    for path, name in zip(paths, file_names(paths), strict=True):
        of_path = [replace(model, images=[image for image in model.images if image.path == path]) for model in results]
        target = folder / f"{name}.{show.format_}"
        _write(request, of_path, show, target)
        yield target


def file_names(paths: Iterable[str]) -> list[str]:
    """A plain file name for every picture, no two the same on any system."""
    unique_names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        plain = re.sub(r"[^\w.-]+", "_", Path(path).stem, flags=re.ASCII).strip(".")[:100] or "picture"
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        unique_names.append(name)
    return unique_names


def _write(request: VisualizeRequest, results: Sequence[ModelResults], show: Show, target: Path) -> None:
    from fgbench_reports.pictures import draw, encode

    made = sheet(request, [model for model in results if model.images], show)
    try:
        figure = draw(made, show.dpi)
    except ValueError as error:
        raise FgbenchError(f"{error}; name a folder with --output, and every picture gets a file of its own") from error
    emit_bytes(encode(figure, show.format_, made.about), target)


def sheet(request: VisualizeRequest, results: Sequence[ModelResults], show: Show) -> Sheet:
    """A sheet with a block per model, a line per picture and columns by selector."""
    from fgbench.explain.caption import caption, title, warning
    from fgbench_reports.pictures import Block, Sheet

    asked = dict.fromkeys(name for model in results for name in model.explainer.columns)
    names = [name for name in asked if any(model.has(name) for model in results)]
    columns = [_Column(name, kind, index) for index, name in enumerate(names) for kind in _kinds(name, results, show)]
    words, loud = caption(request, results), warning(results)
    blocks = [
        Block(
            title=title(model) if len(results) > 1 else "",
            lines=[_line(image, model, columns, show) for image in model.images],
        )
        for model in results
    ]
    return Sheet(
        headings=["picture", *(column.heading(results, show.style) for column in columns)],
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
    kind: int  # 0: heat; from 1: number of a crop
    index: int  # of the selector

    def heading(self, results: Sequence[ModelResults], style: str) -> str:
        """Heading of the column."""
        from fgbench.explain.records import OWN

        models = dict.fromkeys(model.loaded.name for model in results if model.explainer.columns[:1] == [OWN])
        own = f"{next(iter(models))} itself" if len(models) == 1 else "own selection"
        name = own if self.name == OWN else self.name
        if self.kind == 0:
            return name
        crop = "crop" if self.kind == 1 else f"crop {self.kind}"
        return crop if style == "both" else f"{name}: {crop}"


def _kinds(name: str, results: Sequence[ModelResults], show: Show) -> list[int]:
    selections = [image.selectors[name] for model in results for image in model.images if name in image.selectors]
    crops = max((len(selection.crops) for selection in selections), default=0)
    heat = [0] if show.style in ("heat", "both") or not crops else []
    return [*heat, *(range(1, crops + 1) if show.style in ("crops", "both") else ())]


def _line(image: ImageResult, results: ModelResults, columns: Sequence[_Column], show: Show) -> Line:
    from fgbench.datasets.dataset import readable
    from fgbench_reports.pictures import Cell, Line, Outline

    prediction = image.prediction
    is_cut = image.seen_box != (0.0, 0.0, *map(float, image.size))
    outlines = [Outline(box=image.seen_box, thin=True, dashed=True)] if is_cut else []
    if show.style == "crops":
        for column in columns:
            outlines += _outlines(image, column)
    picture = Cell(
        pixels=image.tile,
        size=_size(image),
        outlines=outlines,
        under="" if prediction is None else f"class {prediction.index} ({100 * prediction.probability:.0f} %)",
    )
    cells = [picture, *(_cell(image, results, column, show) for column in columns)]
    return Line(label=readable(Path(image.path).name), cells=cells)


def _cell(image: ImageResult, results: ModelResults, column: _Column, show: Show) -> Cell:
    from fgbench_reports.pictures import Cell

    result = image.selectors.get(column.name)
    if result is None:
        return Cell(words="left out" if column.name in results.explainer.columns else "–")
    if column.kind == 0:
        return Cell(
            pixels=image.tile,
            size=_size(image),
            heat=None if result.is_flat else result.heat,
            seen=image.seen_box,
            outlines=_outlines(image, column, white=True),
            words="all patches score alike" if result.is_flat else "",
        )
    if column.kind > len(result.crops):
        return Cell(words="no crop" if column.kind == 1 else "")
    return Cell(pixels=result.crops[column.kind - 1], frame=_colour(column) if show.style == "crops" else None)


def _outlines(image: ImageResult, column: _Column, *, white: bool = False) -> list[Outline]:
    from fgbench_reports.pictures import Outline

    result = image.selectors.get(column.name)
    if result is None:
        return []
    boxes = result.boxes if column.kind == 0 else result.boxes[column.kind - 1 : column.kind]
    colour = "white" if white else _colour(column)
    return [Outline(box=box, colour=colour, thin=not result.are_crops) for box in boxes]


def _colour(column: _Column) -> str:
    from fgbench_reports.pictures import OUTLINES

    return OUTLINES[column.index % len(OUTLINES)]


def _size(image: ImageResult) -> tuple[float, float]:
    return float(image.size[0]), float(image.size[1])
