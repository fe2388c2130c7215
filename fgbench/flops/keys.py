"""What tells one count from another: everything that determines it. No torch."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fgbench.flops.counted_cache import library_version
from fgbench.flops.grid import CountGrid
from fgbench.plugins.kinds import models
from fgbench.plugins.registry import selectors
from fgbench.results.environment import code_digest, software
from fgbench.results.records import FlopsRow
from fgbench_selectors.entries import OWN_DISTRIBUTION, Registry

IDENTITY = ("convention", "backbone", "model", "selector", "impl", "image_size", "part")


def count_key(row: FlopsRow, request: CountGrid) -> str:
    """The key of a counted row: a digest of its names and options, and of where foreign names come from."""
    identity = {name: getattr(row, name) for name in IDENTITY} | _geometry(request)
    identity["origins"] = [_origin(selectors, row.selector), _origin(models, row.model)]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def count_environment(request: CountGrid) -> dict[str, Any]:
    """What rows were counted with, and what of the request they do not tell themselves."""
    return {**software(), "torch": library_version("torch"), "code": code_digest(), **_geometry(request)}


def _geometry(request: CountGrid) -> dict[str, Any]:
    return {"num_classes": request.num_classes, "patch_stride": request.patch_stride}


def _origin(registry: Registry, name: str | None) -> str | None:
    """The file or the distribution that a foreign name comes from."""
    entry = None if name is None else registry.entries().get(name)
    return None if entry is None or entry.origin == OWN_DISTRIBUTION else str(entry.file or entry.origin)
