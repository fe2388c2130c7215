"""Files of rows, baselines, benchmarks and stores: real ones, changed at a few places."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fuzz.case import Case, Draw
from fuzz.values import WORDS, mutated

REPORTS = (
    "accuracy_vs_cost",
    "flops",
    "price",
    "selections",
    "throughput",
    "selector_quality",
    "cost",
    "table1",
    "table4",
    "table10",
    "ratios",
)
STYLES = ("table", "json", "csv", "markdown", "latex")
SMALL = ("--backbones", "test_vit", "--sizes", "32", "--selectors", "gls", "--models", "vit", "--impl", "fast")


def odd_values(draw: Draw) -> Any:
    """A value that JSON can hold, or Python's reader of it takes."""
    return draw.choice(
        [
            *(
                None,
                True,
                False,
                0,
                -1,
                1,
                2**31,
                10**30,
                10**300,
                -0.0,
                0.5,
                1e308,
                5e-324,
                float("nan"),
                float("inf"),
            ),
            *([], {}, [[]], [None], [1, "a", None], {"": 0}, {"a": {"b": [1]}}, "", "ok", "oom", "cuda", "x" * 300),
            *(draw.choice(WORDS), "2026-01-01T00:00:00+00:00", nested(draw.choice([5, 90, 490]))),
        ]
    )


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    found: Any = 0
    for _ in range(depth):
        found = [found]
    return found


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a value, with every key that it has."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from places(inner)


def changed(draw: Draw, value: Any) -> Any:
    """The same with one to three changes anywhere: another value, one that is missing, one too many."""
    value = copy.deepcopy(value)
    for _ in range(draw.randrange(1, 4)):
        container, key = draw.choice(list(places(value)) or [([0], 0)])
        kind = draw.randrange(6)
        if kind < 4:
            container[key] = odd_values(draw)
        elif kind == 4:
            del container[key]
        elif isinstance(container, dict):
            container[draw.choice(WORDS)] = odd_values(draw)
        else:
            container.append(odd_values(draw))
    return value


def changed_softly(draw: Draw, value: Any) -> Any:
    """The same with one to four values of the same type in place of others: what readers take, and nobody measures."""
    value = copy.deepcopy(value)
    for _ in range(draw.randrange(1, 5)):
        container, key = draw.choice(list(places(value)))
        old = container[key]
        if isinstance(old, bool):
            container[key] = not old
        elif isinstance(old, (int, float)):
            tiny = (5e-324, 1e-300, 1e-9, 0.1, 99.999, 1e300, 1.7e308, 1e22)
            container[key] = draw.choice(
                [0, 1, 2, 3, 7, 224, 10**6, 2**53 + 1, 2**63, 10**18] if type(old) is int else tiny
            )
        elif isinstance(old, str):
            container[key] = draw.choice(
                [*WORDS, "glsim", "gls", "cub", "cuda", "cpu", "ok", "oom", "fast", "published"]
            )
        elif isinstance(old, list):
            container[key] = draw.choice([old[:1], old * 2, []])
        elif isinstance(old, dict):
            container[key] = draw.choice([{}, {**old, draw.choice(WORDS): draw.choice(WORDS)}])
        elif draw.random() < 0.3:
            container[key] = draw.choice([0, 1.5, "x"])
    return value


def text_of(draw: Draw, value: Any) -> bytes:
    """The value as a file, as a rule in UTF-8."""
    text = json.dumps(value, ensure_ascii=draw.random() < 0.7)
    encoding = draw.choice(["utf-8"] * 12 + ["utf-8-sig", "utf-16", "latin-1"])
    data = text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")
    return mutated(draw, data) if draw.random() < 0.1 else data


def rows(draw: Draw, files: Mapping[str, bytes]) -> Case:
    """Saved rows for ``choose`` and ``report``."""
    path = Path(draw.choice(["rows.json"] * 6 + ["rows.csv"] * 3 + ["rows.db", "rows", "rows.JSON", "rows.txt"]))
    real = json.loads(files["rows.json"])
    some = draw.sample(real, draw.randrange(1, 4))
    if path.suffix == ".csv":
        path.write_bytes(mutated(draw, files["rows.csv"]))
    elif path.suffix == ".db":
        path.write_bytes(mutated(draw, files["rows.db"]))
    else:
        path.write_bytes(text_of(draw, (changed if draw.random() < 0.4 else changed_softly)(draw, some)))
    more = ["--dataset", draw.choice(["cub", *WORDS])] if draw.random() < 0.2 else []
    command = draw.choice([["choose", *more], ["choose", "--max-latency", "20ms"], ["report", draw.choice(REPORTS)]])
    style = ["-f", draw.choice(STYLES)] if draw.random() < 0.8 else []
    return Case(words=[*command, "--store" if path.suffix == ".db" else "--rows", str(path), *style])


def compared(draw: Draw, files: Mapping[str, bytes]) -> Case:
    """Baselines and files of pytest-benchmark for ``regress``."""
    style = ["-f", draw.choice(STYLES)]
    if draw.random() < 0.3:
        change = draw.choice([changed, changed_softly])
        Path("baseline.json").write_bytes(text_of(draw, change(draw, json.loads(files["baseline.json"]))))
        return Case(words=["regress", "--baseline", "baseline.json", *SMALL, *style], undecided=True)
    change = draw.choice([changed, changed_softly])
    Path("old.json").write_bytes(text_of(draw, change(draw, json.loads(files["old.json"]))))
    Path("new.json").write_bytes(files["new.json"])
    names = draw.choice([["old.json", "new.json"], ["new.json", "old.json"], ["old.json"] * 2])
    extra = draw.choice([[], ["--strict"], ["--annotations"], ["--junit", "j.xml"], ["--markdown", "m.md"]])
    style = [] if extra == ["--annotations"] else style
    return Case(words=["regress", "--pytest-benchmark", *names, *extra, *style], undecided=True)
