from __future__ import annotations

from helpers.worker_pool import borrowed, pool

__all__ = ["borrowed", "pool"]
