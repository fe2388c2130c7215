"""Build one model and run it on one image, by default twice; ``peak.py`` measures its memory."""

from __future__ import annotations

import sys

import torch

from fgbench import create_model

name, impl, size, overlap, threads, *passes = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
torch.set_num_threads(threads)
model = create_model(name, img_size=size, impl=impl, overlap=overlap).eval()
with torch.no_grad():
    for _ in range(passes[0] if passes else 2):
        model(torch.randn(1, 3, size, size))
