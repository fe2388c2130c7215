from __future__ import annotations

from helpers.worker_pool import pool

__all__ = ["pool"]
