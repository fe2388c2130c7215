"""Rows for tests of the paper's tables: counts from the closed forms, other values artificial."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from helpers.throughput_rows import CPU, GPU, HOSTILE, VIT, row

from fgbench.datasets.dataset import TABLE9
from fgbench.flops.paper import SELECTOR_COSTS, Geometry, backbone_cost
from fgbench.results.records import AccuracyRow, FlopsRow

BACKBONES = {
    "vit_base_patch16_224": {"patch_size": 16, "embed_dim": 768, "num_heads": 12},
    "vit_base_patch14_dinov2": {"patch_size": 14, "embed_dim": 768, "num_heads": 12},
    "vit_tiny_patch16_224": {"patch_size": 16, "embed_dim": 192, "num_heads": 3},
}
SIZES = (224, 448, 768, 1024)
RECIPE = {
    **{"epochs": 50, "batch_size": 8, "accumulate": 1, "optimizer": "momentum", "weight_decay": 0.0},
    **{"warmup_steps": 500, "warmup_lr": 1e-6, "min_lr": 1e-5, "clip_norm": 1.0, "augreg": "strong"},
    "mixed_precision": "fp16",
}
SELECTORS = {"transfg": "psm", "ffvt": "maws", "ramstrans": "rollout", "aftrans": "sacm", "glsim": "gls"}


def counted(backbone: str, size: int, *, stride: int | None = None, environment: dict | None = None) -> list[dict]:
    """Convention paper, from its closed forms."""
    geometry = Geometry(image_size=size, depth=12, num_classes=200, stride=stride, **BACKBONES[backbone])
    whole = backbone_cost(geometry)
    costs = {None: whole, **{name: cost(geometry) for name, cost in SELECTOR_COSTS.items()}}
    return [
        flops_row(
            "paper",
            backbone,
            selector,
            size,
            cost.num_tokens,
            cost.flops,
            percent=100 * cost.flops / whole.flops,
            impl=selector and "published",
            environment=environment,
        )
        for selector, cost in costs.items()
    ]


def in_full(backbone: str, size: int) -> list[dict]:
    """Convention full, as powers of N: 3 where published, 2 where fast."""
    patch = BACKBONES[backbone]["patch_size"]
    tokens = (size // patch) ** 2 + 1
    rows = [flops_row("full", backbone, None, size, tokens, 10**12)]
    for index, selector in enumerate(SELECTORS.values(), 1):
        for impl, power in (("published", 3), ("fast", 2)):
            flops = index * tokens**power
            rows.append(flops_row("full", backbone, selector, size, tokens, flops, percent=flops / 10**10, impl=impl))
    return rows


def flops_row(
    convention: str,
    backbone: str,
    selector: str | None,
    size: int,
    tokens: int | None,
    flops: int,
    *,
    percent: float = 100.0,
    impl: str | None = None,
    environment: dict | None = None,
    **fields: Any,
) -> dict:
    values = {"model": None, "macs": flops // 2, "params": None}
    made = FlopsRow(
        convention=convention,
        backbone=backbone,
        selector=selector,
        impl=impl,
        image_size=size,
        num_tokens=tokens,
        flops=flops,
        percent_of_backbone=percent,
        **{**values, **fields},
    )
    return made.as_dict(parts=True) | {"environment": environment or {}}


def whole_model(model: str, selector: str, tokens: int, percent: float, *, twice: bool) -> list[dict]:
    """A model and its parts at 224, published and fast, beside its plain backbone."""
    rows = [flops_row("full", VIT, None, 224, 197, 10**9)]
    for impl in ("published", "fast"):
        share = percent if impl == "published" else percent * 0.9
        rows.append(flops_row("full", VIT, selector, 224, tokens, 10**9, percent=share, impl=impl, model=model))
        for stage in ("pass 1", "selector", *(("crop", "pass 2") if twice else ()), "fusion"):
            flops = 0 if stage == "crop" else 10**8
            rows.append(flops_row("full", VIT, selector, 224, tokens, flops, impl=impl, model=model, stage=stage))
    return rows


MODELS = [
    *whole_model("transfg", "psm", 325, 179.3, twice=False),
    *whole_model("ffvt", "maws", 197, 97.3, twice=False),
    *whole_model("ramstrans", "rollout", 198, 201.6, twice=True),
    *whole_model("aftrans", "sacm", 325, 338.9, twice=True),
    *whole_model("dcal", "rollout", 197, 102.5, twice=False),
    *whole_model("glsim", "gls", 197, 200.1, twice=True),
]


def run(model: str, dataset: str, size: int, top1: float, seed: int | None = 1, **fields: Any) -> dict:
    """One training, as published unless fields say otherwise."""
    whole = TABLE9.get(dataset, TABLE9["cub"])
    values: dict[str, Any] = {
        "model": model,
        "selector": SELECTORS.get(model),
        "dataset": dataset,
        "image_size": size,
        "seed": seed,
        "lr": 0.01,
        "epochs": 50,
        "top1_percent": top1,
        "top5_percent": None,
        "images": whole.test_images,
        "seconds": 60.0,
        "checkpoint": None,
        "backbone": "resnet101" if model in ("resnet101", "cal") else VIT,
        "impl": "fast" if model in SELECTORS else None,
        "num_classes": whole.classes,
        "train_images": whole.train_images,
        "recipe": RECIPE,
        "environment": {"device": "cpu", "torch": "2.9.0"},
    }
    return asdict(AccuracyRow(**(values | fields)))


RUNS = [
    run("vit", "cub", 224, 90.1),
    run("vit", "cub", 224, 90.3, seed=10),
    run("glsim", "cub", 224, 91.2),
    run("glsim", "dogs", 224, 92.25, recipe={**RECIPE, "top_k": 16}),
    run("vit", "nabirds", 448, 89.2),
    run("glsim", "nabirds", 224, 88.2),
    run("glsim", "nabirds", 448, 90.24, recipe={**RECIPE, "batch_size": 32}, unreadable_images=3),
    run(HOSTILE, HOSTILE, 96, 50.0, recipe={**RECIPE, "augreg": "weak", "optimizer": HOSTILE}, backbone=HOSTILE),
]


def timed(environment: dict = GPU, device: str = "cuda", faster: float = 1.0) -> list[dict]:
    """Sweeps of five models at two sizes and two batches, of which the larger is the faster."""
    rows = []
    speeds = {"vit": 400.0, "glsim": 300.0, "transfg": 200.0, "ffvt": 250.0, "cal": 100.0}
    for model, img_s in speeds.items():
        selector = SELECTORS.get(model)
        for size in (224, 448):
            for batch in (1, 8):
                for impl in ("published", "fast") if selector else (None,):
                    speed = faster * img_s * batch / (size / 224) ** 2 * (2 if impl == "fast" else 1)
                    fields = {"selector": selector, "impl": impl, "device": device, "environment": environment}
                    if model == "cal":
                        fields["backbone"] = "resnet101"
                    memory = int(1e9 / img_s * 100) * batch if device == "cuda" else None
                    made = row(model, size, batch, speed, **fields)
                    rows.append({**made, "peak_memory_allocated_bytes": memory})
    return rows


TIMED = [*timed({**GPU, "device_name": f"GPU {HOSTILE}"}), *timed(CPU, "cpu", 0.01)]
