from __future__ import annotations

import helpers.backbones  # noqa: F401  # timm knows them from now on
import torch

torch.set_num_threads(1)  # small models; two threads would wait for each other
