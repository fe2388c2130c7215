"""State of a training after an epoch, in one .safetensors file that is written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.files import read_metadata, read_weights, write_weights
from fgbench.models.model import Model
from fgbench.results.reading import parse_json

MODEL, OPTIMIZER = "model.", "optimizer."  # prefixes of names in the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a run."""

    epochs: int = 0  # finished
    seconds: float = 0.0  # spent on them, in all sessions
    best_top1_percent: float | None = None
    best_epoch: int | None = None  # from 1
    unreadable: tuple[int, ...] = ()  # training images that could not be read, by place


def save_state(path: Path, run: str, model: Model, optimizer: Optimizer, scaler: Any, progress: Progress) -> None:
    """Write the state of a run. It holds no random state: every epoch has seeds of its own.

    Args:
        path: The file.
        run: Key of the run.
        model: The model.
        optimizer: The optimizer, whose state must be tensors and numbers.
        scaler: The scaler of float16 gradients; None without one.
        progress: The progress.

    Raises:
        FgbenchError: The optimizer's state cannot be written.
    """
    tensors = {MODEL + name: tensor for name, tensor in model.state_dict().items()}
    state = optimizer.state_dict()
    plain: dict[str, Any] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{OPTIMIZER}{index}.{name}"] = value
            else:
                plain[f"{index}.{name}"] = value
    content = {
        "run": run,
        "progress": asdict(progress),
        "groups": state["param_groups"],
        "plain": plain,
        "scaler": None if scaler is None else scaler.state_dict(),
    }
    try:
        text = json.dumps(content)
    except TypeError as error:  # kron's lists of tensors
        do = "choose one whose state is tensors and numbers"
        raise FgbenchError("training cannot be resumed with this optimizer:", type(optimizer).__name__, do) from error
    write_weights(tensors, path, {"state": text})


def load_state(path: Path, run: str, model: Model, optimizer: Optimizer, scaler: Any) -> Progress:
    """Load the state of a run into model, optimizer and scaler.

    Args:
        path: The file.
        run: Key of the run.
        model: The model.
        optimizer: The optimizer.
        scaler: The scaler of float16 gradients; None without one.

    Returns:
        The progress; that of a new run where there is no file.

    Raises:
        FgbenchError: The file is damaged, of another run, or does not fit the model.
    """
    if not path.is_file():
        return Progress()
    try:
        content = parse_json(read_metadata(path)["state"])
        progress = Progress(**{**content["progress"], "unreadable": tuple(content["progress"]["unreadable"])})
        run_of_file, groups, plain = content["run"], content["groups"], content["plain"]
    except (KeyError, TypeError, ValueError) as error:
        raise FgbenchError("no training state in", str(path), "delete it, and the run begins anew") from error
    if run_of_file != run:
        raise FgbenchError("the training state is another run's:", str(path), "give another --checkpoints folder")
    tensors = read_weights(path)
    weights = {name.removeprefix(MODEL): tensor for name, tensor in tensors.items() if name.startswith(MODEL)}
    model.make_room(weights)
    try:
        model.load_state_dict(weights)
        optimizer.load_state_dict({"state": _per_parameter(tensors, plain), "param_groups": groups})
    except (RuntimeError, ValueError, KeyError) as error:
        do = "another version wrote it; delete it, and the run begins anew"
        raise FgbenchError("the training state does not fit the model:", str(path), do) from error
    if scaler is not None and content["scaler"]:
        scaler.load_state_dict(content["scaler"])
    return progress


def _per_parameter(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """The optimizer's state by the index of the parameter."""
    states: dict[int, dict[str, Any]] = {}
    values = {name.removeprefix(OPTIMIZER): value for name, value in tensors.items() if name.startswith(OPTIMIZER)}
    for name, value in {**values, **plain}.items():
        index, _, field = name.partition(".")
        states.setdefault(int(index), {})[field] = value
    return states
