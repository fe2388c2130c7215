"""``fgbench accuracy``: what selection buys."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from fgbench.cli import checks
from fgbench.cli.arguments import (
    choice,
    image_sizes,
    key_values,
    literal,
    names,
    output_format,
    real_number,
    whole_number,
)
from fgbench.cli.errors import INTERRUPTED, complain
from fgbench.cli.typed import (
    INTERPOLATIONS,
    Format,
    Many,
    Output,
    Plugin,
    PositionInterpolation,
    Text,
    option,
    switch,
)
from fgbench.errors import FgbenchError
from fgbench.results.output import check_output

if TYPE_CHECKING:
    from fgbench.cli.commands.accuracy_result import Show
    from fgbench.training.request import AccuracyRequest

Number = TypeVar("Number", int, float)

MAX_EPOCHS, MAX_BATCH, MAX_WORKERS, MAX_THREADS, MAX_SEED = 100_000, 1_000_000, 1024, 4096, 2**31 - 1


def accuracy(
    model: Annotated[Many, option("--model", "'fgbench list models'  [default: glsim]")] = None,
    dataset: Annotated[
        str, option("--dataset", "'fgbench list datasets', or hfds/…, tfds/…, wds/… by timm's readers", "NAME")
    ] = "synthetic",
    data_dir: Annotated[Text, option("--data-dir", "where the data set lies", "DIR")] = None,
    dataset_options: Annotated[Many, option("--dataset-options", "such as classes=20", "KEY=VALUE…")] = None,
    read_all: Annotated[
        bool, switch("--read-all", "open every image before training, and list what is broken")
    ] = False,
    sizes: Annotated[Many, option("--sizes", "image sides  [default: 224; small for synthetic]", "PIXELS…")] = None,
    backbone: Annotated[
        Text, option("--backbone", "timm's name  [default: ViT-B/16; small for synthetic]", "NAME")
    ] = None,
    selectors: Annotated[Many, option("--selectors", "in place of the published ones")] = None,
    impl: Annotated[str, option("--impl", "published or fast: the same up to rounding", "NAME")] = "fast",
    model_options: Annotated[Many, option("--model-options", "such as top_k=16", "KEY=VALUE…")] = None,
    passes: Annotated[Text, option("--passes", "of CAL: 2, or 8 as in its official test", "N")] = None,
    pretrained: Annotated[bool, switch("--pretrained", "begin from timm's weights")] = False,
    checkpoint: Annotated[Text, option("--checkpoint", "weights to begin from, or to test", "FILE")] = None,
    weights: Annotated[
        Text, option("--weights", "where --checkpoint has several sets: raw, ema or a key of the file", "NAME")
    ] = None,
    position_interpolation: PositionInterpolation = None,
    test_only: Annotated[bool, switch("--test-only", "train nothing, test --checkpoint")] = False,
    flip: Annotated[bool, switch("--flip", "test the mirror image too, and add the logits")] = False,
    epochs: Annotated[Text, option("--epochs", "[default: 50; CAL 160; few for synthetic]", "N")] = None,
    lr: Annotated[
        Many, option("--lr", "several are searched  [default: 0.03 0.01 0.003 0.001; one for synthetic]", "RATE…")
    ] = None,
    search_epochs: Annotated[Text, option("--search-epochs", "of the search  [default: as --epochs]", "N")] = None,
    seeds: Annotated[
        Many, option("--seeds", "[default: 1 10 100; 1 10 beyond 50,000 images; one for synthetic]", "N…")
    ] = None,
    augreg: Annotated[Text, option("--augreg", "minimal, weak, medium, strong  [default: strong]", "NAME")] = None,
    batch_size: Annotated[Text, option("--batch-size", "images per step, of all processes  [default: 8]", "N")] = None,
    accumulate: Annotated[Text, option("--accumulate", "backward passes per step", "N")] = None,
    optimizer: Annotated[Text, option("--optimizer", "timm's name  [default: momentum, which is SGD]", "NAME")] = None,
    weight_decay: Annotated[Text, option("--weight-decay", "[default: 0; CAL 1e-5]", "RATE")] = None,
    warmup_steps: Annotated[Text, option("--warmup-steps", "[default: 500; CAL 1500]", "N")] = None,
    mixed_precision: Annotated[
        Text, option("--mixed-precision", "no, fp16, bf16  [default: fp16; on a CPU no]", "NAME")
    ] = None,
    device: Annotated[Text, option("--device", "cuda or cpu  [default: cuda where there is one]", "NAME")] = None,
    threads: Annotated[Text, option("--threads", "of a CPU  [default: torch's]", "N")] = None,
    workers: Annotated[Text, option("--workers", "processes that read images", "N")] = None,
    test_every: Annotated[str, option("--test-every", "epochs; the last one is always tested", "N")] = "1",
    test_batch_size: Annotated[str, option("--test-batch-size", "images", "N")] = "64",
    tracker: Annotated[Text, option("--tracker", "wandb, tensorboard or mlflow", "NAME")] = None,
    details: Annotated[bool, switch("--details", "accuracy per class, and what is taken for what")] = False,
    quality: Annotated[
        bool, switch("--quality", "what every selector finds on the trained models: parts, crops, insertion, deletion")
    ] = False,
    judged: Annotated[Many, option("--judged", "selectors for --quality  [default: all]")] = None,
    checkpoints: Annotated[Path, typer.Option("--checkpoints", metavar="DIR", help="where weights are kept")] = Path(
        "fgbench-checkpoints"
    ),
    store: Annotated[
        Path, typer.Option("--store", metavar="FILE", envvar="FGBENCH_STORE", help="where results are kept")
    ] = Path("fgbench.db"),
    again: Annotated[bool, switch("--again", "train what is in the store once more")] = False,
    plugin: Plugin = None,
    format_: Format = None,
    output: Output = None,
) -> None:
    """Fine-tune and test models. A run that is killed goes on after its last whole epoch, to the same result.

    The recipe is the paper's; synthetic, a small set that is drawn, has a short one of its own. On several GPUs or
    hosts: accelerate launch -m fgbench accuracy …
    """
    from fgbench.explain.records import OWN
    from fgbench.results.recipe import AUGREG
    from fgbench.training.request import DEVICES, GIVEN_BY_COMMAND, PRECISIONS, TRACKERS, AccuracyRequest

    style = output_format(format_, output)
    if test_only and checkpoint is None:
        raise FgbenchError("--test-only tests a file", do="say which with --checkpoint FILE")
    if weights is not None and checkpoint is None:
        raise FgbenchError("--weights chooses what is read of a file", do="say which with --checkpoint FILE")
    if position_interpolation is not None and checkpoint is None:
        raise FgbenchError("--position-interpolation says how a file is read", do="say which with --checkpoint FILE")
    if data_dir is not None and dataset == "synthetic":
        do = "name the data set that lies there: --dataset folder, 'fgbench list datasets'"
        raise FgbenchError("synthetic is drawn, nothing is read from --data-dir", data_dir, do)
    options = {key: literal(value) for key, value in key_values(model_options, "--model-options").items()}
    if passes is not None:
        options["passes"] = whole_number(passes, "number of passes", 8, 8)
    recipe: dict[str, Any] = {
        "epochs": _whole(epochs, "number of epochs", 50, MAX_EPOCHS),
        "batch_size": _whole(batch_size, "batch size", 8, MAX_BATCH),
        "accumulate": _whole(accumulate, "--accumulate", 2, MAX_BATCH),
        "optimizer": optimizer,
        "weight_decay": None if weight_decay is None else real_number(weight_decay, "weight decay", 1e-5, 1),
        "warmup_steps": None
        if warmup_steps is None
        else whole_number(warmup_steps, "warm-up steps", 500, MAX_BATCH, 0),
        "augreg": None if augreg is None else choice(augreg, "AugReg level", tuple(AUGREG)),
        "mixed_precision": None if mixed_precision is None else choice(mixed_precision, "precision", PRECISIONS),
    }
    rates = names(lr, "learning rate")
    drawn = names(seeds, "seed")
    request = AccuracyRequest(
        models=names(model, "model") or ["glsim"],
        dataset=dataset,
        data_dir=None if data_dir is None else Path(data_dir),
        dataset_options=key_values(dataset_options, "--dataset-options"),
        read_all=read_all,
        backbone=backbone,
        selectors=names(selectors, "selector"),
        impl=choice(impl, "impl", ("published", "fast")),
        model_options=options,
        image_sizes=image_sizes(sizes, ()) or None,
        pretrained=pretrained,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        position_interpolation=None
        if position_interpolation is None
        else choice(position_interpolation, "interpolation", INTERPOLATIONS),
        weights=weights,
        test_only=test_only,
        flip=flip,
        lrs=None if rates is None else _each_once(real_number(rate, "learning rate", 0.01, 1e38) for rate in rates),
        search_epochs=_whole(search_epochs, "number of epochs", 10, MAX_EPOCHS),
        seeds=None if drawn is None else _each_once(whole_number(seed, "seed", 1, MAX_SEED, 0) for seed in drawn),
        recipe={name: value for name, value in recipe.items() if value is not None},
        device=None if device is None else choice(device, "device", DEVICES),
        threads=_whole(threads, "number of threads", 4, MAX_THREADS),
        workers=None if workers is None else whole_number(workers, "number of workers", 4, MAX_WORKERS, 0),
        test_every=whole_number(test_every, "--test-every", 5, MAX_EPOCHS),
        test_batch_size=whole_number(test_batch_size, "batch size", 64, MAX_BATCH),
        tracker=None if tracker is None else choice(tracker, "tracker", TRACKERS),
        checkpoints=checkpoints,
        again=again,
        plugins=[os.path.realpath(name) for name in plugin or ()],
    )
    check_output(output)
    named = names(judged, "selector")
    own = [name for name in named or () if name != OWN]
    wanted_selectors = [*(request.selectors or ()), *own]
    given = None if backbone is None else [backbone]
    checks.check_names(models=request.models, selectors=wanted_selectors, backbones=given, plugins=plugin)
    checks.check_model_options(request.model_options, request.models, GIVEN_BY_COMMAND)
    checks.check_dataset(dataset, request.dataset_options, plugin)
    checks.check_optimizer(optimizer)
    checks.check_checkpoint(request.checkpoint)
    from fgbench.cli.commands.accuracy_result import Show

    show = Show(style=style, output=output, details=details, quality=quality, judged=named)
    _run(request, store, show)


def _each_once(numbers: Iterable[Number]) -> list[Number]:
    """Numbers in their order; ``0.1`` and ``1e-1`` are one."""
    return list(dict.fromkeys(numbers))


def _whole(text: str | None, what: str, example: int, largest: int) -> int | None:
    return None if text is None else whole_number(text, what, example, largest)


def _run(request: AccuracyRequest, store: Path, show: Show) -> None:
    """Train and test, and show what there is, however it ended."""
    from contextlib import nullcontext

    from fgbench.cli.commands.accuracy_result import check_names, judge_all, show_result
    from fgbench.cli.training_progress import TrainingProgress
    from fgbench.results.store import PATIENCE_S, Store
    from fgbench.training.launch import is_main_process

    problems: list[FgbenchError] = []
    failure: FgbenchError | None = None
    interrupted = False
    main = is_main_process()

    def report(problem: FgbenchError) -> None:
        problems.append(problem)
        if main:  # before the hours that the rest takes
            complain(problem)

    opened = Store(store, patience_s=PATIENCE_S, tell=complain) if main else nullcontext()
    with opened as kept, TrainingProgress(shown=main) as progress:
        from fgbench.training.context import open_training
        from fgbench.training.runs import Runs

        session = open_training(request, kept, report)
        check_names(show.judged)
        runs = Runs(session=session, tell=progress)
        judged: list[dict[str, Any]] = []
        try:
            runs.run()
            if show.quality and main:
                judge_all(runs, show.judged, progress, judged)  # what is judged is shown, however it ends
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not cost what the first one kept
            interrupted = True
        except FgbenchError as error:  # what was finished is shown all the same
            failure = error
        session.close()
    if not main:
        raise typer.Exit(0 if failure is None else failure.exit_code)
    if runs.finished or (failure is None and show.style in ("json", "csv")):
        show_result(runs, judged, show)
    if runs.stored:
        complain(f"{runs.stored} of {runs.total} runs were in {store} already; --again trains them once more")
    if failure is not None:
        raise failure
    if interrupted:
        complain(f"interrupted{progress.place}; start again, and it goes on there")
        raise typer.Exit(INTERRUPTED)
    if problems:
        raise typer.Exit(max(problem.exit_code for problem in problems))
