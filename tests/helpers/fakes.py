"""A fake clock with given durations, and groups for tests of plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fgbench.measure.points import ModelSpec, PointGroup, RunMode


class FakeClock:
    """Iterations that take what a function of their number says; counts how many ran."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.seconds, self.done, self.runs = seconds, 0, list[int]()

    def run(self, iterations: int) -> list[float]:
        self.runs.append(iterations)
        times = [self.seconds(self.done + index) for index in range(iterations)]
        self.done += iterations
        return times


def groups(*names: str, sizes: tuple[int, ...] = (224,)) -> Iterator[PointGroup]:
    for name in names:
        for size in sizes:
            case = ModelSpec(model=name, backbone="test_vit", selector=None, impl=None, image_size=size, num_classes=10)
            yield PointGroup(case=case, mode=RunMode(threads=1))
