from __future__ import annotations

from helpers.worker_host import host

__all__ = ["host"]
