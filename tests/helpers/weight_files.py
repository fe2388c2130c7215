"""The bytes of small files that hold weights or arrays."""

from __future__ import annotations

import io

import numpy as np
import torch


def torch_file(held=None, **options):
    buffer = io.BytesIO()
    torch.save({"a.weight": torch.ones(2)} if held is None else held, buffer, **options)
    return buffer.getvalue()


def array_file():
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()
