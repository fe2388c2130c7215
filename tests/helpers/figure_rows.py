"""Rows for tests of figures: a sweep like that of a GPU, counted selections, and the rows in the gallery."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from helpers.throughput_rows import GPU, VIT, row, tried

from fgbench_reports.data import Data
from fgbench_reports.report import Figure

ROWS = Path(__file__).parents[1] / "reports" / "plots" / "rows"
SIZES, BATCHES = (224, 448, 1024), (1, 4, 16, 64, 256)
# Model, selector, implementation, backbone, images per second at 224, GMACs at 224.
MODELS = (
    ("resnet101", None, None, "resnet101", 3500.0, 7.8),
    ("vit", None, None, VIT, 1500.0, 17.6),
    ("transfg", "psm", "fast", VIT, 1200.0, 19.0),
    ("transfg", "psm", "published", VIT, 700.0, 22.0),
    ("ffvt", "maws", "fast", VIT, 1400.0, 18.0),
    ("glsim", "gls", "fast", VIT, 800.0, 34.0),
)
PERCENTS = {  # of ViT-B/16's FLOPs at 224, 448 and 1024
    ("psm", "published"): (5.21, 73.7, 1240.0),
    ("psm", "fast"): (1.74, 6.15, 19.8),
    ("maws", "published"): (0.102, 0.361, 1.16),
    ("maws", "fast"): (0.0199, 0.0176, 0.0109),
    ("rollout", "published"): (0.498, 6.82, 114.0),
    ("rollout", "fast"): (1.91, 6.77, 21.8),
    ("sacm", "published"): (0.0159, 0.0563, 0.181),
    ("sacm", "fast"): (2.05, 7.24, 23.3),
    ("gls", "published"): (0.00342, 0.00306, 0.00189),
    ("gls", "fast"): (0.00172, 0.00153, 0.000945),
}


def sweep(models=MODELS, sizes=SIZES, batches=BATCHES, environment=GPU, **fields: Any) -> list[dict[str, Any]]:
    """A sweep of which some points ran out of memory, one timed out and one is noisy."""
    return [_point(model, size, batch, environment, fields) for model in models for size in sizes for batch in batches]


def _point(model, size, batch, environment, fields) -> dict[str, Any]:
    name, selector, impl, backbone, fastest, gmacs = model
    larger = (size / 224) ** 2.3
    memory = 4e8 + 3e7 * batch * larger * (2.4 if impl == "published" else 1.5 if selector else 1)
    who = {"model": name, "selector": selector, "impl": impl, "backbone": backbone, "size": size, "batch": batch}
    if memory > 40e9:
        status = "oom" if memory < 160e9 else "oom_inferred"
        return tried(status, "CUDA out of memory", **who, environment=environment, **fields)
    if (name, size, batch) == ("glsim", 448, 16):
        return tried("timeout", "no result within 60 s", **who, environment=environment, **fields)
    speed, macs = fastest / larger * batch / (batch + 4), gmacs * 1e9 * larger
    rates = {"matrix_rate_flop_s": 4.2e14, "copy_rate_bytes_s": 3.9e12}
    work = {"macs_per_image": macs, "bytes_per_image": macs / (12 + 6 * batch**0.5)}
    noisy = (
        {"status": "unconverged", "reason": "the interval is wide", "width": 0.05}
        if name == "ffvt" and batch == 64
        else {}
    )
    measured = {
        "img_s": speed,
        "environment": {**environment, **rates, **work},
        "energy_j_per_image": 600 / speed * (0.7 + 0.3 / batch),
        "mfu": 2 * macs * speed / rates["matrix_rate_flop_s"],
        "peak_memory_allocated_bytes": int(memory),
    }
    return row(**{**who, **measured, **noisy, **fields})


def counted(convention: str = "full", backbone: str = VIT, **environment: Any) -> list[dict[str, Any]]:
    """Rows of counted selections."""
    return [
        _count(convention, backbone, selector, impl, size, percent, environment)
        for (selector, impl), percents in PERCENTS.items()
        for size, percent in zip(SIZES, percents, strict=True)
    ]


def _count(convention, backbone, selector, impl, size, percent, environment) -> dict[str, Any]:
    flops = int(percent * 3.5e8)
    return {
        **{"convention": convention, "backbone": backbone, "model": None, "selector": selector, "impl": impl},
        **{"image_size": size, "num_tokens": (size // 16) ** 2 + 1, "macs": flops // 2, "flops": flops},
        **{"percent_of_backbone": percent, "params": None, "environment": environment},
    }


@cache
def kept() -> Data:
    """Rows that were once measured and do not change with the gallery, with the environments of their files."""
    accuracy, selection = (json.loads((ROWS / f"{name}.json").read_text("utf-8")) for name in ("accuracy", "selection"))
    alone = {**selection["environment"], "roof": selection["roof"]}
    return Data(
        flops=_with(accuracy["flops"], {}),
        throughput=_with(accuracy["throughput"], accuracy["environment"]),
        accuracy=_with(accuracy["accuracy"], accuracy["environment"]),
        selection_quality=_with(accuracy["quality"], accuracy["environment"]),
        selection=_with(selection["selections"], alone),
        backend=_with(selection["backends"], alone),
    )


def _with(rows, environment) -> list[dict[str, Any]]:
    return [{**one, "environment": one.get("environment") or environment} for one in rows]


def figures_of(report: Any, data: Data) -> list[Figure]:
    return [item for item in report().items(data) if isinstance(item, Figure)]
