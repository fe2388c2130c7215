"""A substitute for the Python of a side: a process that answers ``-m fgbench throughput …`` at once, by a plan.

The plan is a list of rules, each for a side, a run of that side (from 1), a model and a batch size, where it names
them; ``do`` is what happens, or ``row`` the fields that are other ones. What was asked for is in ``log.jsonl``.
"""

import json
import os
import sys
import time
from pathlib import Path

FOLDER, SIDE = Path(os.environ["STAND_IN"]), os.environ["SIDE"]


def main(words):
    assert words[:3] == ["-m", "fgbench", "throughput"], words
    asked = {}
    for word in words[3:]:
        flag, _, value = word.partition("=")
        asked.setdefault(flag, []).append(value)
    assert Path(asked["--store"][0]).parent.is_dir()
    runs = 1 + sum(seen["side"] == SIDE for seen in log())
    model = asked["--model"][0]
    told = {"side": SIDE, "model": model, "batches": [int(size) for size in asked["--batch-sizes"]], "words": words}
    told |= {"folder": [path.name for path in Path.cwd().iterdir()], "cwd": str(Path.cwd())}
    with (FOLDER / "log.jsonl").open("a") as file:
        file.write(json.dumps(told) + "\n")
    rules = [rule for rule in json.loads((FOLDER / "plan.json").read_text()) if applies(rule, runs, model)]
    for rule in rules:
        if "batch" not in rule and "do" in rule:
            DEEDS[rule["do"]](rule)
    rows = [row(asked, size, runs, rules) for size in told["batches"]]
    print(json.dumps([row for row in rows if row is not None]))


def log():
    file = FOLDER / "log.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def applies(rule, runs, model):
    at = rule.get("runs")
    return rule.get("side", SIDE) == SIDE and (at is None or runs in at) and rule.get("model", model) == model


def row(asked, size, runs, rules):
    made = {
        "model": asked["--model"][0],
        "selector": asked.get("--selectors", [None])[0],
        "impl": asked["--impl"][0],
        "backbone": asked.get("--backbones", ["test_vit"])[0],
        "image_size": int(asked["--sizes"][0]),
        "batch_size": size,
        "device": "cpu",
        "dtype": asked["--dtype"][0],
        "status": "ok",
        "reason": None,
        "latency_s": (1.0 if SIDE == "base" else 2.0) * size + runs / 1000,
        "peak_memory_allocated_bytes": None,
        "environment": {"side": SIDE, "run": runs},
        "a_field_of_tomorrow": [1, 2],
    }
    for rule in rules:
        if rule.get("batch", size) == size:
            if rule.get("do") == "leave out":
                return None
            made |= rule.get("row", {})
    return {name: value for name, value in made.items() if value != "leave out"}


def hang(_):
    import subprocess  # not where it is not needed: every run of every test would pay for it

    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(3600)"])
    (FOLDER / "hanging").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(3600)


def refuse(rule):
    sys.stderr.write("loading\nfgbench: " + rule.get("said", "unknown selector 'new'; known selectors: old") + "\n")
    sys.exit(2)


def crash(_):
    sys.stderr.write("Segmentation fault\n")
    sys.stderr.flush()
    os.kill(os.getpid(), 11)


def say_garbage(_):
    print("Welcome to the cluster!")
    sys.exit(0)


def interrupt(_):
    os.kill(os.getppid(), 2)
    time.sleep(3600)


def remove(rule):
    Path(rule["file"]).rename(rule["file"] + ".gone")


DEEDS = {
    "hang": hang,
    "refuse": refuse,
    "crash": crash,
    "garbage": say_garbage,
    "remove": remove,
    "interrupt": interrupt,
    "leave out": id,
}
main(sys.argv[1:])
