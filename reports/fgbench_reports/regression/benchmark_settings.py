"""Machines and settings of pytest-benchmark's files, and the differences that forbid a comparison."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

# Options of a benchmark that change its times, and options that change only the precision of its median.
CHANGING = ("disable_gc", "timer", "warmup")
SHARPENING = ("min_rounds", "max_time", "min_time")
# Facts of a file and their names in messages. Files that differ in one of them are not compared.
CPU, CORES = "processor", "cores"
FACTS = {
    "machine": "architecture",
    "system": "operating system",
    "python_implementation": "Python implementation",
}
PLATFORM_CPU = "processor, as the platform names it,"  # used if a file does not name the processor itself
PYTHON = "Python"
PARAMETER = "parameter "  # prefix of the names of a benchmark's parameters
SHOWN = 100  # characters of a value that a message shows
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+")  # in the repr of an object: different in every process
NO_REVISION = ("unknown", "unversioned", "none")
REMARKED = {"node": "host", "release": "kernel"}  # differences are reported, and the files are compared

Facts = Mapping[str, str]  # facts of a file by name; facts that the file does not have are missing


def facts_of(info: object) -> dict[str, str]:
    """The facts of ``machine_info`` that times depend on, and those that only notes mention."""
    if not isinstance(info, dict):
        return {}
    raw = info.get("cpu")
    cpu = raw if isinstance(raw, dict) else {}
    # py-cpuinfo before 5.0 has the field "brand"; without py-cpuinfo there is the name that the platform gives.
    found = {CPU: cpu.get("brand_raw") or cpu.get("brand"), CORES: cpu.get("count")}
    found[PLATFORM_CPU] = info.get("processor")
    found |= {word: info.get(name) for name, word in (FACTS | REMARKED).items()}
    version = info.get("python_version")
    found[PYTHON] = ".".join(version.split(".")[:2]) if isinstance(version, str) else None
    return {name: text for name, value in found.items() if (text := _text(value))}


def options_of(benchmark: Mapping[str, object]) -> dict[str, str]:
    """The options and parameters of a benchmark; its name does not always contain the parameters."""
    raw, parameters = benchmark.get("options"), benchmark.get("params")
    options = raw if isinstance(raw, dict) else {}
    found = {name: _text(options.get(name)) for name in (*CHANGING, *SHARPENING)}
    if found["timer"]:
        found["timer"] = found["timer"].rpartition(".")[2]  # time.perf_counter is perf_counter
    if isinstance(parameters, dict):
        found |= {
            f"{PARAMETER}{name}": ADDRESS.sub("", json.dumps(value, sort_keys=True))
            for name, value in parameters.items()
        }
    return {name: text for name, text in found.items() if text}


def differing(several: Iterable[Facts], names: Iterable[str]) -> dict[str, list[str]]:
    """The facts, out of these names, that differ between files, with their values."""
    told = {name: list(dict.fromkeys(facts[name] for facts in several if name in facts)) for name in names}
    return {name: values for name, values in told.items() if len(values) > 1}


def other_settings(options: Sequence[Facts]) -> str:
    """The reason why a benchmark cannot be compared: the options that differ; empty if none differs."""
    found = differing(options, [*CHANGING, *_parameters(options)])
    told = "; ".join(f"{name} {' and '.join(value[:SHOWN] for value in values)}" for name, values in found.items())
    return f"measured with other settings: {told}; measure both with the same" if told else ""


def _parameters(options: Sequence[Facts]) -> list[str]:
    return [name for name in dict.fromkeys(name for told in options for name in told) if name.startswith(PARAMETER)]


def other_places(files: Sequence[Facts]) -> str:
    """The reason why files cannot be compared: the facts that differ; empty if none differs."""
    told = []
    if differing(files, (CPU, CORES)):
        machines = dict.fromkeys(machine for facts in files if (machine := machine_of(facts)))
        told.append(f"the files come from different machines: {'; '.join(machines)}")
    named = all(CPU in facts for facts in files)
    others = differing(files, (*FACTS.values(), PYTHON, *(() if named else (PLATFORM_CPU,))))
    told += [f"the files have different {name}: {'; '.join(values)}" for name, values in others.items()]
    return f"{', and '.join(told)}; measure both on one" if told else ""


def out_of_turn(old: Iterable[str | None], new: Iterable[str | None]) -> str:
    """The reason why files cannot be compared if their revisions show a wrong order; empty otherwise."""
    before, after = ({one for one in side if one and one.lower() not in NO_REVISION} for side in (old, new))
    if not before & after or len(before | after) < 2:
        return ""
    both = ", ".join(sorted(one[:12] for one in before & after))
    return f"old and new files are of the same revision {both}; give them in turn: old new old new"


def remarks(files: Sequence[Facts], options: Sequence[Facts]) -> list[str]:
    """Differences that do not prevent a comparison, one sentence each."""
    found = [
        f"The files name different {name}s: {', '.join(values)}."
        for name, values in differing(files, REMARKED.values()).items()
    ]
    found += _left_untold(files, (CPU, *FACTS.values(), PYTHON), "files")
    found += _left_untold(options, CHANGING, "benchmarks")
    rounds = differing(options, SHARPENING)
    if rounds:
        told = "; ".join(f"{name} {' and '.join(values)}" for name, values in rounds.items())
        found.append(f"Medians are compared, and not all are equally exact: {told}.")
    return found


def _left_untold(several: Sequence[Facts], names: Iterable[str], subject: str) -> list[str]:
    """A sentence on facts that only some of the files have, so that they cannot be compared."""
    told = [name for name in names if 0 < sum(name in facts for facts in several) < len(several)]
    listed = ", ".join(told)
    return [f"Not all {subject} tell their {listed}: they are compared as if it were the same."] if told else []


def machine_of(facts: Facts) -> str | None:
    """The processor and its number of cores in words; None if the file does not name the processor."""
    if CPU not in facts:
        return None
    return f"{facts[CPU]}, {facts[CORES]} cores" if CORES in facts else facts[CPU]


def _text(value: object) -> str:
    """A plain value on one line; empty for None and for values that are not plain."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(str(value).split())[:SHOWN] if isinstance(value, (str, int, float)) else ""
