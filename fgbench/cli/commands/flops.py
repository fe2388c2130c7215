"""``fgbench flops``: what selection costs beside its backbone, and whole models, in FLOPs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fgbench.cli import early
from fgbench.cli.arguments import choices, image_sizes, names, output_format, whole_number
from fgbench.cli.errors import DONE, INTERRUPTED, complain
from fgbench.cli.options import MAX_CLASSES, Format, Many, Output, Plugin, Text, option, switch
from fgbench.cli.status_line import status_line
from fgbench.errors import FgbenchError
from fgbench.flops.garbage import collected_rarely
from fgbench.results.output import check_output, emit_as, prints_on_stderr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fgbench.flops.request import FlopsRequest, ModelsRequest
    from fgbench.results.records import FlopsRow

WAIT_S = 3.0  # for a store that somebody keeps locked


def flops(
    sizes: Annotated[Many, option("--sizes", "image sides  [default: 224 448 768 1024]", "PIXELS…")] = None,
    backbones: Annotated[
        Many, option("--backbones", "timm's names  [default: the paper's ViT-B/16, ViT-B/14, ViT-T/16]")
    ] = None,
    selectors: Annotated[Many, option("--selectors", "[default: all; with --models, the published ones]")] = None,
    models: Annotated[Many, option("--models", "whole models instead, by part: 'fgbench list models'")] = None,
    parts: Annotated[bool, switch("--parts", "rows of models' parts in json and csv too")] = False,
    impl: Annotated[Many, option("--impl", "published, fast  [default: both]")] = None,
    convention: Annotated[Many, option("--convention", "full, fvcore, paper  [default: full]")] = None,
    num_classes: Annotated[str, option("--num-classes", "classes of the backbone's head", "N")] = "200",
    patch_stride: Annotated[
        Text, option("--patch-stride", "step between patches; 12 overlaps patches of 16", "PIXELS")
    ] = None,
    cross_check: Annotated[
        bool, switch("--cross-check", "hold every backbone against torch's counter and the closed form")
    ] = False,
    store: Annotated[
        Path, typer.Option("--store", metavar="FILE", envvar="FGBENCH_STORE", help="where rows are kept")
    ] = Path("fgbench.db"),
    again: Annotated[bool, switch("--again", "count what was counted with these versions once more")] = False,
    plugin: Plugin = None,
    format_: Format = None,
    output: Output = None,
) -> None:
    """Count the work of every selection mechanism beside its backbone, for one image. No GPU, no weights."""
    style = output_format(format_, output)
    impls = choices(impl, "impl", ("published", "fast"), ("published", "fast"))
    conventions = choices(convention, "convention", ("full", "fvcore", "paper"), ("full",))
    pixels = image_sizes(sizes, (224, 448, 768, 1024))
    classes = whole_number(num_classes, "number of classes", 200, MAX_CLASSES)
    stride = None if patch_stride is None else whole_number(patch_stride, "patch stride", 12)
    check_output(output)

    chosen = names(models, "model")
    if chosen and (stride is not None or cross_check):
        option = "--cross-check" if cross_check else "--patch-stride"
        raise FgbenchError(f"{option} is for backbones, and has no meaning with", "--models", "leave one of them out")

    if parts and not chosen:
        raise FgbenchError("only models have parts", do="--parts goes with --models")

    from fgbench.flops.request import PAPER_BACKBONES, FlopsRequest, ModelsRequest

    wanted_backbones, wanted_selectors = names(backbones, "backbone"), names(selectors, "selector")
    early.check_names(models=chosen, selectors=wanted_selectors, backbones=wanted_backbones, plugins=plugin)
    request: FlopsRequest | ModelsRequest
    if chosen:
        request = ModelsRequest(
            models=chosen,
            sizes=pixels,
            backbones=wanted_backbones,
            selectors=wanted_selectors,
            impls=impls,
            conventions=conventions,
            num_classes=classes,
        )
    else:
        request = FlopsRequest(
            sizes=pixels,
            backbones=wanted_backbones or PAPER_BACKBONES,
            selectors=wanted_selectors,
            impls=impls,
            conventions=conventions,
            num_classes=classes,
            patch_stride=stride,
            cross_check=cross_check,
        )
    problems: list[FgbenchError] = []
    try:
        with prints_on_stderr():
            rows, finished = _collect_flops(request, plugin or (), problems, again=again)
    except FgbenchError:
        for problem in problems:  # a plug-in that did not load explains why its name is unknown
            complain(problem)
        raise
    try:
        if rows or finished:
            if chosen:
                _show_models(rows, style, output, parts=parts)
            else:
                _show_flops(rows, style, output, beside_paper=stride is None)
    finally:  # whoever reads the table may have gone
        not_kept = _keep(rows, request, store)
    if cross_check and finished:
        complain("cross-check: every backbone's macs equal torch's own counter and the closed form, where it has one")
    for problem in problems:
        complain(problem)
    if not finished:
        kept = "" if not_kept else " and kept"
        complain(f"interrupted; {len(rows)} rows were finished{kept}, start again for the others")
        raise typer.Exit(INTERRUPTED)
    if code := max([not_kept, *(problem.exit_code for problem in problems)]):
        raise typer.Exit(code)


def _collect_flops(
    request: FlopsRequest | ModelsRequest, plugins: Sequence[str], problems: list[FgbenchError], *, again: bool
) -> tuple[list[FlopsRow], bool]:
    """Count with a progress line; an interrupt keeps what is finished."""
    from fgbench.flops.counted_cache import CountedCache
    from fgbench.flops.models import model_rows
    from fgbench.flops.request import ModelsRequest
    from fgbench.flops.rows import flops_rows
    from fgbench.plugins.files import add_plugin_files

    add_plugin_files(plugins, problems.append)
    rows: list[FlopsRow] = []
    cache = CountedCache(keeps=True, reads=not again)
    with status_line("counting") as tell, collected_rarely():

        def progress(what: str) -> None:
            tell(f"counting {what}")

        try:
            if isinstance(request, ModelsRequest):
                found = model_rows(request, problems.append, progress, problems.append, cache)
            else:
                found = flops_rows(request, problems.append, progress, problems.append, cache)
            for row in found:
                rows.append(row)
        except KeyboardInterrupt:
            return rows, False
    return rows, True


def _keep(rows: Sequence[FlopsRow], request: FlopsRequest | ModelsRequest, path: Path) -> int:
    """Keep rows in the store; where that cannot be done say why, and return the exit code of it: they are shown."""
    from fgbench.flops.keys import count_environment, count_key
    from fgbench.results.store import Store

    if not rows:
        return DONE
    try:
        with Store(path, wait_s=WAIT_S) as kept:
            found = {count_key(row, request): row.as_dict(parts=True) for row in rows}
            kept.keep("flops", found, count_environment(request))
    except FgbenchError as error:
        complain(f"the rows were not kept: {error}")
        return error.exit_code
    return DONE


def _show_flops(rows: Sequence[FlopsRow], style: str, output: Path | None, *, beside_paper: bool) -> None:
    from fgbench_reports.flops import flops_frame, flops_notes, flops_tables
    from fgbench_reports.tables import render

    records = [row.as_dict() for row in rows]
    notes = flops_notes(records, beside_paper=beside_paper)
    if style == "json":
        text = render.to_json(records)
    elif style == "csv":
        text = render.to_csv(records)
    elif style == "markdown":
        text = render.to_markdown(flops_frame(records, beside_paper=beside_paper), notes=notes)
    elif style == "latex":
        text = render.to_latex(flops_frame(records, beside_paper=beside_paper), notes=notes)
    else:
        tables = flops_tables(records, beside_paper=beside_paper)
        text = render.to_terminal(tables, notes, to_file=output is not None)
    emit_as(style, text, output)


def _show_models(rows: Sequence[FlopsRow], style: str, output: Path | None, *, parts: bool) -> None:
    from fgbench_reports.models import model_frame, model_notes, model_tables
    from fgbench_reports.tables import render

    if style in ("json", "csv"):
        records = [row.as_dict(parts=parts) for row in rows if parts or row.stage is None]
        text = render.to_json(records) if style == "json" else render.to_csv(records)
    else:
        records = [row.as_dict(parts=True) for row in rows]
        if style == "table":
            text = render.to_terminal(model_tables(records), model_notes(records), to_file=output is not None)
        else:
            write = render.to_markdown if style == "markdown" else render.to_latex
            text = write(model_frame(records), notes=model_notes(records))
    emit_as(style, text, output)
