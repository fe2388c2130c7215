"""``fgbench.measure``: any subject in this process, as a function and as a package."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import fgbench
from fgbench.errors import FgbenchError
from fgbench.measure.subjects.selector import SelectorSubject

SHORT = {"threads": 1, "max_time_s": 0.05}


@pytest.mark.parametrize(
    "code",
    [
        "import fgbench; fgbench.measure; import fgbench.measure.timer",
        "import fgbench.measure.timer; import fgbench",
        "from fgbench.measure.timer import timing_plan; import fgbench; fgbench.measure.timer",
        "import fgbench; measure = fgbench.measure; import fgbench.measure.points; assert measure is fgbench.measure",
        "from fgbench import measure; import fgbench.measure.timer; import fgbench; assert measure is fgbench.measure",
    ],
)
def test_the_package_is_a_function_in_any_order(code):
    asked = "import sys, inspect; assert callable(fgbench.measure); assert 'torch' not in sys.modules; "
    asked += "assert 'images' in inspect.signature(fgbench.measure).parameters; "
    asked += "assert fgbench.measure.timer.timing_plan('cpu', None).cap_s == 10"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}; import fgbench.measure.timer; {asked}"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "measure" in dir(fgbench)


def test_a_published_model_by_its_name():
    threads = torch.get_num_threads()
    row = fgbench.measure("glsim", 64, batch_size=2, backbone="test_vit", num_classes=10, **SHORT)
    assert (row.model, row.selector, row.impl, row.backbone) == ("glsim", "gls", "fast", "test_vit")
    assert (row.image_size, row.batch_size, row.device, row.engine, row.best) == (64, 2, "cpu", "torch", False)
    assert row.throughput_img_s == pytest.approx(2 / row.latency_s)
    assert row.environment["num_classes"] == 10
    assert row.environment["macs_per_image"] > 1e6
    assert row.environment["copy_rate_bytes_s"] > 0
    assert row.environment["code"]
    assert torch.get_num_threads() == threads


def test_the_row_is_the_one_that_a_sweep_stores(pool, tmp_path):
    from helpers.sweeping import sweep

    done = sweep(pool, tmp_path / "s.db", models=["vit"], batch_sizes=[1])
    row = fgbench.measure("vit", 96, backbone="test_vit", threads=1, max_time_s=0.1).as_dict()
    stored = done.rows[0].as_dict()
    assert list(row) == list(stored)
    assert set(row["environment"]) == set(stored["environment"]) - {"time"}
    measured = {"status", "reason", "throughput_img_s", "latency_s", "latency_ci95_low_s", "latency_ci95_high_s"}
    measured |= {"latency_p50_s", "latency_p95_s", "latency_p99_s"}
    measured |= {"blocks", "device_memory_bytes", "mfu", "best", "environment"}
    assert {name: row[name] for name in row if name not in measured} == {
        name: stored[name] for name in stored if name not in measured
    }


def test_a_network_is_copied_and_its_images_are_run():
    seen = []

    class Sees(nn.Module):
        def forward(self, images):
            if not images.is_meta:
                seen.append(images.clone())
            return images.mean((2, 3))

    images = torch.randn(3, 3, 16, 16)
    row = fgbench.measure(Sees().train(), images, **SHORT)
    assert (row.model, row.backbone, row.selector, row.batch_size) == ("Sees", "", None, 3)
    assert torch.equal(seen[0], images)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(), nn.Flatten())
    assert fgbench.measure(module, 16, dtype="bfloat16", **SHORT).dtype == "bfloat16"
    assert (module.training, module[0].weight.dtype) == (True, torch.float32)


def test_what_cannot_be_counted_is_measured_all_the_same():
    class Odd(nn.Module):
        def forward(self, images):
            return images[images > 0].sum()  # its shape depends on values

    row = fgbench.measure(Odd(), 16, **SHORT)
    assert row.latency_s > 0
    assert row.mfu is None
    assert row.environment["missing"]["mfu"].startswith("the work of Odd could not be counted: ")


def test_a_built_model_has_its_names():
    model = fgbench.create_model("glsim", "test_vit", img_size=64, num_classes=10, impl="published")
    row = fgbench.measure(model, 64, **SHORT)
    assert (row.model, row.selector, row.impl, row.backbone) == ("glsim", "gls", "published", "test_vit")


def test_a_selector_by_itself():
    row = fgbench.measure(SelectorSubject("psm", "fast", 64), batch_size=2, **SHORT)
    assert (row.model, row.selector, row.impl, row.image_size, row.batch_size) == ("selector", "psm", "fast", 64, 2)
    assert row.latency_s > 0


def test_numbers_of_numpy_are_numbers():
    sizes = (np.int64(8), np.int32(8))
    row = fgbench.measure(nn.Flatten(), sizes, batch_size=np.int16(2), threads=np.uint8(1), max_time_s=np.float32(0.1))
    assert (row.image_size, row.batch_size, type(row.batch_size)) == (8, 2, int)


@pytest.mark.parametrize(
    ("subject", "images", "options", "said"),
    [
        ("glism", 64, {}, "did you mean glsim"),
        ("vit", torch.zeros(1, 4, 8, 9), {}, r"\(B, 3, height, width\), not \(1, 4, 8, 9\)"),
        (nn.Flatten(), torch.zeros(2, 3, 8, 8), {"batch_size": 3}, "there are 2 images, and the batch size is 3"),
        (nn.Flatten(), 8, {"backbone": "test_vit"}, "only a model that is named has the option 'backbone'"),
        (nn.Flatten(), 8, {"engine": "troch"}, "did you mean torch"),
        (nn.Flatten(), 8, {"dtype": "tf32", "device": "cpu"}, "only CUDA devices have 'tf32'"),
        (nn.Flatten(), 8, {"batch_size": "4"}, "batch_size must be a whole number of 1 or more, got '4'"),
        (nn.Flatten(), 8, {"max_time_s": True}, "max_time_s must be a number above 0"),
        (3, 8, {}, "give a model's name, an nn.Module or a subject"),
    ],
)
def test_what_does_not_fit_is_refused(subject, images, options, said):
    with pytest.raises(FgbenchError, match=said):
        fgbench.measure(subject, images, **options)


def test_its_signature_is_that_of_the_function():
    from fgbench.measure.measure import measure

    assert inspect.signature(fgbench.measure) == inspect.signature(measure)
