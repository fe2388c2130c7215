"""Two sides with a substitute for Python: the processes are real, their measurements are planned."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fgbench.regress.pairs import PairsResult, measure_pairs
from fgbench.regress.request import PairsRequest
from fgbench.regress.sides.sides import Side


class StandIns:
    """Base and head with a plan; what was asked of them is in :attr:`log`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "python"
        program = Path(__file__).with_name("stand_in.py")
        self.python.write_text(f"#!{sys.executable} -IS\n{program.read_text()}")
        self.python.chmod(0o755)
        self.plan()

    def plan(self, *rules: dict[str, Any]) -> None:
        (self.folder / "plan.json").write_text(json.dumps(rules))

    def side(self, name: str, **other: Any) -> Side:
        variables = {"STAND_IN": str(self.folder), "SIDE": name}
        options = {"label": name, "python": str(self.python), "environment": variables, "code": f"code of {name}"}
        return Side(**{**options, **other})

    @property
    def log(self) -> list[dict[str, Any]]:
        file = self.folder / "log.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def runs(self) -> list[tuple[str, str, list[int]]]:
        """(side, model, batch sizes) of every run, in order."""
        return [(run["side"], run["model"], run["batches"]) for run in self.log]

    def measure(self, *wanted: str, tell=lambda *_: None, **options: Any) -> PairsResult:
        """Measure; points of the names that are wanted are undecided after the first pairs."""
        return measure_pairs(request(**options), self.side("base"), self.side("head"), lambda _: wanted, tell)


def request(**options: Any) -> PairsRequest:
    small = {"models": ["vit"], "image_sizes": [64], "batch_sizes": [1], "run_limit_s": 600.0}
    return PairsRequest(**{**small, **options})
