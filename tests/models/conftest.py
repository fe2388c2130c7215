from __future__ import annotations

import helpers.backbones  # timm knows them from now on
import helpers.swin_backbones  # noqa: F401
import torch

torch.set_num_threads(1)  # small models; two threads would wait for each other
