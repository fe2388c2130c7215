"""``fgbench choose``: which measured configurations keep some limits, and which of them no other is better than."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fgbench.cli.arguments import (
    batch_sizes,
    image_sizes,
    names,
    output_format,
)
from fgbench.cli.errors import complain
from fgbench.cli.typed import Format, Many, Output, SavedRows, SavedStore, Text, option
from fgbench.errors import CheckFailedError, FgbenchError
from fgbench.quantities import (
    ENERGY,
    LATENCY,
    MONEY,
    PERCENT,
    RATE,
    Quantity,
    memory_size,
    quantity,
)
from fgbench.results.output import check_output, emit_as

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fgbench_reports.choose.choice import Choice
    from fgbench_reports.choose.configurations import Configuration
    from fgbench_reports.choose.limits import Limits
    from fgbench_reports.data import Data


def choose(
    min_accuracy: Annotated[Text, option("--min-accuracy", "top-1, as 90", "PERCENT")] = None,
    max_latency: Annotated[Text, option("--max-latency", "of one batch, as 20ms", "TIME")] = None,
    max_memory: Annotated[
        Text, option("--max-memory", "as 8GB; on a GPU what tensors hold, on a CPU the resident set", "SIZE")
    ] = None,
    max_energy: Annotated[Text, option("--max-energy", "of one image, as 0.5J", "ENERGY")] = None,
    min_throughput: Annotated[Text, option("--min-throughput", "images per second", "RATE")] = None,
    max_cost: Annotated[Text, option("--max-cost", "of a million images, in the price's currency", "AMOUNT")] = None,
    gpu_hour_price: Annotated[
        Text, option("--gpu-hour-price", "of one device; cost stands in place of hours", "AMOUNT")
    ] = None,
    gpu: Annotated[Text, option("--gpu", "only devices with this in their name", "NAME")] = None,
    dtype: Annotated[Many, option("--dtype", "only these")] = None,
    models: Annotated[Many, option("--models", "only these")] = None,
    sizes: Annotated[Many, option("--sizes", "only these image sides", "PIXELS…")] = None,
    batches: Annotated[Many, option("--batch-sizes", "only these", "N…")] = None,
    dataset: Annotated[
        Text, option("--dataset", "whose accuracies count  [default: the one that was tested here, or cub]", "NAME")
    ] = None,
    rows: SavedRows = None,
    store: SavedStore = None,
    format_: Format = None,
    output: Output = None,
) -> None:
    """Choose among what was measured: the configurations within the limits that no other one is better than.

    Without a limit, the best of everything. The cheapest stand first; below stands what rules the others out. A limit
    is judged by the end of the interval that hurts: what is too uncertain to tell stands by itself.
    """
    style = output_format(format_, output)
    wanted = {
        "min_accuracy_percent": _percentage(min_accuracy, "--min-accuracy"),
        "max_latency_s": _amount(max_latency, "--max-latency", LATENCY),
        "max_memory_bytes": None if max_memory is None else memory_size(max_memory, "--max-memory"),
        "max_energy_j": _amount(max_energy, "--max-energy", ENERGY),
        "min_throughput_img_s": _amount(min_throughput, "--min-throughput", RATE),
        "max_cost": _amount(max_cost, "--max-cost", MONEY),
        "gpu": gpu,
        "dtypes": names(dtype, "dtype") or (),
        "models": names(models, "model") or (),
        "image_sizes": image_sizes(sizes, ()),
        "batch_sizes": batch_sizes(batches) or (),
    }
    price = _amount(gpu_hour_price, "--gpu-hour-price", MONEY)
    check_output(output)

    from fgbench.cli.saved import read_data
    from fgbench_reports.choose.choice import nearest_misses
    from fgbench_reports.choose.limits import Limits
    from fgbench_reports.tables.numbers import how_many

    data = replace(read_data(store, [Path(name) for name in rows or ()], complain), gpu_hour_price=price)
    choice = _chosen(data, Limits(**wanted), dataset, store)  # type: ignore[arg-type]
    emit_as(style, _as_text(choice, style, to_file=output is not None), output)
    if not choice.chosen:
        shown = "the nearest misses are shown" if nearest_misses(choice) else "the table says what rules them out"
        shown = "their columns 'ruled_out_by' say why" if style in ("json", "csv") else shown
        none = f"none of {how_many(len(choice.verdicts), 'configuration')} keeps the limits"
        if choice.uncertain:
            none += f" for certain, {len(choice.uncertain)} may keep them and may not"
            shown = shown if style in ("json", "csv") else "the table says why"
        raise CheckFailedError(f"{none}; {shown}")


def _amount(text: str | None, what: str, kind: Quantity) -> float | None:
    return None if text is None else quantity(text, what, kind)


def _percentage(text: str | None, what: str) -> float | None:
    """A percentage; a share of one in its place is refused."""
    value = _amount(text, what, PERCENT)
    if value is not None and value <= 1:
        raise FgbenchError(f"{what} is no share of 1, got", text, f"in percent: {100 * value:g}")
    return value


def _chosen(data: Data, limits: Limits, dataset: str | None, store: Path | None) -> Choice:
    from fgbench.cli.saved import default_store
    from fgbench_reports.choose.choice import choose as chosen
    from fgbench_reports.choose.choice import dataset_for
    from fgbench_reports.choose.configurations import configurations

    try:
        name = dataset_for(data, dataset)
        points = configurations(data, dataset=name, best_only=False)
        if not points:
            places = ", ".join(data.sources) or str(store or default_store())
            raise FgbenchError(
                "there is no measured throughput in", places, "'fgbench throughput' measures models on this device"
            )
        _refuse_what_nothing_is(limits, points)
        return chosen(points, limits, dataset=name, gpu_hour_price=data.gpu_hour_price)
    except ValueError as error:
        raise FgbenchError(str(error)) from error


def _refuse_what_nothing_is(limits: Limits, points: Sequence[Configuration]) -> None:
    """Refuse names and sizes that no measured configuration has: they are typos, or still to be measured."""
    from fgbench_reports.choose.limits import device_name

    devices = sorted({device_name(point) for point in points})
    if limits.gpu is not None and not any(limits.gpu.casefold() in name.casefold() for name in devices):
        raise FgbenchError("nothing was measured on a device called", limits.gpu, f"there are: {', '.join(devices)}")
    asked = (
        ("dtype", "dtype", limits.dtypes),
        ("model", "model", limits.models),
        ("image size", "image_size", limits.image_sizes),
        ("batch size", "batch_size", limits.batch_sizes),
    )
    for what, field, values in asked:
        known = sorted({point.row[field] for point in points})
        for value in values:
            if value not in known:
                listed = ", ".join(map(str, known))
                raise FgbenchError(f"nothing was measured with {what}", value, f"there are: {listed}")


def _as_text(choice: Choice, style: str, *, to_file: bool) -> str:
    from fgbench_reports.choose.choice_table import NAMES, choice_frames, choice_notes, choice_rows, choice_tables
    from fgbench_reports.tables import render

    if style in ("json", "csv"):
        rows = choice_rows(choice)
        return render.to_json(rows) if style == "json" else render.to_csv(rows)
    if style in ("markdown", "latex"):
        write = render.to_markdown if style == "markdown" else render.to_latex
        frames = choice_frames(choice)
        notes = [choice_notes(choice) if frame is frames[-1] else [] for frame in frames]
        return "\n".join(write(frame, NAMES, said) for frame, said in zip(frames, notes, strict=True))
    return render.to_terminal(choice_tables(choice), choice_notes(choice), to_file=to_file)
