"""One typed record per kind of row, frozen, with the unit in every field's name. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cache
from typing import Any, ClassVar

# Version of rows and of the files that hold them by section.
# none: rows of fgbench 0.1 before ``kind`` and ``schema_version``; the kind follows from the fields.
# 1: ``kind`` and ``schema_version`` are the last fields of every row. Files by section had this version before.
SCHEMA_VERSION = 1
UNSAVED = {"saved": False}  # of a field that no row of a store or a file has
UNLISTED = {"saved": False, "listed": False}  # of a field that the mapping view has not either


class Status(str, Enum):
    """How a measured point ended. Equal to its text, which is what files hold."""

    OK = "ok"
    OOM = "oom"  # it does not fit into the memory
    OOM_INFERRED = "oom_inferred"  # a smaller batch does not fit
    UNCONVERGED = "unconverged"  # the time ran out before the interval was narrow enough
    CONTENDED = "contended"  # something else used the device
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    ERROR = "error"

    def __str__(self) -> str:
        return str.__str__(self)

    def __format__(self, spec: str) -> str:
        return str.__format__(self, spec)

    @property
    def is_ok(self) -> bool:
        """Whether the figures are what was asked for."""
        return self is Status.OK

    @property
    def has_figures(self) -> bool:
        """Whether the row of the point has a latency."""
        return self in (Status.OK, Status.UNCONVERGED, Status.CONTENDED)

    @property
    def is_oom(self) -> bool:
        """Whether the point does not fit into the memory, by a try or by a smaller batch that does not fit."""
        return self in (Status.OOM, Status.OOM_INFERRED)


STATUSES = tuple(status.value for status in Status)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record(Mapping[str, Any]):
    """A row of one kind. ``row.latency_s`` is the way to its fields; it is a mapping of them too.

    The mapping (``row["latency_s"]``, ``{**row}``) is for plug-ins. It holds the fields, ``kind``, ``schema_version``,
    and what else a file says of the row.
    """

    kind: ClassVar[str]
    schema_version: ClassVar[int] = SCHEMA_VERSION

    other: Mapping[str, Any] = field(default_factory=dict, metadata=UNLISTED)  # undeclared fields of a file; not saved

    def as_dict(self) -> dict[str, Any]:
        """The row as it leaves the program: its fields in their order, then ``kind`` and ``schema_version``."""
        row = {name: getattr(self, name) for name in saved_fields(type(self))}
        if "status" in row:
            row["status"] = str(row["status"])
        return {**row, "kind": self.kind, "schema_version": self.schema_version}

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name) if name in _listed(type(self)) else self.other[name]

    def __iter__(self) -> Iterator[str]:
        yield from _listed(type(self))
        yield from self.other

    def __len__(self) -> int:
        return len(_listed(type(self))) + len(self.other)

    def __eq__(self, other: object) -> bool:
        if type(other) is type(self):
            return all(getattr(self, each.name) == getattr(other, each.name) for each in fields(self))
        return Mapping.__eq__(self, other)

    __hash__ = None  # type: ignore[assignment]  # fields hold lists and dictionaries


@cache
def saved_fields(record: type[Record]) -> tuple[str, ...]:
    """Names of the fields that rows of stores and files have, in their order."""
    return tuple(each.name for each in fields(record) if each.metadata.get("saved", True))


@cache
def _listed(record: type[Record]) -> dict[str, None]:
    """Keys of the mapping but undeclared ones."""
    names = [each.name for each in fields(record) if each.metadata.get("listed", True)]
    return dict.fromkeys([*names, "kind", "schema_version"])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlopsRow(Record):
    """The work of one backbone, or of one selector beside it, for one image."""

    kind: ClassVar[str] = "flops"

    convention: str  # full, fvcore or paper: the unit of flops and percent_of_backbone
    backbone: str  # timm's name
    model: str | None  # a whole published model; null for a backbone or a selector
    selector: str | None  # null in the backbone's own row
    impl: str | None  # published or fast; null in the backbone's own row
    image_size: int  # pixels, square
    num_tokens: int | None  # N, prefix tokens included; null for a convolutional network
    macs: int  # multiply–adds of matrix products and convolutions, in every convention
    flops: int  # in the convention's own unit
    percent_of_backbone: float  # flops over the backbone's flops, both in the convention's unit
    params: int | None  # trainable and fixed parameters; null for a part of a model, which shares them with others
    part: str | None = None  # a part of a model's forward pass, such as "selector"; null for all of it
    activation_bytes: int | None = field(
        default=None, metadata=UNLISTED
    )  # of all tensors that are made; null for a part
    environment: dict[str, Any] = field(default_factory=dict, metadata=UNSAVED)

    def as_dict(self, *, parts: bool = False) -> dict[str, Any]:
        """The row as ``fgbench flops`` prints and keeps it, in the order above; ``part`` only where it is asked for."""
        row = Record.as_dict(self)
        if not parts:
            del row["part"]
        return row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThroughputRow(Record):
    """One measured point: a model at one image size, batch size and mode on one device. What is missing is null."""

    kind: ClassVar[str] = "throughput"

    model: str
    selector: str | None  # null for a model that selects nothing by a selector
    impl: str | None  # published or fast; null for a model that has one implementation
    backbone: str  # timm's name
    image_size: int  # pixels, square
    batch_size: int  # images
    device: str  # cuda or cpu
    dtype: str  # float32, tf32, float16, bfloat16 or amp
    compiled: bool
    status: Status
    reason: str | None  # why it is not ok, in words
    throughput_img_s: float | None  # batch_size / latency_s
    latency_s: float | None  # of one batch: the median of the blocks
    latency_ci95_low_s: float | None
    latency_ci95_high_s: float | None
    blocks: list[float] | None  # seconds per batch: the median of every block of iterations, raw, in order
    peak_memory_allocated_bytes: int | None  # tensors, after the warm-up; null on a CPU
    peak_memory_reserved_bytes: int | None  # what the allocator held for them; null on a CPU
    device_memory_bytes: int | None  # all that the process holds, context included; on a CPU its peak resident set
    energy_j_per_image: float | None
    mfu: float | None  # achieved over measured rate of matrix products, between 0 and 1
    best: bool  # the highest throughput of its model and size, in its mode
    environment: dict[str, Any]  # what it was measured on and with, and why fields are missing
    repeat: int | None = None  # from 1, where points are measured several times

    def as_dict(self) -> dict[str, Any]:
        """The row with its fields in the order above, ready for JSON; ``repeat`` only where there are several."""
        row = Record.as_dict(self)
        if self.repeat is None:
            del row["repeat"]
        return row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelectionRow(Record):
    """One selection by itself on the features that a backbone hands over, or one pass of the backbone. Missing is null.

    ``published`` starts from ready maps, ``fast`` from queries, keys and their log-sum-exps; making them is not timed.
    """

    kind: ClassVar[str] = "selection"

    selector: str | None  # null for the backbone's forward pass
    impl: str | None  # published or fast; null for the backbone's
    image_size: int  # pixels, square
    num_tokens: int  # N, the class token included
    batch_size: int  # images
    device: str  # cuda or cpu
    dtype: str
    status: Status
    reason: str | None  # why it is not ok, in words
    backends: dict[str, list[str]]  # what was asked for → who computed it
    latency_s: float | None  # of one batch, the median of the blocks
    latency_ci95_low_s: float | None  # null where a single run was taken
    latency_ci95_high_s: float | None
    blocks: list[float]  # seconds
    added_memory_bytes: int | None  # at the peak, beyond the features or the weights and images
    macs: int  # of one batch
    flops: int  # of one batch, convention full
    bytes: int  # that operators move for one batch, each reading its arguments and writing its results once
    environment: dict[str, Any] = field(default_factory=dict, metadata=UNSAVED)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BackendRow(Record):
    """``v A`` by one back end at one size."""

    kind: ClassVar[str] = "backend"

    backend: str
    maps: int  # B·H
    num_tokens: int  # N
    device: str
    dtype: str
    chosen: bool  # whether this back end is the one that is chosen here
    status: Status
    reason: str | None
    latency_s: float | None
    latency_ci95_low_s: float | None
    latency_ci95_high_s: float | None
    blocks: list[float]  # seconds
    environment: dict[str, Any] = field(default_factory=dict, metadata=UNSAVED)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AccuracyRow(Record):
    """One model trained or tested once, or the mean over seeds. What is missing is null."""

    kind: ClassVar[str] = "accuracy"

    model: str
    selector: str | None  # null for a model that selects nothing by a selector
    dataset: str
    image_size: int  # pixels, square
    seed: int | None  # null in a summary over seeds, and where nothing was trained
    lr: float | None  # the highest of the schedule; null where nothing was trained
    epochs: int | None
    top1_percent: float  # of the last epoch; in a summary the mean
    top5_percent: float | None  # null where there are fewer than five classes
    images: int  # that were tested
    seconds: float | None  # training and testing; in a summary the sum
    checkpoint: str | None  # weights of the last epoch
    top1_std_percent: float | None = None  # of a summary: the standard deviation over seeds, n − 1 in its denominator
    top5_std_percent: float | None = None
    best_top1_percent: float | None = None  # of the epoch that the test images themselves chose
    best_epoch: int | None = None  # from 1
    seeds: list[int] | None = None  # of a summary
    backbone: str | None = None  # timm's name
    impl: str | None = None  # published or fast; null for a model that has one implementation
    num_classes: int | None = None
    train_images: int | None = None
    unreadable_images: int = 0  # left out of the test
    unreadable_train_images: int = 0  # replaced by others in training
    test_img_s: float | None = None  # of the test: reading pictures included, so no benchmark of the model
    flip: bool = False  # whether the mirror image was tested too
    recipe: dict[str, Any] | None = None  # of the training
    begun_from: str | None = None  # random, pretrained, or the name of a file; null where nothing was trained
    weights: str | None = None  # of several sets in a tested checkpoint, the key of the one that was read
    environment: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QualityRow(Record):
    """What one selector finds on one trained model, beside what it costs. What is missing is null.

    Figures of parts are means over the images on which a part is visible, null where no boxes are known. All selectors
    of a model crop around their ``top_k`` best patches by one rule.
    """

    kind: ClassVar[str] = "selection_quality"

    model: str
    selector: str  # "own": a map that the model makes by itself; "random", "centre": what needs no model
    dataset: str
    image_size: int  # pixels, square
    seed: int | None  # that the model was trained with
    checkpoint: str | None  # null for a model that was not loaded from a file
    images: int  # that were looked at
    images_without_parts: int | None  # with boxes that are known and of which none is visible; null: none are known
    pointing_percent: float | None  # of images whose best patch has its centre on a part
    heat_in_parts_percent: float | None  # of the heat: the energy-based pointing game
    crop_part_percent: float | None  # of the crop's area that is part
    crop_iou_percent: float | None  # of the crop with the smallest box that encloses the parts
    part_recall_percent: float | None  # of the parts' area that is inside the crop
    insertion_auc: float | None  # 0 to 1, the higher the better
    deletion_auc: float | None  # 0 to 1, the lower the better
    perturbed_images: int  # that the two curves are the mean of
    top_k: int  # patches that are cropped around
    selector_flops: int | None  # of one image, fast implementation, convention full; null where it cannot be counted
    percent_of_backbone: float | None  # selector_flops over those of the plain backbone, patches side by side
    insertion_curve: list[float] | None  # mean probability at equal shares of pixels, from none to all
    deletion_curve: list[float] | None
    trained_with: str | None = None  # the selector that the model itself selects by; null where it has none
    backbone: str | None = None  # timm's name
    begun_from: str | None = None  # of the training, as in AccuracyRow
    epochs: int | None = None  # of the training
    weights: str | None = None  # as in AccuracyRow
    environment: dict[str, Any] = field(default_factory=dict, metadata=UNSAVED)


RECORDS: dict[str, type[Record]] = {
    record.kind: record for record in (FlopsRow, ThroughputRow, AccuracyRow, QualityRow, SelectionRow, BackendRow)
}
