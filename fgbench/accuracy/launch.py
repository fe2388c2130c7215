"""Which process of a launch this is, before torch is loaded."""

from __future__ import annotations

import os

RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")  # of torchrun, and of what starts MPI


def is_main_process() -> bool:
    """Whether this process keeps and shows results: the only one, or the first that was launched."""
    return int(next((os.environ[name] for name in RANKS if os.environ.get(name)), "0")) == 0
