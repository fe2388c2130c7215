"""``fgbench choose``: the measured configurations that keep limits, and that no other one is better than."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

from fgbench.cli.errors import complain
from fgbench.cli.options import OutputOptions, SavedRowsOptions
from fgbench.errors import CheckFailedError, FgbenchError
from fgbench.options import BATCH_SIZES, ENGINES, MODELS, SHAPES, many, names_of, one
from fgbench.quantities import ENERGY, LATENCY, MONEY, PERCENT, RATE, Quantity, hour_prices, memory_size, quantity
from fgbench.results.image_size import ImageSize
from fgbench.results.output import emit_as

if TYPE_CHECKING:
    from fgbench_reports.choose.choice import Choice
    from fgbench_reports.choose.limits import Limits

LIMITS, AMONG = "Limits", "Configurations"
PERCENTILES = ("50", "95", "99")  # that rows of throughput have


def _percentage(text: str) -> float:
    """A percentage; a share of one in its place is refused."""
    value = quantity(text, "--min-accuracy", PERCENT)
    if value <= 1:
        raise FgbenchError("--min-accuracy is no share of 1, got", text, f"in percent: {100 * value:g}")
    return value


def _percentile(text: str) -> int:
    """50, 95 or 99."""
    if text.strip().lower().removeprefix("p") not in PERCENTILES:
        raise FgbenchError("--percentile must be 50, 95 or 99, got", text, "rows have no others")
    return int(text.strip().lower().removeprefix("p"))


def _amount(flag: str, kind: Quantity) -> partial[float]:
    return partial(quantity, what=flag, kind=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseRequest:
    """Limits, and the configurations to choose among; the fields of limits are those of ``Limits``."""

    min_accuracy_percent: Annotated[
        float | None, one("--min-accuracy", "top-1, as 90", "PERCENT", read=_percentage), LIMITS
    ] = None
    max_latency_s: Annotated[
        float | None,
        one("--max-latency", "of one batch, as 20ms", "TIME", read=_amount("--max-latency", LATENCY)),
        LIMITS,
    ] = None
    percentile: Annotated[
        int | None,
        one(
            "--percentile",
            "50, 95 or 99: of the latency that --max-latency bounds, in place of the median",
            "N",
            read=_percentile,
        ),
        LIMITS,
    ] = None
    max_memory_bytes: Annotated[
        int | None,
        one(
            "--max-memory",
            "as 8GB; on a GPU what tensors hold, on a CPU the resident set",
            "SIZE",
            read=partial(memory_size, what="--max-memory"),
        ),
        LIMITS,
    ] = None
    max_energy_j: Annotated[
        float | None,
        one("--max-energy", "of one image, as 0.5J", "ENERGY", read=_amount("--max-energy", ENERGY)),
        LIMITS,
    ] = None
    min_throughput_img_s: Annotated[
        float | None,
        one("--min-throughput", "images per second", "RATE", read=_amount("--min-throughput", RATE)),
        LIMITS,
    ] = None
    max_cost: Annotated[
        float | None,
        one(
            "--max-cost",
            "of a million images, in the price's currency",
            "AMOUNT",
            read=_amount("--max-cost", MONEY),
        ),
        LIMITS,
    ] = None
    gpu_hour_price: Annotated[
        float | Mapping[str, float] | None,
        one(
            "--gpu-hour-price",
            "of one device, or H100=3.90,A100=1.80; cost stands in place of hours",
            "AMOUNT",
            read=partial(hour_prices, what="--gpu-hour-price"),
        ),
        LIMITS,
    ] = None
    gpu: Annotated[str | None, one("--gpu", "only devices with this in their name"), AMONG] = None
    dtypes: Annotated[Sequence[str], many("--dtype", "only these", read=names_of("dtype")), AMONG] = ()
    engines: Annotated[Sequence[str], ENGINES.but(help="only these", default=None), AMONG] = ()
    models: Annotated[Sequence[str], MODELS.but(help="only these"), AMONG] = ()
    image_sizes: Annotated[Sequence[ImageSize], SHAPES.but(help="only these image sides"), AMONG] = ()
    batch_sizes: Annotated[Sequence[int], BATCH_SIZES.but(help="only these"), AMONG] = ()
    dataset: Annotated[
        str | None,
        one("--dataset", "whose accuracies count", default="the one that was tested here, or cub"),
        AMONG,
    ] = None

    def limits(self) -> Limits:
        """The limits."""
        from fgbench_reports.choose.limits import Limits

        return Limits(**{field.name: getattr(self, field.name) for field in fields(Limits)})


def choose(request: ChooseRequest, saved: SavedRowsOptions, output: OutputOptions) -> None:
    """Choose among what was measured: the configurations within the limits that no other one is better than.

    Without a limit, the best of everything. The cheapest stand first; below stands what rules the others out. A limit
    is judged by the end of the interval that hurts: what is too uncertain to tell stands by itself.
    """
    from fgbench.cli.saved import default_store, read_data
    from fgbench_reports.choose.choice import choose_from
    from fgbench_reports.choose.choice_table import choice_text

    notices: list[FgbenchError] = []
    data = read_data(saved.store, saved.files, notices.append)
    for notice in notices if data.throughput else ():  # without any, the error below says so
        complain(notice)
    sources = data.sources or (str(saved.store or default_store()),)
    data = replace(data, gpu_hour_price=request.gpu_hour_price, sources=sources)
    try:
        choice = choose_from(data, request.limits(), request.dataset)
    except ValueError as error:
        raise FgbenchError(str(error)) from error
    emit_as(output.style, choice_text(choice, output.style, to_file=output.to_file), output.output)
    if not choice.chosen:
        raise CheckFailedError(_nothing_chosen(choice, output.style))


def _nothing_chosen(choice: Choice, style: str) -> str:
    """Why nothing was chosen, and where the reasons stand."""
    from fgbench_reports.choose.choice import nearest_misses
    from fgbench_reports.tables.numbers import how_many

    none = f"none of {how_many(len(choice.verdicts), 'configuration')} keeps the limits"
    if choice.uncertain:
        none += f" for certain, {len(choice.uncertain)} may keep them and may not"
    if style in ("json", "csv"):
        return f"{none}; their columns 'ruled_out_by' say why"
    if choice.uncertain:
        return f"{none}; the table says why"
    shown = "the nearest misses are shown" if nearest_misses(choice) else "the table says what rules them out"
    return f"{none}; {shown}"
