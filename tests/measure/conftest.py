from __future__ import annotations

from helpers.worker_pool import host

__all__ = ["host"]
