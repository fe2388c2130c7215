"""Agreement of the outputs of engines and precisions with those of torch in float32: columns and notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fgbench.results.records import ThroughputRow
from fgbench_reports.sweep_rows import first_notes, one_line
from fgbench_reports.tables.column import Column
from fgbench_reports.tables.numbers import how_many


def _of(field: str) -> Callable[[ThroughputRow], float | None]:
    def value(row: ThroughputRow) -> float | None:
        figure = (row.agreement or {}).get(field)
        is_number = isinstance(figure, (int, float)) and not isinstance(figure, bool)
        return float(figure) if is_number and figure == figure else None  # type: ignore[arg-type]

    return value


def share(percent: float) -> str:
    """A share of equal outputs; only all of them are 100."""
    text = f"{percent:.4g}"
    return "<100" if text == "100" and percent < 100 else text


def difference(value: float) -> str:
    """A difference of logits, in two digits."""
    return f"{value:.1e}" if value else "0"


TOP1, SELECTED, BOXES, LOGITS = "top-1 = %", "selected = %", "boxes = %", "Δ logits"
AGREEMENT = (
    Column(TOP1, _of("equal_top1_percent"), share, unit="%", better="high", note="top-1 =: pictures of the same class"),
    Column(
        SELECTED,
        _of("equal_selected_percent"),
        share,
        unit="%",
        better="high",
        note="selected =: selected patches that are the same",
    ),
    Column(
        BOXES,
        _of("equal_boxes_percent"),
        share,
        unit="%",
        better="high",
        note="boxes =: boxes of crops that are the same",
    ),
    Column(
        LOGITS,
        _of("largest_logit_difference"),
        difference,
        better="low",
        note="Δ logits: the largest difference of two logits",
    ),
)


def agreement_columns(rows: Sequence[ThroughputRow]) -> list[Column]:
    """The columns that some row fills."""
    return [column for column in AGREEMENT if any(column.of(row) is not None for row in rows)]


def agreement_notes(rows: Sequence[ThroughputRow]) -> list[str]:
    """What is compared with what, over how many pictures, and how int8 was calibrated; nothing without agreement."""
    compared = [row for row in rows if row.agreement]
    if not compared:
        return []
    counts = dict.fromkeys((row.agreement or {}).get("pictures") for row in compared)
    numbers = [count for count in counts if isinstance(count, int)]
    pictures = f" on {how_many(max(numbers), 'picture')}" if len(numbers) == 1 else ""
    pictures = f" on {min(numbers)} to {max(numbers)} pictures" if len(numbers) > 1 else pictures
    notes = [f"Outputs are compared with those of eager torch in float32{pictures}; – in its own row."]
    told = dict.fromkeys(one_line(said) for row in compared if (said := (row.agreement or {}).get("calibration")))
    return [*notes, *first_notes([f"int8 was calibrated with {said}." for said in told], "calibration")]
