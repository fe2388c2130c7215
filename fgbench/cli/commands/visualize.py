"""``fgbench visualize``: what selectors see in pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fgbench.cli.checks import check_checkpoint, check_model_options, check_names
from fgbench.cli.commands.visualize_result import Show, show_result
from fgbench.cli.errors import complain, ignore_interrupts, problems_told
from fgbench.errors import FgbenchError, InterruptError
from fgbench.explain.request import VisualizeRequest
from fgbench.options import FORMAT, OUTPUT, OUTPUT_SECTION, one, one_of, real, whole
from fgbench.results.output import STDOUT, check_folder, check_output, prints_on_stderr
from fgbench_reports.pictures import ALPHA, COLOUR_MAP, COLOUR_MAPS, DPI, FORMATS

MOST_LINES = 100  # of one picture
MIN_DPI, MAX_DPI = 30, 1200
STYLES = ("heat", "crops", "both")
DEFAULT_NAME = "visualize"
DRAWING = "Drawing"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingOptions:
    """How pictures are drawn, and where they go."""

    style: Annotated[
        str | None,
        one(
            "--style",
            "heat, crops or both",
            default="heat; both where a model selects by itself",
            read=one_of("style", STYLES),
        ),
        DRAWING,
    ] = None
    colour_map: Annotated[
        str, one("--cmap", ", ".join(COLOUR_MAPS), read=one_of("colour map", COLOUR_MAPS)), DRAWING
    ] = COLOUR_MAP
    alpha: Annotated[
        float, one("--alpha", "how opaque heat is, 0 to 1", "SHARE", read=real("alpha", ALPHA, 1)), DRAWING
    ] = ALPHA
    dpi: Annotated[
        int,
        one(
            "--dpi",
            "pixels per inch of a picture, 1.25 inches wide each",
            "N",
            read=whole("dpi", DPI, MAX_DPI, smallest=MIN_DPI),
        ),
        DRAWING,
    ] = DPI
    format: Annotated[
        str | None,
        FORMAT.but(
            help="png, svg, pdf or json; by default what --output ends in",
            read=one_of("format", (*FORMATS, "json")),
        ),
        OUTPUT_SECTION,
    ] = None
    output: Annotated[
        str | None,
        OUTPUT.but(
            metavar="PATH",
            help="a file, or a folder for a file per picture",
            read=str,
            default="visualize.png; json: stdout",
        ),
        OUTPUT_SECTION,
    ] = None

    def show(self, request: VisualizeRequest) -> Show:
        """How the results of a request are shown; refuses what cannot be written, or has no room."""
        kind, file, folder = _target(self.output, self.format)
        check_output(file)
        if folder is not None:
            check_folder(folder, parents=False)
        if request.num_pictures > MOST_LINES and folder is None and kind != "json":
            raise FgbenchError(
                f"one picture has room for {MOST_LINES} lines, asked for were",
                request.num_pictures,
                "name a folder: --output DIR/",
            )
        return Show(
            format_=kind,
            output=file,
            folder=folder,
            style=self.style or ("heat" if list(request.models) == ["vit"] else "both"),
            colour_map=self.colour_map,
            alpha=self.alpha,
            dpi=self.dpi,
        )


def visualize(request: VisualizeRequest, drawing: DrawingOptions) -> None:
    """Draw what selectors see in pictures: heat over the picture, boxes, crops; or give the numbers as JSON.

    Without --pretrained and --checkpoint the backbone is a small one that is shipped with its weights, but for models
    that do not take it: their weights are random, and the picture says so.
    """
    show = drawing.show(request)
    backbones = [name for name in request.backbones if name is not None]
    check_names(models=request.models, selectors=request.selectors, backbones=backbones, plugins=request.plugins)
    check_model_options(request.model_options, request.models)
    check_checkpoint(request.checkpoint)
    from fgbench.cli.progress import status_line

    with problems_told(at_once=True) as problems:
        with prints_on_stderr(), status_line("loading torch") as tell:
            from fgbench.explain.run import explain_images

            result = explain_images(request, problems.append, progress=tell, on_interrupt=ignore_interrupts)
        if result.num_shown:
            for path in show_result(result.request, result.results, show):
                complain(f"wrote {path}")
        if result.interrupted:
            kept = " and kept" if result.num_shown else ""
            raise InterruptError(
                f"interrupted; {result.num_shown} of {request.num_pictures} pictures were looked at{kept}"
            )


def _target(output: str | None, format_: str | None) -> tuple[str, Path | None, Path | None]:
    """Format, file and folder: one of the last two, or neither for standard output."""
    if output is None:
        kind = format_ or "png"
        return kind, None if kind == "json" else Path(f"{DEFAULT_NAME}.{kind}"), None
    if output.endswith("/") or os.path.isdir(output):  # noqa: PTH112  # never raises
        if format_ == "json":
            raise FgbenchError("cannot write to", output, "it is a folder; name a file in it")
        return format_ or "png", None, Path(output)
    suffix = Path(output).suffix.lower().removeprefix(".")
    if format_ is None and output not in STDOUT and suffix not in (*FORMATS, "json"):
        known = " ".join(f".{name}" for name in (*FORMATS, "json"))
        raise FgbenchError(
            "no format is known for the suffix", Path(output).suffix, f"known: {known}; a folder ends in a slash"
        )
    return format_ or (suffix if output not in STDOUT else "png"), Path(output), None
