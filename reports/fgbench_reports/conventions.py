"""Sentences on how rows were counted and measured, and on which devices."""

from __future__ import annotations

from collections.abc import Sequence

from fgbench_reports.data import AnyKind, Data, Row, group_by
from fgbench_reports.measured.flops import NOTES
from fgbench_reports.sweep_rows import as_text, environment_notes, first_notes
from fgbench_reports.tables.numbers import how_many

THROUGHPUT = (
    "Latency is the median of blocks of iterations after a warm-up, of one batch from images that are on the device "
    "to logits; ± is half of its 95 % confidence interval. Throughput is the batch size over the latency, and the "
    "batch with the highest one stands for a model and image size.",
    "Allocated memory is the most that tensors held after the warm-up; on a CPU the process's largest resident set "
    "stands in. MFU is two operations per multiply–add over the device's measured rate of large matrix products.",
)
ACCURACY = (
    "Accuracy is that of the last epoch on the test images, never of the epoch that they would choose; ± is the "
    "standard deviation over seeds, with n − 1 in its denominator.",
)


def conventions(data: Data) -> list[str]:
    """The conventions of counting and measuring that the rows follow, a sentence each."""
    names = dict.fromkeys(row.convention for row in data.flops)
    sentences = [f"Convention {name}: {note}" for name in names for note in NOTES.get(name, ())]
    sentences += THROUGHPUT if data.throughput else ()
    sentences += ACCURACY if data.accuracy else ()
    return sentences


def environments(data: Data) -> list[str]:
    """The devices and software that rows were measured with, a sentence each."""
    sentences = [f"Throughput: {note}" for note in environment_notes(data.throughput)]
    named = (("Accuracy", data.accuracy), ("Selections by themselves", data.selection))
    return [*sentences, *(sentence for name, rows in named for sentence in measured_rows(name, rows))]


def measured_rows(what: str, rows: Sequence[AnyKind]) -> list[str]:
    """The number of rows that were measured in each environment, a sentence each.

    Args:
        what: The name of the rows, which begins each sentence.
        rows: Rows of one kind.

    """
    places = group_by(rows, lambda row: _place(row.environment or {}))
    counts = {place: how_many(len(rows_there), "row") for place, rows_there in places.items()}
    return first_notes([f"{what}: {count} measured on {place}." for place, count in counts.items()], "environment")


def _place(environment: Row) -> str:
    device = environment.get("device_name") or environment.get("cpu") or environment.get("device")
    words = [device or "an unknown device"]
    words += [how_many(environment["threads"], "thread")] if environment.get("threads") else []
    words += [f"torch {environment['torch']}"] if environment.get("torch") else []
    words += [f"fgbench {environment['fgbench']}"] if environment.get("fgbench") else []
    words += [f"revision {environment['git_revision']}"] if environment.get("git_revision") else []
    return ", ".join(as_text(word) for word in words)
