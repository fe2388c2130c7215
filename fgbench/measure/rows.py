"""Make the row of a measured point, with its environment, and the fields of a row without figures. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fgbench.measure.points import PointGroup, Rates
from fgbench.results.environment import code_digest, processor, software
from fgbench.results.records import Status, ThroughputRow, saved_fields
from fgbench.results.rows import FLAGS, PERCENTS, percentile_field

_FIELDS = saved_fields(ThroughputRow)
PERCENTILES = tuple(map(percentile_field, PERCENTS))
# As a worker answers it.
MEASURED = (*_FIELDS[_FIELDS.index("status") : _FIELDS.index("mfu")], *PERCENTILES, "agreement")
_TIMES = ("latency_s", "latency_ci95_low_s", "latency_ci95_high_s")
TIMED_FIELDS = ("status", "reason", *_TIMES, "blocks")  # of everything that is timed
NO_FACTS = ("device", "uuid", "threads", "modes", "refused")  # of a description, that rows have no field for


def environment_facts(described: Mapping[str, Any]) -> dict[str, Any]:
    """The environment of rows: an engine on its device, and this host with its software.

    Args:
        described: As :func:`fgbench.measure.engine_registry.describe_engine` returns it.

    """
    host = processor()
    facts = {name: value for name, value in described.items() if name not in NO_FACTS}
    facts["device_name"] = facts["device_name"] or host["cpu"]
    facts["driver"] = (facts.get("nvml") or {}).get("driver_version")
    return {**facts, **software(), **host, "code": code_digest()}


def no_figures(status: Status, reason: str) -> dict[str, Any]:
    """The fields :data:`TIMED_FIELDS` of a row without figures."""
    return {"status": status, "reason": reason, **dict.fromkeys(_TIMES), "blocks": []}


def make_row(
    group: PointGroup,
    batch_size: int,
    result: Mapping[str, Any],
    facts: Mapping[str, Any],
    rates: Rates,
) -> ThroughputRow:
    """Make the row of a finished point.

    Args:
        group: What was measured, and how.
        batch_size: Images.
        result: The answer of :meth:`fgbench.measure.point.LoadedSubject.measure`, or a status and a reason alone.
        facts: The environment.
        rates: The device's rates, by which MFU is known.

    Returns:
        The row, which is not marked as the best yet.

    """
    case, mode = group.case, group.mode
    flop_s, why = rates.flop_s, rates.why
    missing = dict(result.get("missing", {}))
    under_load = bool(mode.concurrency or mode.rate_per_s)  # other threads compute, or wait, than the rate was taken by
    mfu = None if under_load else _mfu(result, flop_s)
    if under_load:
        missing.setdefault("mfu", "the device's rate is that of one batch after the other")
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
        **({"flops_per_image": result["flops_per_image"]} if "flops_per_image" in result else {}),
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
        engine=mode.engine,
        **measured,
    )


def _mfu(result: Mapping[str, Any], flop_s: float | None) -> float | None:
    macs, speed = result.get("macs_per_image"), result.get("throughput_img_s")
    return 2 * macs * speed / flop_s if flop_s and macs and speed else None
