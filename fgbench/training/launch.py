"""Which process of a launch this is, before torch is loaded."""

from __future__ import annotations

import os
import re

from fgbench.errors import FgbenchError

ADVICE = "unset it, or start with accelerate launch"
# Of torchrun, and of what starts MPI.
RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")
NUMBERS = (
    *RANKS,
    *("WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_PORT"),
    *("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    *("PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    *("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
)


def is_main_process() -> bool:
    """Whether this process keeps and shows results: the only one, or the first that was launched.

    Raises:
        FgbenchError: Where a variable that a launch sets is no whole number, or is below 0.

    """
    for name in NUMBERS:
        value = os.environ.get(name) or "0"
        if not re.fullmatch("-?[0-9]+", value):
            raise FgbenchError(f"the environment variable {name} must be a whole number, got", value, ADVICE)
        if value.startswith("-"):
            raise FgbenchError(f"the environment variable {name} must be at least 0, got", value, ADVICE)
    return int(next((os.environ[name] for name in RANKS if os.environ.get(name)), "0")) == 0
