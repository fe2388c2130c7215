"""Which process of a launch this is, before torch is loaded."""

from __future__ import annotations

import os


def is_main_process() -> bool:
    """Whether this process keeps and shows results: the only one, or the first that ``accelerate launch`` started."""
    return int(os.environ.get("RANK", "0") or 0) == 0
