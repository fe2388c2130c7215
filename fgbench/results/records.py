"""Results as typed records: one class per kind of row, units in the names of fields. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fgbench.results.predictions import PredictionsRow
from fgbench.results.record_base import (
    ABOUT,
    SCHEMA_VERSION,
    STATUSES,
    UNLISTED,
    UNSAVED,
    Count,
    Figure,
    Positive,
    Record,
    Side,
    Size,
    Status,
    saved_fields,
)

__all__ = [
    "ABOUT",
    "KINDS",
    "RECORDS",
    "SCHEMA_VERSION",
    "STATUSES",
    "AccuracyRow",
    "AuditRow",
    "BackendRow",
    "Count",
    "Figure",
    "FlopsRow",
    "Positive",
    "PredictionsRow",
    "QualityRow",
    "Record",
    "SelectionRow",
    "Side",
    "Size",
    "Status",
    "StudyRow",
    "ThroughputRow",
    "VisualizationRow",
    "saved_fields",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BackendRow(Record):
    """Latency of ``v A`` by one back end at one size. A missing value is null."""

    kind: ClassVar[str] = "backend"
    mark: ClassVar[str] = "maps"
    section: ClassVar[str] = "backends"
    command: ClassVar[str] = "fgbench selection --kernels"
    first_figure: ClassVar[str] = "chosen"

    backend: str
    maps: Count  # B·H
    num_tokens: Count  # N
    device: str  # cuda or cpu
    dtype: str
    chosen: bool  # whether selectors use this back end here
    status: Status
    reason: str | None  # why the status is not ok
    latency_s: Positive | None  # of one product, the median of the blocks
    latency_ci95_low_s: Figure | None
    latency_ci95_high_s: Figure | None
    blocks: list[Figure]  # seconds
    environment: dict[str, Any] = field(default_factory=dict, metadata=UNSAVED)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelectionRow(Record):
    """Cost of one selector by itself on the features of a backbone, or of one pass of the backbone.

    ``published`` starts from attention maps, ``fast`` from queries, keys and their log-sum-exps; the time to make these
    is not included. A missing value is null.
    """

    kind: ClassVar[str] = "selection"
    mark: ClassVar[str] = "bytes"
    section: ClassVar[str] = "selections"
    command: ClassVar[str] = "fgbench selection"
    first_figure: ClassVar[str] = "status"

    selector: str | None  # null for the forward pass of the backbone
    impl: str | None  # published or fast; null for the forward pass of the backbone
    image_size: Side  # pixels, square
    num_tokens: Count  # N, the class token included
    batch_size: Side  # images
    device: str  # cuda or cpu
    dtype: str
    status: Status
    reason: str | None  # why the status is not ok
    backends: dict[str, list[str]]  # operation that was asked for → back ends that computed it
    latency_s: Positive | None  # of one batch, the median of the blocks
    latency_ci95_low_s: Figure | None  # null where the batch ran once
    latency_ci95_high_s: Figure | None
    blocks: list[Figure]  # seconds
    added_memory_bytes: Count | None  # at the peak, beyond the features, or beyond the weights and images
    macs: Count  # of one batch
    flops: Count  # of one batch, convention full
    bytes: Count  # memory traffic of one batch: every operator reads its arguments and writes its results once
    environment: dict[str, Any] = field(default_factory=dict, metadata=UNSAVED)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlopsRow(Record):
    """Work of a backbone, of a selector beside it, or of a published model, for one image."""

    kind: ClassVar[str] = "flops"
    mark: ClassVar[str] = "convention"
    section: ClassVar[str] = "flops"
    command: ClassVar[str] = "fgbench flops --convention full paper"
    first_figure: ClassVar[str] = "num_tokens"
    earlier_names: ClassVar[Mapping[str, str]] = {"part": "stage"}

    convention: str  # full, fvcore or paper: the unit of flops and percent_of_backbone
    backbone: str  # timm's name
    model: str | None  # a published model; null for a backbone or a selector
    selector: str | None  # null in the row of a backbone
    impl: str | None  # published or fast; null in the row of a backbone
    image_size: Size  # pixels: the side of squares, "224x448" for a height and a width
    num_tokens: Count | None  # N, prefix tokens included; null for a convolutional network
    macs: Count  # multiply–adds of matrix products and convolutions, in every convention
    flops: Count  # in the convention's own unit
    percent_of_backbone: Figure  # flops of the row over flops of the backbone, both in the convention's unit
    params: Count | None  # trainable and fixed parameters; null for a stage of a model
    stage: str | None = None  # of a model's forward pass, such as "selector"; null for the whole pass
    activation_bytes: Count | None = field(default=None, metadata=UNLISTED)  # of all tensors that operators make
    environment: dict[str, Any] = field(default_factory=dict, metadata=UNSAVED)

    def as_dict(self, *, parts: bool = False) -> dict[str, Any]:
        """The row as ``fgbench flops`` prints it.

        Args:
            parts: Whether ``stage`` is included, under its earlier name ``part`` too.

        Returns:
            The saved fields in the order of their declaration, then ``kind`` and ``schema_version``.

        """
        row = Record.as_dict(self)
        if not parts:
            del row["part"], row["stage"]
        return row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QualityRow(Record):
    """How well one selector finds the parts of objects on one trained model, and its work.

    Figures of parts are means over the images with a visible part, null where a data set has no boxes of parts. All
    selectors of a model crop around their ``top_k`` best patches by the same rule. A missing value is null.
    """

    kind: ClassVar[str] = "selection_quality"
    mark: ClassVar[str] = "perturbed_images"
    section: ClassVar[str] = "quality"
    command: ClassVar[str] = "fgbench accuracy --quality"
    first_figure: ClassVar[str] = "checkpoint"

    model: str
    selector: str  # "own": a map of the model itself; "random", "centre": no model is needed
    dataset: str
    image_size: Side  # pixels, square
    seed: int | None  # of the training
    checkpoint: str | None  # null for a model that was not loaded from a file
    images: Count  # that selectors were judged on
    images_without_parts: Count | None  # images with boxes of which none is visible; null: the data set has no boxes
    pointing_percent: Figure | None  # of images whose best patch has its centre on a part
    heat_in_parts_percent: Figure | None  # share of the heat inside parts: the energy-based pointing game
    crop_part_percent: Figure | None  # of the crop's area that is part
    crop_iou_percent: Figure | None  # of the crop with the smallest box that encloses the parts
    part_recall_percent: Figure | None  # of the parts' area that is inside the crop
    insertion_auc: Figure | None  # 0 to 1, the higher the better
    deletion_auc: Figure | None  # 0 to 1, the lower the better
    perturbed_images: Count  # that the insertion and deletion curves are the mean of
    top_k: Count  # patches that are cropped around
    selector_flops: Count | None  # of one image, impl fast, convention full; null where they cannot be counted
    percent_of_backbone: Figure | None  # selector_flops over the flops of the backbone with patches side by side
    insertion_curve: list[Figure] | None  # mean probability at equal shares of pixels, from none to all
    deletion_curve: list[Figure] | None
    trained_with: str | None = None  # the model's own selector; null for a model without one
    backbone: str | None = None  # timm's name
    begun_from: str | None = None  # of the training, as in AccuracyRow
    epochs: Count | None = None  # of the training
    weights: str | None = None  # as in AccuracyRow
    environment: dict[str, Any] = field(default_factory=dict, metadata=UNSAVED)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThroughputRow(Record):
    """One measured point: a model at one image size, batch size and mode on one device. A missing value is null."""

    kind: ClassVar[str] = "throughput"
    mark: ClassVar[str] = "batch_size"
    section: ClassVar[str] = "throughput"
    command: ClassVar[str] = "fgbench throughput"
    first_figure: ClassVar[str] = "status"

    model: str
    selector: str | None  # null for a model without a selector
    impl: str | None  # published or fast; null for a model with one implementation
    backbone: str  # timm's name
    image_size: Size  # pixels: the side of squares, "224x448" for a height and a width
    batch_size: Side  # images
    device: str  # cuda or cpu
    dtype: str  # float32, tf32, float16, bfloat16, amp or int8
    compiled: bool
    status: Status
    reason: str | None  # why the status is not ok
    throughput_img_s: Positive | None  # batch_size / latency_s; under load, of all finished requests
    latency_s: Positive | None  # of one batch, the median of the blocks
    latency_ci95_low_s: Figure | None
    latency_ci95_high_s: Figure | None
    blocks: list[Figure] | None  # seconds per batch: the median of every block of iterations, in order
    peak_memory_allocated_bytes: Count | None  # of tensors, after the warm-up; null on a CPU
    peak_memory_reserved_bytes: Count | None  # by the allocator; null on a CPU
    device_memory_bytes: Count | None  # of the whole process, context included; on a CPU its peak resident set
    energy_j_per_image: Figure | None
    mfu: Figure | None  # achieved over measured rate of matrix products, between 0 and 1
    best: bool  # the highest throughput of its model and size, in its mode
    environment: dict[str, Any]  # hardware, software and settings; "missing" says why fields are null
    repeat: Count | None = None  # from 1, where points are measured several times
    engine: str = "torch"  # that ran it, as users type it
    latency_p50_s: Positive | None = None  # of single iterations or requests; null where there are too few of them
    latency_p95_s: Positive | None = None
    latency_p99_s: Positive | None = None
    part: str | None = None  # of the forward pass, such as "selector", or of the way to it; null for all of it
    agreement: dict[str, Any] | None = None  # of its outputs with those of torch in float32
    added_memory_bytes: Count | None = None  # of a part at its peak, beyond what is held when it begins

    @property
    def is_training(self) -> bool:
        """Whether it is a training step: forward, backward, optimizer step."""
        return bool(self.environment and self.environment.get("training"))

    def as_dict(self) -> dict[str, Any]:
        """The row as it leaves the program; ``repeat`` only where points are measured several times."""
        row = Record.as_dict(self)
        if self.repeat is None:
            del row["repeat"]
        return row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AccuracyRow(Record):
    """Accuracy of a model that was trained or tested once, or the mean over seeds. A missing value is null."""

    kind: ClassVar[str] = "accuracy"
    mark: ClassVar[str] = "top1_percent"
    section: ClassVar[str] = "accuracy"
    command: ClassVar[str] = "fgbench accuracy"
    first_figure: ClassVar[str] = "top1_percent"

    model: str
    selector: str | None  # null for a model without a selector
    dataset: str
    image_size: Side  # pixels, square
    seed: int | None  # null in a mean over seeds, and where nothing was trained
    lr: Figure | None  # the highest of the schedule; null where nothing was trained
    epochs: Count | None
    top1_percent: Figure  # of the last epoch; in a mean over seeds the mean
    top5_percent: Figure | None  # null where there are fewer than five classes
    images: Count  # of the test
    seconds: Figure | None  # of training and testing; in a mean over seeds the sum
    checkpoint: str | None  # weights of the last epoch
    top1_std_percent: Figure | None = None  # over seeds, n − 1 in its denominator
    top5_std_percent: Figure | None = None
    best_top1_percent: Figure | None = None  # of the epoch with the highest accuracy on the test images
    best_epoch: Count | None = None  # from 1
    seeds: list[int] | None = None  # of a mean over seeds
    backbone: str | None = None  # timm's name
    impl: str | None = None  # published or fast; null for a model with one implementation
    num_classes: Count | None = None
    train_images: Count | None = None
    unreadable_images: Count = 0  # left out of the test
    unreadable_train_images: Count = 0  # replaced by others in training
    test_img_s: Figure | None = None  # of the test, reading of files included
    flip: bool = False  # whether the mirror image was tested too
    recipe: dict[str, Any] | None = None  # of the training
    begun_from: str | None = None  # random, pretrained, shipped, or the name of a file; null where nothing was trained
    weights: str | None = None  # the key of the set that was read, of a checkpoint with several sets
    run: str | None = None  # key of the run in the store; null in a mean over seeds
    top1_ci95_low_percent: Figure | None = None  # Wilson's, of a single run on these images; null in a mean over seeds
    top1_ci95_high_percent: Figure | None = None
    environment: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyRow(Record):
    """A run as part of a study; its accuracy is in the row of ``accuracy`` whose ``run`` is the same."""

    kind: ClassVar[str] = "study"
    mark: ClassVar[str] = "condition"
    section: ClassVar[str] = "studies"
    command: ClassVar[str] = "fgbench study"
    first_figure: ClassVar[str] = "flops"

    study: str  # table5, equal-cost, the name of a file, …
    title: str
    series: str  # digest of what all runs of one table share: recipe, sizes, backbones, start, images
    dataset: str
    condition: str  # a line of the study's table
    position: Count  # of the condition in the study, from 0
    against: str | None  # the condition that it is compared with
    model: str
    image_size: Side  # pixels, square
    seed: int
    run: str  # key of the run in the store
    macs: Count | None  # of one image
    flops: Count | None  # of one image, in convention full
    params: Count | None
    tried: list[dict[str, Any]] | None = None  # learning rates that were searched: lr, validation_top1_percent
    environment: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VisualizationRow(Record):
    """Scores and boxes of one selector on one picture, by one model. Reports do not read them.

    Boxes are [y0, x0, y1, x1] in pixels of the upright picture, ``boxes`` in pixels of the file as stored. The fields
    from ``grid`` to ``boxes_are`` are null for a selector without a result.
    """

    kind: ClassVar[str] = "visualization"

    image: str  # path of the picture
    height: Side  # pixels of the upright picture
    width: Side
    orientation: int  # of EXIF, 1 to 8
    model: str
    backbone: str  # timm's name
    weights: str  # where they come from
    selector: str  # "own": a map of the model itself
    impl: str  # published or fast
    image_size: Side  # of the network's input, pixels, square
    view: str  # how the picture is fitted into the input
    top_k: Count | None  # patches that are cropped around; null for the model's own map
    rule: str | None  # released or enclosing: how the crop follows from the patches
    seen_box: list[float]  # of the picture, as far as the network reads it
    grid: list[int] | None  # rows and columns of patches
    scores: list[list[float]] | None  # per patch, the higher the more discriminative
    equal: bool | None  # whether all scores are equal
    best_patch: list[int] | None  # row and column
    best_box: list[float] | None
    boxes: list[list[float]] | None
    upright_boxes: list[list[float]] | None
    boxes_are: str | None  # crops or patches
    prediction: dict[str, Any] | None  # {"class": index, "probability": 0 to 1}; null where the head is random
    reason: str | None  # why there is no result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuditRow(Record):
    """Whether a model keeps one promise, such as the same answer alone and in a batch. Reports do not read them."""

    kind: ClassVar[str] = "audit"

    model: str
    backbone: str  # timm's name
    selector: str | None  # null for a model without a selector
    impl: str | None  # published or fast; null for a model with one implementation
    image_size: Side  # pixels, square
    question: str  # repeat, batch, order, process, impl or half
    kept: bool | None  # null where it could not be asked
    reason: str | None  # why it is not kept, or could not be asked
    pictures: Count | None
    largest_logit_difference: Figure | None
    relative_logit_difference: Figure | None  # over the largest logit
    equal_top1_percent: Figure | None
    equal_selected_percent: Figure | None  # tokens that both select; null where none are selected
    equal_boxes_percent: Figure | None
    weights: str  # where they come from
    options: dict[str, Any]  # of the model


# In the order in which the kind of a row without ``kind`` is looked for.
_ROWS = (BackendRow, SelectionRow, FlopsRow, QualityRow, ThroughputRow, AccuracyRow, StudyRow, PredictionsRow)
RECORDS: dict[str, type[Record]] = {record.kind: record for record in _ROWS}
# In the order in which kinds are listed and exported.
_LISTED = (FlopsRow, ThroughputRow, AccuracyRow, QualityRow, SelectionRow, BackendRow, StudyRow, PredictionsRow)
KINDS = tuple(record.kind for record in _LISTED)
