"""Places of a cluster that answer in no time, and sweeps for them."""

from __future__ import annotations

from collections import Counter

from fgbench.cluster.sweep import ClusterSweep
from fgbench.measure.points import ModelSpec, PointGroup, Rates, RunMode
from fgbench.measure.rows import make_row
from fgbench.results.records import ThroughputRow
from fgbench.results.store import Store
from fgbench.sweep.context import Platform, SweepContext
from fgbench.sweep.request import SweepRequest
from fgbench.workers.pool import WorkerPool


class FakePlaces:
    """Places that answer at once; each start is one of ``fates``: done, lost, failed."""

    def __init__(self, names, fate=lambda place, unit: "done", answer=lambda fields: ([], {})):
        self.names = dict.fromkeys(names, None)
        self.fate, self.answer = fate, answer
        self.begun = Counter()
        self.most_at_once = 0

    def idle(self):
        return [name for name, unit in self.names.items() if unit is None]

    def kind(self, place):
        return "cpu"

    def alive(self):
        return {"cpu"} if self.names else set()

    def give_up(self, place):
        self.names.pop(place, None)

    def start(self, place, do, fields):
        assert self.names[place] is None, "one unit at a time"
        self.names[place] = (do, fields)
        self.begun[place] += 1
        self.most_at_once = max(self.most_at_once, sum(unit is not None for unit in self.names.values()))

    def news(self, timeout_s):
        for name, unit in list(self.names.items()):
            if unit is None:
                continue
            fate = self.fate(name, unit[1])
            if fate == "lost":
                del self.names[name]
                yield name, {"lost": f"node {name} was lost: a power cut"}
            elif fate == "failed":
                self.names[name] = None
                yield name, {"failed": "error", "reason": "no process can be started", "refused": False}
            else:
                told, answer = self.answer(unit[1])
                self.names[name] = None
                for now in told:
                    yield name, {"now": now}
                yield name, {"done": answer}


def sweep_of(groups: int, store: Store, batch_sizes=(1,), **asked) -> ClusterSweep:
    request = SweepRequest(models=["vit"], **asked)
    mode = RunMode()
    cases = [
        ModelSpec(model=f"m{i}", backbone="b", selector=None, impl=None, image_size=64, num_classes=10)
        for i in range(groups)
    ]
    context = SweepContext(
        request=request,
        groups=[PointGroup(case=case, mode=mode) for case in cases],
        batch_sizes=batch_sizes,
        platforms={mode: Platform(device="cpu", uuid=None, facts={"device_name": "fake", "max_time_s": 1.0})},
    )
    return ClusterSweep(context=context, store=store, pool=WorkerPool())


def measured(sweep: ClusterSweep, status="ok"):
    """What a node answers that measures in no time."""

    def answer(fields):
        told = []
        for size in fields["batch_sizes"]:
            group = fields["group"]
            result = {
                "status": status,
                "reason": None,
                "latency_s": 0.01,
                "throughput_img_s": 100.0 * size,
                "blocks": [],
            }
            row = make_row(group, size, result, {**sweep.context.facts(group), "node": "n"}, Rates())
            content = {name: value for name, value in row.as_dict().items() if name != "environment"}
            told.append({"row": (ThroughputRow.kind, sweep.context.key(group, size), content, row.environment)})
        return told, {"dropped": []}

    return answer
