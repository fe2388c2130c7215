"""Find engines by their names, describe them on their devices, and open them. No torch before one is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from fgbench.errors import FgbenchError
from fgbench.measure.devices import describe_device, open_device, why_no_device
from fgbench.measure.engine import Engine
from fgbench.measure.load import check_load
from fgbench.measure.points import RunMode
from fgbench.options import DEVICES
from fgbench.packages import why_missing
from fgbench.plugins.code import foreign_code
from fgbench.plugins.kinds import engines
from fgbench.plugins.names import public_name, registered_engines


def find_engine(name: str, device: str | None = None) -> tuple[type[Engine], str]:
    """Find the engine that a name stands for, and the device that it runs on here.

    Args:
        name: A registered name, or one that the engines of several devices share, such as ``torch``.
        device: ``cuda`` or ``cpu``; the best that is there by default.

    Returns:
        The class, and the name of the device.

    Raises:
        UnknownNameError: For a name that no engine has.
        FgbenchError: With the reason, where the engine cannot be used here.

    """
    loaded: list[type[Engine]] = [engines.load(one) for one in registered_engines(name)]
    refusal: FgbenchError | None = None
    for wanted in DEVICES if device is None else (device,):
        for engine in loaded:
            if wanted not in engine.devices:
                continue
            if why := why_missing(engine.extra, engine.packages):
                refusal = FgbenchError(f"engine {name!r} cannot be used: {why}")
            elif why := why_no_device(wanted):
                elsewhere = "cpu" if any("cpu" in one.devices for one in loaded) else ""
                do = f"--device {elsewhere} measures here" if elsewhere else ""
                refusal = FgbenchError(f"cannot measure on {wanted}: {why}", do=do)
            elif why := engine.why_unusable(wanted):
                refusal = FgbenchError(f"engine {name!r} cannot be used on {wanted}: {why}")
            else:
                return engine, wanted
    if refusal is None:
        known = ", ".join(sorted({one for engine in loaded for one in engine.devices}))
        refusal = FgbenchError(f"engine {name!r} does not run on", device, f"it runs on: {known}")
    raise refusal


def describe_engine(name: str, device: str | None, modes: Sequence[RunMode]) -> dict[str, Any]:
    """Describe an engine on its device, and fill in the defaults of modes.

    Args:
        name: As :func:`find_engine` takes it.
        device: ``cuda`` or ``cpu``; the best that is there by default.
        modes: As they are asked for; their engine and device are filled in.

    Returns:
        Facts of :func:`fgbench.measure.devices.describe_device`, versions of ``torch`` and ``cuda``, torch's
        ``threads`` on a CPU. Under ``modes``, for each that the engine has, its ``mode``, what :meth:`Engine.describe`
        says of it, with a digest of its ``code`` where it is not fgbench's own, whether it ``exports`` and whether it
        is the ``reference`` of others; under ``refused`` why it does not have the others.

    Raises:
        FgbenchError: Where the engine cannot be used here, or has none of the modes.

    """
    import torch

    kind, found = find_engine(name, device)
    on_cpu = found == "cpu"
    shared = name if public_name(name) in engines.names() else public_name(name)
    settled: list[RunMode] = []
    refusals: list[FgbenchError] = []
    for mode in modes:
        try:
            check_load(replace(mode, device=found), shared, concurrent=kind.concurrent)
            settled.append(kind.settle(replace(mode, device=found, engine=shared)))
        except FgbenchError as error:
            refusals.append(error)
    if not settled:
        raise refusals[0]
    code = foreign_code(kind)
    return {
        **describe_device(found),
        "torch": torch.__version__,
        "cuda": None if on_cpu else torch.version.cuda,
        "threads": torch.get_num_threads() if on_cpu else None,
        "modes": [
            {
                "mode": asdict(mode),
                "engine": {**kind.describe(mode), **({"code": code} if code else {})},
                "exports": kind.exports(),
                "reference": kind.is_reference(mode),
                "runs_in_parts": kind.runs_in_parts,
                "takes_pictures": kind.takes_pictures,
            }
            for mode in settled
        ],
        "refused": list(map(str, refusals)),
    }


def why_unusable(name: str) -> str | None:
    """Why a registered engine cannot be used here, in words; None where it can be, on one device or more."""
    try:
        find_engine(name)
    except FgbenchError as error:
        return str(error).partition(";")[0]
    return None


def open_engine(mode: RunMode, uuid: str | None = None) -> Engine:
    """Open the engine and the device of a mode in this process.

    Args:
        mode: The mode, as :meth:`Engine.settle` returned it.
        uuid: Of the GPU; the first one by default.

    Returns:
        The engine, ready to load a subject.

    Raises:
        FgbenchError: Where the engine cannot be used, or does not have the mode.

    """
    device = open_device(mode.device, uuid)  # what others take of it is known only before this process uses it
    kind, _ = find_engine(mode.engine, mode.device)
    return kind(mode, device)
