"""Machines and settings of pytest-benchmark's files, and the differences that forbid a comparison."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

# Options of a benchmark that change its times, and those that change only how exact its median is.
CHANGING = ("disable_gc", "timer", "warmup")
SHARPENING = ("min_rounds", "max_time", "min_time")
# Facts of a file by what they are called; where they differ, times of the two are not compared.
CPU, CORES = "processor", "cores"
FACTS = {
    "machine": "architecture",
    "system": "operating system",
    "python_implementation": "Python implementation",
}
PLATFORM_CPU = "processor, as the platform names it,"  # that counts where a file does not name the processor itself
PYTHON = "Python"
PARAMETER = "parameter "  # before the name of one of a benchmark
SHOWN = 100  # characters of a value
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+")  # in the words for an object, other in every process
NO_REVISION = ("unknown", "unversioned", "none")
REMARKED = {"node": "host", "release": "kernel"}  # said, and compared all the same

Facts = Mapping[str, str]  # what a file tells, by its name; what it does not tell is missing


def facts_of(info: object) -> dict[str, str]:
    """The facts of ``machine_info`` that times depend on, and those that are remarked on."""
    if not isinstance(info, dict):
        return {}
    raw = info.get("cpu")
    cpu = raw if isinstance(raw, dict) else {}
    # py-cpuinfo named it "brand" before 5.0; without py-cpuinfo there is what the platform says.
    found = {CPU: cpu.get("brand_raw") or cpu.get("brand"), CORES: cpu.get("count")}
    found[PLATFORM_CPU] = info.get("processor")
    found |= {word: info.get(name) for name, word in (FACTS | REMARKED).items()}
    version = info.get("python_version")
    found[PYTHON] = ".".join(version.split(".")[:2]) if isinstance(version, str) else None
    return {name: text for name, value in found.items() if (text := _text(value))}


def options_of(benchmark: Mapping[str, object]) -> dict[str, str]:
    """The options that a benchmark was measured with, and its parameters, which its name may not tell."""
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
    """The facts of these names that are told differently, with what they are told to be."""
    told = {name: list(dict.fromkeys(facts[name] for facts in several if name in facts)) for name in names}
    return {name: values for name, values in told.items() if len(values) > 1}


def other_settings(options: Sequence[Facts]) -> str:
    """Why a benchmark cannot be compared: the options that differ, in words; empty where none does."""
    found = differing(options, [*CHANGING, *_parameters(options)])
    told = "; ".join(f"{name} {' and '.join(value[:SHOWN] for value in values)}" for name, values in found.items())
    return f"measured with other settings: {told}; measure both with the same" if told else ""


def _parameters(options: Sequence[Facts]) -> list[str]:
    return [name for name in dict.fromkeys(name for told in options for name in told) if name.startswith(PARAMETER)]


def other_places(files: Sequence[Facts]) -> str:
    """Why files cannot be compared: the facts that differ, in words; empty where none does."""
    told = []
    if differing(files, (CPU, CORES)):
        machines = dict.fromkeys(machine for facts in files if (machine := machine_of(facts)))
        told.append(f"the files come from different machines: {'; '.join(machines)}")
    named = all(CPU in facts for facts in files)
    others = differing(files, (*FACTS.values(), PYTHON, *(() if named else (PLATFORM_CPU,))))
    told += [f"the files have different {name}: {'; '.join(values)}" for name, values in others.items()]
    return f"{', and '.join(told)}; measure both on one" if told else ""


def out_of_turn(old: Iterable[str | None], new: Iterable[str | None]) -> str:
    """Why files cannot be compared that were not given as old, new, old, new; empty where revisions do not show it."""
    before, after = ({one for one in side if one and one.lower() not in NO_REVISION} for side in (old, new))
    if not before & after or len(before | after) < 2:
        return ""
    both = ", ".join(sorted(one[:12] for one in before & after))
    return f"old and new files are of the same revision {both}; give them in turn: old new old new"


def remarks(files: Sequence[Facts], options: Sequence[Facts]) -> list[str]:
    """What differs and is compared all the same, a sentence each."""
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
    """What some tell and others do not, so that nothing shows whether it is the same."""
    told = [name for name in names if 0 < sum(name in facts for facts in several) < len(several)]
    listed = ", ".join(told)
    return [f"Not all {subject} tell their {listed}: they are compared as if it were the same."] if told else []


def machine_of(facts: Facts) -> str | None:
    """The processor and its cores in words; None where the file does not name the processor."""
    if CPU not in facts:
        return None
    return f"{facts[CPU]}, {facts[CORES]} cores" if CORES in facts else facts[CPU]


def _text(value: object) -> str:
    """A plain value on one line; nothing for what is none, or no plain value."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(str(value).split())[:SHOWN] if isinstance(value, (str, int, float)) else ""
