"""Time a model with ``torch.utils.benchmark`` only: reads a line, prints the median over two seconds or more.

The allocator is brought to where fgbench has it; without that line, one process of this program is 10 % slower than
the next, by the page faults that glibc takes or does not take.
"""

from __future__ import annotations

import sys

import torch
from torch.utils.benchmark import Timer

from fgbench import create_model
from fgbench.measure.memory import settle_allocator

name, image_size, batch_size, threads = sys.argv[1], *map(int, sys.argv[2:])
settle_allocator()
torch.manual_seed(0)
torch.set_num_threads(threads)
model = create_model(name, img_size=image_size, num_classes=200).eval()
images = torch.randn(batch_size, 3, image_size, image_size)
with torch.inference_mode():
    timer = Timer("model(images)", globals={"model": model, "images": images}, num_threads=threads)
    timer.timeit(3)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(timer.blocked_autorange(min_run_time=2).median, flush=True)
