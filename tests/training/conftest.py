from __future__ import annotations

import helpers.backbones  # noqa: F401  # timm knows them from now on
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

torch.set_num_threads(1)  # small models; two threads would wait for each other


@pytest.fixture(autouse=True)
def every_test_begins_without_processes():
    """Accelerate keeps its state for the whole process, and refuses another precision."""
    yield
    AcceleratorState._reset_state()
    GradientState._reset_state()
    PartialState._reset_state()
