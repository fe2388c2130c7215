"""``fgbench visualize``: what selectors see in pictures."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from fgbench.cli import checks
from fgbench.cli.arguments import MAX_IMAGE_SIZE, choice, key_values, literal, names, real_number, whole_number
from fgbench.cli.commands.visualize_result import Show, show_result
from fgbench.cli.errors import INTERRUPTED, complain
from fgbench.cli.status_line import status_line
from fgbench.cli.typed import INTERPOLATIONS, Many, Plugin, PositionInterpolation, Text, option, switch
from fgbench.errors import FgbenchError
from fgbench.explain.request import NORMS, VIEWS, VisualizeRequest
from fgbench.results.output import STDOUT, check_folder, check_output, prints_on_stderr
from fgbench_reports.pictures import ALPHA, COLOUR_MAP, COLOUR_MAPS, DPI, FORMATS

RULES = ("enclosing", "released")  # as in fgbench_selectors.regions, which imports torch
MAX_SEED, MAX_PATCHES, MOST_LINES = 2**31 - 1, 10_000_000, 100
MIN_DPI, MAX_DPI = 30, 1200
STYLES = ("heat", "crops", "both")
DEFAULT_NAME = "visualize"


def visualize(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="any files that Pillow reads")],
    model: Annotated[
        Many,
        option("--model", "vit: selectors on a plain backbone; others: their own selection  [default: vit]"),
    ] = None,
    backbones: Annotated[Many, option("--backbones", "timm's names  [default: ViT-B/16]")] = None,
    selectors: Annotated[
        Many, option("--selectors", "[default: all; with a model that selects by itself, its own alone]")
    ] = None,
    impl: Annotated[str, option("--impl", "published or fast: the same scores", "NAME")] = "fast",
    size: Annotated[str, option("--size", "side of the network's input", "PIXELS")] = "224",
    view: Annotated[str, option("--view", "centre, as models are tested, or whole", "NAME")] = "centre",
    checkpoint: Annotated[Text, option("--checkpoint", "weights: ours, released, timm's, Google's", "FILE")] = None,
    weights: Annotated[
        Text, option("--weights", "where --checkpoint has several sets: raw, ema or a key of the file", "NAME")
    ] = None,
    position_interpolation: PositionInterpolation = None,
    pretrained: Annotated[bool, switch("--pretrained", "timm's weights for the backbone")] = False,
    model_options: Annotated[Many, option("--model-options", "such as overlap=4", "KEY=VALUE…")] = None,
    norm: Annotated[
        Text, option("--norm", "mean and deviation of colours: imagenet or half  [default: the weights' own]", "NAME")
    ] = None,
    top_k: Annotated[Text, option("--top-k", "patches that a crop holds  [default: 8 at 224, 16 at 448]", "N")] = None,
    rule: Annotated[str, option("--rule", "of crops: enclosing or released", "NAME")] = "enclosing",
    style: Annotated[
        Text, option("--style", "heat, crops or both  [default: heat; both where a model selects by itself]", "NAME")
    ] = None,
    cmap: Annotated[str, option("--cmap", f"{', '.join(COLOUR_MAPS)}", "NAME")] = COLOUR_MAP,
    alpha: Annotated[str, option("--alpha", "how opaque heat is, 0 to 1", "SHARE")] = str(ALPHA),
    dpi: Annotated[str, option("--dpi", "pixels per inch of a picture, 1.25 inches wide each", "N")] = str(DPI),
    seed: Annotated[str, option("--seed", "of random weights", "N")] = "0",
    device: Annotated[Text, option("--device", "cuda or cpu  [default: cuda where there is one]", "NAME")] = None,
    plugin: Plugin = None,
    format_: Annotated[
        Text, option("--format -f", "png, svg, pdf or json; by default what --output ends in", "NAME")
    ] = None,
    output: Annotated[
        Text,
        option(
            "--output -o", "a file, or a folder for a file per picture  [default: visualize.png; json: stdout]", "PATH"
        ),
    ] = None,
) -> None:
    """Draw what selectors see in pictures: heat over the picture, boxes, crops; or give the numbers as JSON.

    Weights are random unless --pretrained or --checkpoint is given, and the picture says so.
    """
    kind, file, folder = _target(output, format_)
    models = names(model, "model") or ["vit"]
    request = VisualizeRequest(
        images=list(dict.fromkeys(images)),
        models=models,
        backbones=names(backbones, "backbone") or [None],
        selectors=_selectors(selectors),
        impl=choice(impl, "impl", ("published", "fast")),
        image_size=whole_number(size, "image size", 224, MAX_IMAGE_SIZE),
        view=choice(view, "view", VIEWS),
        norm=None if norm is None else choice(norm, "norm", NORMS),
        top_k=None if top_k is None else whole_number(top_k, "top-k", 8, MAX_PATCHES),
        rule=choice(rule, "rule", RULES),
        pretrained=pretrained,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        position_interpolation=None
        if position_interpolation is None
        else choice(position_interpolation, "interpolation", INTERPOLATIONS),
        weights=weights,
        model_options={key: literal(value) for key, value in key_values(model_options, "--model-options").items()},
        seed=whole_number(seed, "seed", 0, MAX_SEED, smallest=0),
        device=None if device is None else choice(device, "device", ("cuda", "cpu")),
        plugins=list(plugin or ()),
    )
    show = Show(
        format_=kind,
        output=file,
        folder=folder,
        style=choice(style or ("heat" if models == ["vit"] else "both"), "style", STYLES),
        colour_map=choice(cmap, "colour map", COLOUR_MAPS),
        alpha=real_number(alpha, "alpha", ALPHA, 1),
        dpi=whole_number(dpi, "dpi", DPI, MAX_DPI, smallest=MIN_DPI),
    )
    _check(request, show)
    given = [name for name in request.backbones if name is not None]
    checks.check_names(models=models, selectors=request.selectors, backbones=given, plugins=plugin)
    checks.check_model_options(request.model_options, models)
    checks.check_checkpoint(request.checkpoint)
    _run(request, show)


def _selectors(values: list[str] | None) -> list[str] | None:
    found = names(values, "selector")
    for word in found or ():
        if Path(word).suffix and os.path.isfile(word):  # noqa: PTH113  # never raises
            raise FgbenchError("a file was named as a selector:", word, "pictures come before the options")
    return found


def _target(output: str | None, format_: str | None) -> tuple[str, Path | None, Path | None]:
    """Format, file and folder: one of the last two, or neither for standard output."""
    asked = None if format_ is None else choice(format_, "format", (*FORMATS, "json"))
    if output is None:
        kind = asked or "png"
        return kind, None if kind == "json" else Path(f"{DEFAULT_NAME}.{kind}"), None
    if output.endswith("/") or os.path.isdir(output):  # noqa: PTH112  # never raises
        if asked == "json":
            raise FgbenchError("cannot write to", output, "it is a folder; name a file in it")
        return asked or "png", None, Path(output)
    suffix = Path(output).suffix.lower().removeprefix(".")
    if asked is None and output not in STDOUT and suffix not in (*FORMATS, "json"):
        known = " ".join(f".{name}" for name in (*FORMATS, "json"))
        raise FgbenchError(
            "no format is known for the suffix", Path(output).suffix, f"known: {known}; a folder ends in a slash"
        )
    return asked or (suffix if output not in STDOUT else "png"), Path(output), None


def _check(request: VisualizeRequest, show: Show) -> None:
    """Refuse what cannot end well before anything is loaded."""
    check_output(show.output)
    if show.folder is not None:
        check_folder(show.folder, parents=False)
    if request.pretrained and request.checkpoint is not None:
        raise FgbenchError("--pretrained and --checkpoint are both weights", do="leave one of them out")
    if request.weights is not None and request.checkpoint is None:
        raise FgbenchError("--weights chooses what is read of a file", do="say which with --checkpoint FILE")
    if request.position_interpolation is not None and request.checkpoint is None:
        raise FgbenchError("--position-interpolation says how a file is read", do="say which with --checkpoint FILE")
    lines = len(request.images) * len(request.models) * len(request.backbones)
    if lines > MOST_LINES and show.folder is None and show.format_ != "json":
        raise FgbenchError(
            f"one picture has room for {MOST_LINES} lines, asked for were", lines, "name a folder: --output DIR/"
        )


def _run(request: VisualizeRequest, show: Show) -> None:
    """Run, and write the results that there are, also after an interruption."""
    problems: list[FgbenchError] = []
    told: set[str] = set()
    interrupted = False

    def report(problem: FgbenchError) -> None:
        if str(problem) not in told:  # a plug-in is broken with every backbone
            told.add(str(problem))
            problems.append(problem)
            complain(problem)

    with prints_on_stderr(), status_line("loading torch") as tell:
        from fgbench.explain.run import ExplainRun

        run = ExplainRun(request=request, on_problem=report, tell=tell)
        try:
            run.run()
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not cost what the first one kept
    shown = sum(len(results.images) for results in run.results)
    if shown:
        for path in show_result(request, run.results, show):
            complain(f"wrote {path}")
    if interrupted:
        wanted = len(request.images) * len(request.models) * len(request.backbones)
        complain(f"interrupted; {shown} of {wanted} pictures were looked at" + (" and kept" if shown else ""))
        raise typer.Exit(INTERRUPTED)
    if problems:
        raise typer.Exit(max(problem.exit_code for problem in problems))
