"""From a worker's result to a row, and the best batch among rows. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fgbench.errors import FgbenchError
from fgbench.measure.points import PointGroup, Rates
from fgbench.results.best import FLAGS
from fgbench.results.decoding import RowError, decode
from fgbench.results.records import Status, ThroughputRow, saved_fields
from fgbench.results.store import Store

KIND = ThroughputRow.kind
_FIELDS = saved_fields(ThroughputRow)
MEASURED = _FIELDS[_FIELDS.index("status") : _FIELDS.index("mfu")]  # what a worker answers, as it stands in a row


def make_row(
    group: PointGroup,
    batch_size: int,
    result: Mapping[str, Any],
    facts: Mapping[str, Any],
    rates: Rates,
) -> ThroughputRow:
    """The row of a finished point, with its environment and the device's own rates."""
    case, mode = group.case, group.mode
    flop_s, why = rates.flop_s, rates.why
    missing = dict(result.get("missing", {}))
    mfu = _mfu(result, flop_s)
    if mfu is not None and mfu > 1:
        mfu, why = None, "the matrix products that it would be a share of were disturbed: this model was faster"
    if mfu is None and why and result.get("throughput_img_s"):
        missing.setdefault("mfu", why)
    measured: dict[str, Any] = {name: result.get(name) for name in MEASURED} | {"status": Status(result["status"])}
    environment = {
        **facts,
        **{name: getattr(mode, name) for name in FLAGS},
        "num_classes": case.num_classes,
        "foreign_code": case.foreign_code,
        "matrix_rate_flop_s": flop_s,
        "copy_rate_bytes_s": rates.bytes_s,
        "macs_per_image": result.get("macs_per_image"),
        "bytes_per_image": result.get("bytes_per_image"),
        "missing": missing,
        "seen": result.get("seen", {}),
    }
    return ThroughputRow(
        model=case.model,
        selector=case.selector,
        impl=case.impl,
        backbone=case.backbone,
        image_size=case.image_size,
        batch_size=batch_size,
        device=mode.device,
        dtype=mode.dtype,
        compiled=mode.compiled,
        mfu=mfu,
        best=False,
        environment=environment,
        repeat=group.repeat,
        **measured,
    )


def _mfu(result: Mapping[str, Any], flop_s: float | None) -> float | None:
    macs, speed = result.get("macs_per_image"), result.get("throughput_img_s")
    return 2 * macs * speed / flop_s if flop_s and macs and speed else None


def stored_row(store: Store, key: str) -> ThroughputRow | None:
    """The newest row of a point in a store, or None.

    Raises:
        FgbenchError: Where the store holds something else under this key.

    """
    row = store.get(KIND, key)
    if row is None:
        return None
    try:
        return decode(ThroughputRow, row)
    except RowError as error:
        raise FgbenchError(f"the store holds a point that cannot be read: {error};", do="--again measures it") from None
