"""Rows of throughput for tests of their tables: fixed ones, and random ones."""

from __future__ import annotations

from hypothesis import strategies as st

from fgbench.results.records import STATUSES, ThroughputRow
from fgbench_reports.data import records
from fgbench_reports.tables import render

VIT = "vit_base_patch16_224"
GPU = {
    "device_name": "NVIDIA H200",
    "torch": "2.9.0",
    "cuda": "12.8",
    "driver": "570.86",
    "threads": 16,
    "code": "0f1e2d3c4b5a6978",
    "fgbench": "0.1.0",
    "git_revision": "1a2b3c4d5e6f+",
}
CPU = {
    "device_name": "Intel Xeon 8481C",
    "torch": "2.9.0",
    "cuda": None,
    "threads": 2,
    "missing": {
        "energy_j_per_image": "no energy counter is read on a CPU",
        "peak_memory_allocated_bytes": "torch has no account of a CPU's memory",
    },
}
HOSTILE = "=mine|_a_&[red]<b>*\\x:heart:"


def row(model="glsim", size=224, batch=1, img_s: float | None = 100.0, width=0.002, **fields) -> dict:
    """A point of this throughput, with an interval of this width in both directions."""
    latency = None if img_s is None else batch / img_s
    defaults = {
        "model": model,
        "selector": "gls",
        "impl": "fast",
        "backbone": VIT,
        "image_size": size,
        "batch_size": batch,
        "device": "cuda",
        "dtype": "float32",
        "compiled": False,
        "status": "ok",
        "reason": None,
        "throughput_img_s": img_s,
        "latency_s": latency,
        "latency_ci95_low_s": latency and latency * (1 - width),
        "latency_ci95_high_s": latency and latency * (1 + width),
        "blocks": latency and [latency] * 3,
        "peak_memory_allocated_bytes": None if img_s is None else 400_000_000 + 31_000_000 * batch,
        "peak_memory_reserved_bytes": None,
        "device_memory_bytes": None if img_s is None else 1_234_567_890,
        "energy_j_per_image": None,
        "mfu": None,
        "best": False,
        "environment": GPU,
    }
    return ThroughputRow(**{**defaults, **fields}).as_dict()


def timed(rows) -> list[ThroughputRow]:
    """Rows as records, as functions inside of reports take them."""
    return records(ThroughputRow, rows)


def tried(status, reason, **fields) -> dict:
    return row(img_s=None, status=status, reason=reason, **fields)


H200 = [
    row(batch=1, img_s=84.31, energy_j_per_image=3.21, mfu=0.0312),
    row(batch=16, img_s=1012.2, energy_j_per_image=0.481, mfu=0.374),
    row(batch=64, img_s=1208.9, energy_j_per_image=0.412, mfu=0.447, best=True),
    row(
        batch=256,
        img_s=1199.4,
        width=0.011,
        energy_j_per_image=0.415,
        mfu=0.443,
        status="unconverged",
        reason="after 6 s the interval is ±1.1 %, not ±0.3 %",
    ),
    row(size=1024, batch=1, img_s=21.4, best=True),
    row(size=1024, batch=16, img_s=20.9, status="contended", reason="another process used the GPU"),
    tried("oom", "CUDA out of memory. Tried to allocate 27.00 GiB.", size=1024, batch=64),
    tried("oom_inferred", "batch 64 did not fit", size=1024, batch=256),
    row("transfg", batch=1, img_s=0.512, selector="psm", impl="published", best=True),
    tried("timeout", "no result within 60 s", model="transfg", batch=16, selector="psm", impl="published"),
    row("resnet101", batch=1, img_s=3512.4, selector=None, impl=None, backbone="resnet101", best=True),
    tried(
        "crashed",
        "the worker was killed by signal 11",
        model=HOSTILE,
        batch=2,
        selector=None,
        impl=None,
        backbone="resnet101",
    ),
]
HOST = [
    {**row(batch=batch, img_s=img_s, device="cpu", compiled=True, best=batch == 4), "environment": CPU}
    for batch, img_s in ((1, 4.12), (2, 5.03), (4, 5.61), (8, 5.6))
]
ROWS = H200 + HOST


def in_terminal(tables, notes=()) -> str:
    return render.to_terminal(tables, notes, to_file=True)


positive = st.floats(1e-3, 1e6)
missing_or = st.one_of(st.none(), positive)
sizes, names = (
    st.sampled_from([224, 448, 1024]),
    st.sampled_from(["glsim", "transfg", HOSTILE, "m" * 40, "\n", "日本語"]),
)


@st.composite
def points(draw):
    figures = draw(st.booleans())
    return row(
        draw(st.one_of(names, st.text(max_size=12))),
        size=draw(sizes),
        batch=draw(st.sampled_from([1, 2, 64, 256])),
        img_s=draw(positive) if figures else None,
        width=draw(st.floats(0, 0.9)),
        status=draw(st.sampled_from(STATUSES)),
        reason=draw(st.one_of(st.none(), st.text(max_size=30))),
        selector=draw(st.sampled_from([None, "gls", "psm"])),
        impl=draw(st.sampled_from([None, "published", "fast"])),
        backbone=draw(st.sampled_from([VIT, "resnet101", "vit_small_patch14_reg4_dinov2.lvd142m"])),
        device=draw(st.sampled_from(["cuda", "cpu"])),
        dtype=draw(st.sampled_from(["float32", "bfloat16"])),
        compiled=draw(st.booleans()),
        energy_j_per_image=draw(missing_or),
        mfu=draw(st.one_of(st.none(), st.floats(0, 1.2))),
        best=draw(st.booleans()),
        environment=draw(
            st.sampled_from([GPU, {**GPU, "git_revision": "0"}, CPU, {}, {"torch": "2.8.0", "missing": None}])
        ),
        repeat=draw(st.one_of(st.none(), st.integers(1, 3))),
    )
