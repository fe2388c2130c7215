"""Choices among artificial configurations: a fixed grid, and random ones."""

from __future__ import annotations

from helpers.throughput_rows import GPU, row
from hypothesis import strategies as st

from fgbench_reports.choose.choice import choose
from fgbench_reports.choose.configurations import configurations
from fgbench_reports.choose.limits import Limits
from fgbench_reports.data import Data


def chosen(rows, limits: Limits | None = None, *, runs=(), price=None, dataset="cub"):
    points = configurations(Data(throughput=rows, accuracy=runs), dataset=dataset, best_only=False)
    return choose(points, limits or Limits(), dataset=dataset, gpu_hour_price=price)


GRID = [
    row(model, size=size, batch=batch, img_s=speed * rate, selector=selector, impl=selector and "fast")
    for model, selector, speed in (("vit", None, 1000.0), ("glsim", "gls", 800.0), ("ffvt", "maws", 900.0))
    for size, slower in ((224, 1.0), (448, 0.2), (1024, 0.02))
    for batch, rate in ((1, 0.3 * slower), (16, 0.8 * slower), (64, 1.0 * slower))
]


sizes = st.sampled_from([224, 448, 1024])
speeds = st.sampled_from([1.0, 2.0, 10.0, 50.0, 100.0])


@st.composite
def measured(draw):
    model, selector = draw(st.sampled_from([("glsim", "gls"), ("vit", None), ("mine", None)]))
    return row(
        model,
        size=draw(sizes),
        batch=draw(st.sampled_from([1, 2, 8])),
        img_s=draw(speeds),
        selector=selector,
        dtype=draw(st.sampled_from(["float32", "amp"])),
        engine=draw(st.sampled_from(["torch", "onnxruntime"])),
        energy_j_per_image=draw(st.sampled_from([None, 0.5, 2.0])),
        device_memory_bytes=draw(st.sampled_from([None, 10**9, 2 * 10**9])),
        peak_memory_allocated_bytes=draw(st.sampled_from([None, 10**9, 10**10])),
        environment=draw(st.sampled_from([GPU, {**GPU, "torch": "2.8.0"}])),
    )


limits = st.builds(
    Limits,
    min_accuracy_percent=st.sampled_from([None, 80.0, 91.0]),
    max_latency_s=st.sampled_from([None, 0.02, 0.5]),
    max_memory_bytes=st.sampled_from([None, 10**9]),
    max_energy_j=st.sampled_from([None, 1.0]),
    min_throughput_img_s=st.sampled_from([None, 10.0]),
    max_cost=st.sampled_from([None, 50.0]),
    gpu=st.sampled_from([None, "h200", "L4"]),
    dtypes=st.sampled_from([(), ("amp",)]),
    engines=st.sampled_from([(), ("torch",), ("onnxruntime", "torch")]),
    models=st.sampled_from([(), ("vit", "mine")]),
    image_sizes=st.sampled_from([(), (224,)]),
    batch_sizes=st.sampled_from([(), (1, 2)]),
)
