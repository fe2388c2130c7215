"""The answers of a model: run on pictures, one or several at a time, in this process or in fresh ones."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fgbench.audit.agreement import Answers
from fgbench.audit.request import AuditRequest
from fgbench.deploy.pictures import drawn_pictures
from fgbench.errors import FgbenchError
from fgbench.explain.loaded_model import LoadedModel, load_model
from fgbench.models.outputs import Outputs, to_arrays
from fgbench.plugins.files import add_plugin_files

SEED = 0  # of the random numbers that a model may draw: only one question asks about them
LIMIT_S = 1800.0  # of a process


def pictures_of(request: AuditRequest, model: nn.Module) -> Tensor:
    """The drawn pictures (n, 3, S, S) that a model is asked about."""
    side = int(getattr(model, "image_size", request.image_size))
    return drawn_pictures(request.pictures, side, side)


def ask(network: nn.Module, pictures: Tensor, batches: Sequence[Sequence[int]], *, seeded: bool = True) -> Answers:
    """Run a network on pictures.

    Args:
        network: In evaluation mode, in the dtype and on the device of the pictures.
        pictures: (n, 3, S, S).
        batches: Indices of the pictures of each run.
        seeded: Whether each run begins with the same random numbers.

    Returns:
        An answer per picture, in the order of the pictures.

    """
    named = Outputs(network).eval()
    answers: dict[int, dict[str, Any]] = {}
    with torch.inference_mode():
        for batch in batches:
            if seeded:
                torch.manual_seed(SEED)
            found = to_arrays(named(pictures[list(batch)]))
            answers |= {index: {name: value[row] for name, value in found.items()} for row, index in enumerate(batch)}
    return [answers[index] for index in sorted(answers)]


def random_state() -> bytes:
    """The state of everything that random numbers are usually drawn from; it changes where one is drawn."""
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]
    return pickle.dumps(([state.tolist() for state in states], random.getstate(), np.random.get_state()))


def load(request: AuditRequest, name: str, device: torch.device, on_problem: Any) -> LoadedModel:
    """Load a model with the weights that were asked for."""
    return load_model(request, name, request.backbone, device, on_problem, request.num_classes)


def ask_in_a_process(request: AuditRequest, name: str, model: nn.Module, hash_seed: int) -> Answers:
    """Load a model in a fresh process, with the weights of a model of this one, and ask it there.

    Args:
        request: How the model is built.
        name: Of the model.
        model: Whose weights are loaded.
        hash_seed: Of the process's hashes: the order of what is kept in sets differs from process to process.

    Raises:
        FgbenchError: Where the process fails; with its last line.

    """
    with tempfile.TemporaryDirectory(prefix="fgbench-audit-") as folder:
        given, found = Path(folder) / "given", Path(folder) / "found.npz"
        weights = {key: value.cpu() for key, value in model.state_dict().items()}
        torch.save(weights, Path(folder) / "weights.pt")
        given.write_bytes(pickle.dumps((request, name)))
        command = [sys.executable, "-c", f"from {__name__} import answer; answer({str(folder)!r})"]
        environment = {
            **os.environ,
            "PYTHONHASHSEED": str(hash_seed),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, timeout=LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise FgbenchError(f"a process of its own had no answer within {LIMIT_S:g} s:", name) from error
        if done.returncode or not found.exists():
            why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise FgbenchError(f"{name!r} could not be asked in a process of its own: {why}")
        with np.load(found) as arrays:
            return [
                {key.partition(" ")[2]: arrays[key] for key in arrays.files if key.startswith(f"{index} ")}
                for index in range(request.pictures)
            ]


def answer(folder: str) -> None:
    """What a fresh process does: it loads a model and weights, asks it, and writes the answers."""
    request, name = pickle.loads((Path(folder) / "given").read_bytes())  # written by the process that waits
    add_plugin_files(request.plugins, lambda problem: None)
    device = device_of(request)
    loaded = load(request, name, device, lambda problem: None)
    loaded.model.load_state_dict(torch.load(Path(folder) / "weights.pt", weights_only=True))
    pictures = pictures_of(request, loaded.model)
    answers = ask(loaded.model, pictures.to(device), [range(len(pictures))])
    arrays = {f"{index} {key}": value for index, one in enumerate(answers) for key, value in one.items()}
    np.savez(Path(folder) / "found.npz", **arrays)  # type: ignore[arg-type]


def device_of(request: AuditRequest) -> torch.device:
    """The device that was asked for, or the best that is there."""
    if request.device == "cuda" and not torch.cuda.is_available():
        raise FgbenchError("there is no CUDA device here:", "--device cuda", "--device cpu runs everywhere")
    return torch.device(request.device or ("cuda" if torch.cuda.is_available() else "cpu"))
