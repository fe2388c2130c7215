"""``fgbench regress``: whether a change made selection or models costlier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from fgbench.cli.arguments import (
    batch_sizes,
    choice,
    choices,
    image_sizes,
    names,
    output_format,
    whole_number,
)
from fgbench.cli.commands.regress_comparison import Comparison, compare_all
from fgbench.cli.commands.regress_counted import CountedRequest
from fgbench.cli.commands.regress_output import Outputs
from fgbench.cli.errors import DONE, INTERRUPTED, complain
from fgbench.cli.typed import MAX_CLASSES, Many, Output, Plugin, Text, option, switch
from fgbench.errors import CannotMeasureError, CheckFailedError, FgbenchError
from fgbench.measure.points import DEVICES, DTYPES
from fgbench.quantities import (
    duration,
)
from fgbench.regress.request import PairsRequest, SidesRequest
from fgbench.sweep.request import PAPER_MODELS
from fgbench_reports.regression.baseline import CONVENTIONS, IMPLS
from fgbench_reports.regression.findings import FAIL, UNDECIDED

MAX_THREADS = 4096
SavedFile = Optional[Path]  # noqa: UP045


def _file(flag: str, says: str) -> Any:
    return typer.Option(flag, metavar="FILE", help=says)


def regress(
    baseline: Annotated[SavedFile, _file("--baseline", "counted figures, exact, are held against this file")] = None,
    update: Annotated[bool, switch("--update", "write the baseline, and show what changes")] = False,
    rows: Annotated[
        Many, option("--rows", "saved rows of 'fgbench throughput', whose allocated memory is compared too", "FILE…")
    ] = None,
    selectors: Annotated[
        Many, option("--selectors", "[default: the baseline's, or all; measured, the published ones]")
    ] = None,
    models: Annotated[
        Many, option("--models", "[default: the baseline's, or all; measured, the paper's eight]")
    ] = None,
    backbones: Annotated[Many, option("--backbones", "that selectors stand beside  [default: the baseline's]")] = None,
    sizes: Annotated[
        Many, option("--sizes", "image sides  [default: the baseline's; measured, 224]", "PIXELS…")
    ] = None,
    impl: Annotated[Many, option("--impl", "published, fast  [default: the baseline's; measured, fast]")] = None,
    convention: Annotated[Text, option("--convention", "full or fvcore  [default: the baseline's]", "NAME")] = None,
    num_classes: Annotated[Text, option("--num-classes", "[default: the baseline's, or 200]", "N")] = None,
    base: Annotated[
        Text, option("--base", "measure this git revision against the working tree, in pairs", "REVISION")
    ] = None,
    head: Annotated[Text, option("--head", "this revision instead of the working tree", "REVISION")] = None,
    base_python: Annotated[Text, option("--base-python", "an installed environment as the base", "PYTHON")] = None,
    head_python: Annotated[Text, option("--head-python", "[default: this one]", "PYTHON")] = None,
    a_a: Annotated[
        bool, switch("--a-a", "self-test: the head against itself, and this machine's false alarms")
    ] = False,
    batches: Annotated[Many, option("--batch-sizes", "of what is measured  [default: 1]", "N…")] = None,
    device: Annotated[Text, option("--device", "cuda or cpu  [default: cuda where there is one]", "NAME")] = None,
    dtype: Annotated[Many, option("--dtype", "[default: float32]")] = None,
    threads: Annotated[Text, option("--threads", "of a CPU", "N")] = None,
    max_time: Annotated[Text, option("--max-time", "of timed blocks, per point and process", "TIME")] = None,
    timeout: Annotated[str, option("--timeout", "of one point in one process", "TIME")] = "10m",
    store: Annotated[
        Path, typer.Option("--store", metavar="FILE", envvar="FGBENCH_STORE", help="where finished pairs are kept")
    ] = Path("fgbench.db"),
    again: Annotated[bool, switch("--again", "count anew, and measure pairs once more that are in the store")] = False,
    pytest_benchmark: Annotated[
        Many, option("--pytest-benchmark", "files of pytest-benchmark: old, new, old, new, …", "OLD NEW…")
    ] = None,
    strict: Annotated[bool, switch("--strict", "what is inconclusive is an error too: exit code 3")] = False,
    markdown: Annotated[
        SavedFile, _file("--markdown", "a summary, added to $GITHUB_STEP_SUMMARY where it is that")
    ] = None,
    junit: Annotated[SavedFile, _file("--junit", "JUnit XML")] = None,
    benchmark_json: Annotated[SavedFile, _file("--benchmark-json", "the head's times, for pytest-benchmark")] = None,
    smaller: Annotated[SavedFile, _file("--smaller-is-better", "for github-action-benchmark: times, counts")] = None,
    bigger: Annotated[SavedFile, _file("--bigger-is-better", "for github-action-benchmark: img/s")] = None,
    annotations: Annotated[bool, switch("--annotations", "GitHub's annotations, on standard output")] = False,
    plugin: Plugin = None,
    format_: Annotated[
        Text, typer.Option("--format", "-f", metavar="NAME", help="table, json, csv, markdown, latex of all findings")
    ] = None,
    output: Output = None,
) -> None:
    """Compare what selection and models cost with before: counted figures exactly, times by pairs in one job.

    Exit codes: 0 nothing got costlier, 1 something did, 2 bad input, 3 could not be compared. What is inconclusive is
    said, and fails only with --strict.
    """
    outputs = Outputs(
        markdown=markdown,
        junit=junit,
        benchmark_json=benchmark_json,
        smaller_is_better=smaller,
        bigger_is_better=bigger,
        annotations=annotations,
        strict=strict,
        style=output_format(format_, output),
        output=output,
        baseline=baseline,
        others=[*(rows or ()), *(pytest_benchmark or ())],
    )
    outputs.check()
    sides = SidesRequest(
        base=base, head=head, base_python=base_python, head_python=head_python, a_a=a_a, plugins=plugin or ()
    )
    sides.check()
    if update and baseline is None:
        raise FgbenchError("--update writes a baseline", do="say which: --baseline FILE")
    if baseline is None and not pytest_benchmark and not sides.any:
        raise FgbenchError(
            "nothing to compare with", do="give --baseline FILE, --base REVISION or --pytest-benchmark OLD NEW"
        )
    if update and (sides.any or pytest_benchmark or junit or annotations or strict):
        raise FgbenchError("--update writes the baseline and judges nothing", do="compare in a run of its own")
    of_baselines = {"--rows": rows, "--convention": convention}
    of_pairs: dict[str, object] = {"--batch-sizes": batches, "--device": device, "--dtype": dtype, "--threads": threads}
    of_pairs |= {"--max-time": max_time}
    of_both: dict[str, object] = {
        "--selectors": selectors,
        "--models": models,
        "--backbones": backbones,
        "--sizes": sizes,
    }
    of_both |= {"--impl": impl, "--num-classes": num_classes, "--plugin": plugin, "--again": again}
    _refuse_idle(of_baselines, "--baseline FILE", there=baseline is not None)
    _refuse_idle(of_pairs, "what is measured: --base, --base-python or --a-a", there=sides.any)
    _refuse_idle(of_both, "--baseline FILE or --base REVISION", there=baseline is not None or sides.any)

    classes = None if num_classes is None else whole_number(num_classes, "number of classes", 200, MAX_CLASSES)
    wanted = names(models, "model")
    named: dict[str, Any] = {"selectors": names(selectors, "selector"), "backbones": names(backbones, "backbone")}
    counted = CountedRequest(
        **named,
        models=wanted,
        baseline=baseline or Path(),
        update=update,
        sizes=image_sizes(sizes, ()) or None,
        impls=choices(impl, "impl", IMPLS, ()) or None,
        convention=None if convention is None else choice(convention, "convention", CONVENTIONS),
        num_classes=classes,
        rows=rows or (),
        plugins=plugin or (),
        again=again,
    )
    pairs = PairsRequest(
        **named,
        models=wanted or PAPER_MODELS,
        image_sizes=image_sizes(sizes, (224,)),
        batch_sizes=batch_sizes(batches) or (1,),
        device=None if device is None else choice(device, "device", DEVICES),
        dtypes=choices(dtype, "dtype", DTYPES, ("float32",)),
        impls=choices(impl, "impl", IMPLS, ("fast",)),
        num_classes=classes or 200,
        threads=None if threads is None else whole_number(threads, "number of threads", 4, MAX_THREADS),
        cap_s=None if max_time is None else duration(max_time, "--max-time"),
        timeout_s=duration(timeout, "--timeout"),
        journal=store,
        again=again or a_a,  # a self-test of old figures would test nothing
    )
    found = compare_all(counted if baseline else None, pytest_benchmark or (), sides, pairs)
    problems = [*found.problems, *outputs.write(found.outcome)]
    for problem in problems:
        complain(problem)
    if update:
        complain(f"{baseline} is written")
    if found.interrupted:
        complain("interrupted; finished pairs are kept, start again for the others")
    if code := _exit_code(found, problems, update=update, strict=strict):
        raise typer.Exit(code)


def _exit_code(found: Comparison, problems: Sequence[FgbenchError], *, update: bool, strict: bool) -> int:
    if found.interrupted:
        return INTERRUPTED
    if found.outcome.verdict == FAIL and not update:
        return CheckFailedError.exit_code
    if problems:
        return max(problem.exit_code for problem in problems)
    return CannotMeasureError.exit_code if found.outcome.verdict == UNDECIDED and strict else DONE


def _refuse_idle(given: Mapping[str, object], needs: str, *, there: object) -> None:
    """An option that does nothing is a mistake: what it asks for would be thought to be compared."""
    idle = [flag for flag, value in given.items() if value]
    if idle and not there:
        raise FgbenchError(f"{idle[0]} does nothing here", do=f"it needs {needs}")
