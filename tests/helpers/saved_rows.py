"""Rows of every kind for the tests of what is saved and read again."""

from __future__ import annotations

from pathlib import Path

from helpers.throughput_rows import CPU, GPU, VIT, row, tried

from fgbench.cli.saved import read_data
from fgbench.results.records import AccuracyRow, FlopsRow, QualityRow
from fgbench.results.store import Store
from fgbench_reports.data import Data
from fgbench_reports.tables import render

TRAINED = {"torch": "2.9.0", "device": "cuda", "device_name": "NVIDIA H200", "time": "2026-01-01T00:00:00+00:00"}
COUNTED = {"fgbench": "0.1.0", "num_classes": 200, "patch_stride": None}


def accuracy(model="glsim", seed: int | None = 1, top1=90.5, **fields) -> dict:
    defaults = {
        "model": model,
        "selector": "gls",
        "dataset": "cub",
        "image_size": 224,
        "seed": seed,
        "lr": 0.01,
        "epochs": 50,
        "top1_percent": top1,
        "top5_percent": 98.5,
        "images": 5794,
        "seconds": 3600.5,
        "checkpoint": f"weights/{model}/seed{seed}",
        "backbone": VIT,
        "num_classes": 200,
        "recipe": {"epochs": 50, "optimizer": "momentum"},
        "environment": TRAINED,
    }
    return AccuracyRow(**{**defaults, **fields}).as_dict()


def quality(selector="gls", **fields) -> dict:
    defaults = {
        "model": "glsim",
        "selector": selector,
        "dataset": "cub",
        "image_size": 224,
        "seed": 1,
        "checkpoint": None,
        "images": 100,
        "images_without_parts": None,
        "pointing_percent": None,
        "heat_in_parts_percent": None,
        "crop_part_percent": None,
        "crop_iou_percent": None,
        "part_recall_percent": None,
        "insertion_auc": 0.5,
        "deletion_auc": 0.25,
        "perturbed_images": 64,
        "top_k": 8,
        "selector_flops": 1234,
        "percent_of_backbone": 0.1,
        "insertion_curve": [0.1, 0.9],
        "deletion_curve": [0.9, 0.1],
    }
    return QualityRow(**{**defaults, **fields}).as_dict()


def flops(selector: str | None = "gls", *, parts=False, **fields) -> dict:
    defaults = {
        "convention": "full",
        "backbone": VIT,
        "model": None,
        "selector": selector,
        "impl": selector and "fast",
        "image_size": 224,
        "num_tokens": 197,
        "macs": 17563213824,
        "flops": 35186142288,
        "percent_of_backbone": 0.1,
        "params": 7,
    }
    return FlopsRow(**{**defaults, **fields}).as_dict(parts=parts)


TIMED = [
    row(batch=1, img_s=84.31, energy_j_per_image=3.21),
    row(batch=64, img_s=1208.9, mfu=0.447, best=True),
    tried("oom", "CUDA out of memory,\n27 GiB\r\n", batch=256),
    row("=1+1|<b>", batch=4, img_s=5.61, device="cpu", compiled=True, best=True, environment=CPU),
    row(batch=2, img_s=90.0, repeat=1, best=True),
]
RUNS = [accuracy(seed=1), accuracy(seed=10, top1=91.0), accuracy("vit", selector=None, top5_percent=None)]
MEAN = accuracy(seed=None, top1=90.75, top1_std_percent=0.35, seeds=[1, 10], checkpoint=None)
JUDGED = [quality(), quality("random", trained_with="gls")]
COUNTS = [flops(None), flops(), flops("psm", impl="published")]


def fill(path: Path) -> Path:
    """A store that holds what the commands would keep of these rows."""
    with Store(path) as store:
        for number, timed in enumerate(TIMED):
            fields = {name: value for name, value in timed.items() if name != "environment"}
            store.add("throughput", str(number), {**fields, "best": False}, timed["environment"])
        for number, run in enumerate(RUNS):
            fields = {name: value for name, value in run.items() if name != "environment"}
            store.add("accuracy", str(number), fields, run["environment"])
        store.add("selection_quality", "judged", {"rows": JUDGED}, TRAINED)
        store.keep("flops", {str(number): {**row, "part": None} for number, row in enumerate(COUNTS)}, COUNTED)
        store.add("accuracy_epoch", "another kind", {"epoch": 1}, {})
    return path


__all__ = ["COUNTS", "GPU", "JUDGED", "MEAN", "RUNS", "TIMED", "accuracy", "fill", "flops", "quality"]


KEPT = {"schema_version": 1, "environment": {"device_name": "TPU"}}


def unheard(problem):
    raise AssertionError(problem)


def read(*files, store=None, on_problem=unheard) -> Data:
    return read_data(store, [Path(file) for file in files], on_problem)


def saved(rows, name="rows.json") -> Path:
    path = Path(name)
    text = render.to_csv(rows) if path.suffix == ".csv" else render.to_json(rows)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def write(folder: Path, rows, suffix) -> Path:
    return saved(rows, folder / f"rows.{suffix}")
