# slowest.py
import pandas as pd
from fgbench_reports.numbers import milliseconds

from fgbench_reports.report import Data, Missing, Report
from fgbench_reports.tables import made


class Slowest(Report):
    """The ten slowest points of every sweep."""

    def items(self, data: Data):
        points = sorted((row for row in data.throughput if row["latency_s"]), key=lambda row: -row["latency_s"])[:10]
        if not points:
            yield Missing(what="the slowest points", command="fgbench throughput")
            return
        frame = pd.DataFrame([{name: row[name] for name in ("model", "image_size", "latency_s")} for row in points])
        yield made("slowest", "The slowest", frame, {"image_size": str, "latency_s": milliseconds}, names=("model",))
