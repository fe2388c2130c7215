"""Pretrain the shipped backbone and write its weights: ``python -m fgbench.pretraining [FOLDER] [WEIGHTS]``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from fgbench.pretraining.train import Pretraining, export, pretrain
from fgbench.results.shipped import WEIGHTS


def main() -> None:
    """Train in FOLDER, where a killed run goes on, and write WEIGHTS; by default those that are shipped."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "fgbench-pretraining")
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else WEIGHTS
    recipe = Pretraining()
    network = pretrain(recipe, folder, lambda line: print(line, flush=True))
    export(network, path, {"recipe": json.dumps(asdict(recipe)), "license": "Apache-2.0"})
    print(f"written: {path}")


if __name__ == "__main__":
    main()
