"""What foreign code sets in a process is put back."""

from __future__ import annotations

import os
from contextlib import nullcontext

import pytest
import torch

from fgbench.models.settings import settings_kept


def settings() -> dict[str, object]:
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "precision": torch.get_float32_matmul_precision(),
        "folder": os.getcwd(),  # noqa: PTH109
    }


def change_all() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("medium")
    os.chdir("/")


def change_and_break() -> None:
    with settings_kept():
        change_all()
        raise ValueError("broken")


@pytest.mark.parametrize("device", ["meta", "cpu", None])
def test_all_settings_are_put_back(device):
    with nullcontext() if device is None else torch.device(device):
        before = settings()
        with settings_kept():
            assert torch.empty(1).device.type == "cpu"
            change_all()
            assert not before.items() & settings().items() - {("device", torch.device("meta"))}
        assert settings() == before
        assert torch.empty(1).device.type == (device or "cpu")


def test_they_are_put_back_after_an_error_and_beside_a_default_device():
    torch.set_default_device("meta")
    try:
        before = settings()
        with pytest.raises(ValueError, match="broken"):
            change_and_break()
        assert settings() == before
    finally:
        torch.set_default_device(None)
    assert torch.empty(1).device.type == "cpu"
