"""Settings of the process that foreign code may change: they are put back when it has run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import overrides
from torch.utils import _device


@contextmanager
def settings_kept() -> Iterator[None]:
    """A context in which tensors are made on the CPU, and after which torch and the process are as before.

    Put back are torch's default dtype and device, its number of threads, gradients, deterministic algorithms, the
    precision of products and the choice of kernels, and the working folder.
    """
    undo = [*_settings(), _device_is_cpu(), _folder()]
    try:
        yield
    finally:
        for put_back in undo:
            put_back()


def _settings() -> Iterator[Callable[[], None]]:
    """Functions that give settings the values that they have now; a setting that is the same is not touched."""
    backends, precision = torch.backends, torch.get_float32_matmul_precision
    strict = torch.are_deterministic_algorithms_enabled

    def set_deterministic(before: tuple[bool, bool]) -> None:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])

    yield _setting(torch.get_default_dtype, torch.set_default_dtype)
    yield _setting(torch.get_num_threads, torch.set_num_threads)
    yield _setting(torch.is_grad_enabled, torch._C._set_grad_enabled)
    yield _setting(precision, torch.set_float32_matmul_precision)
    yield _setting(lambda: (strict(), torch.is_deterministic_algorithms_warn_only_enabled()), set_deterministic)
    for holder, name in (
        *((backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")),
        (backends.cuda.matmul, "allow_tf32"),
    ):
        yield _attribute(holder, name)


def _setting(read: Callable[[], Any], write: Callable[[Any], object]) -> Callable[[], None]:
    before = read()

    def put_back() -> None:
        if read() != before:
            write(before)

    return put_back


def _attribute(holder: Any, name: str) -> Callable[[], None]:
    return _setting(lambda: getattr(holder, name), lambda value: setattr(holder, name, value))


def _device_is_cpu() -> Callable[[], None]:
    """Leave every context of a default device; the function puts them back.

    torch.set_default_device does not serve here: inside of a context it takes away that of the context.
    """
    modes, current = overrides._get_current_function_mode_stack(), _device.CURRENT_DEVICE
    default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    _set_modes([mode for mode in modes if not isinstance(mode, _device.DeviceContext)], None, None)
    return lambda: _set_modes(modes, default, current)


def _set_modes(modes: list[Any], default: Any, current: Any) -> None:
    for _ in overrides._get_current_function_mode_stack():
        overrides._pop_mode()
    for mode in modes:
        overrides._push_mode(mode)
    torch._GLOBAL_DEVICE_CONTEXT.device_context = default
    _device.CURRENT_DEVICE = current


def _folder() -> Callable[[], None]:
    """Put the working folder back, where it is still there."""
    try:
        before = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return lambda: None

    def put_back() -> None:
        with suppress(OSError):
            os.fchdir(before)
        os.close(before)

    return put_back
