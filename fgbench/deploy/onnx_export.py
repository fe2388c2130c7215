"""Export a network to ONNX with a batch of any size, its crops and its selection of tokens included."""

from __future__ import annotations

import contextlib
import copy
import glob
import io
import logging
import re
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from fgbench.deploy.translations import OPSET, translations
from fgbench.errors import FgbenchError
from fgbench.models.model import Model
from fgbench.models.outputs import Outputs
from fgbench.packages import need
from fgbench_selectors import Selector

INPUT, BATCH = "images", "batch"
EXAMPLE = 2  # images that are traced: one alone would look like a constant
NO_FUNCTION = re.compile(r"No ONNX function found for <OpOverload\(op='([^']+)', overload='([^']+)'\)>")


class ExportError(FgbenchError):
    """A network that cannot be exported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An ONNX file that was written."""

    outputs: tuple[str, ...]  # names
    opset: int
    seconds: float  # of the export
    file_bytes: int


def export_onnx(network: nn.Module, images: Tensor, path: Path, metadata: Mapping[str, str] | None = None) -> Exported:
    """Write a network as an ONNX file.

    Args:
        network: A published model or any network that gives logits, in evaluation mode on the CPU.
        images: Two images or more (B, 3, S, S); the file takes any number of them.
        path: Of the file.
        metadata: Written into the file, by name.

    Returns:
        What was written. The outputs are those of :class:`fgbench.models.outputs.Outputs`.

    Raises:
        ExportError: If it cannot be exported; its message names the operator, and the selector or module that has it.
        FgbenchError: If a package is not installed.

    """
    need("onnx", "onnx", "onnxscript")
    start = time.monotonic()
    graph = trace(network, images)
    outputs = tuple(graph.graph_signature.user_outputs)
    names = output_names(network, images)
    assert len(outputs) == len(names)
    try:
        with torch.inference_mode(False), _quiet():
            program: Any = torch.onnx.export(
                graph,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(names),
                custom_translation_table=translations(),
            )
    except Exception as error:
        raise ExportError(f"it cannot be exported to ONNX: {_untranslated(error, graph)}") from error
    _name_batch(program.model)
    program.model.metadata_props.update(metadata or {})
    program.save(str(path))
    return Exported(outputs=names, opset=OPSET, seconds=time.monotonic() - start, file_bytes=bytes_of(path))


def trace(network: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """The graph of a network with a batch of any size.

    Raises:
        ExportError: If it cannot be traced.

    """
    try:
        with torch.inference_mode(False), torch.no_grad(), _quiet():
            network, images = _ordinary(network, images)
            shapes = ({0: torch.export.Dim(BATCH, min=1)},)
            return torch.export.export(Outputs(network), (images,), dynamic_shapes=shapes, strict=False)
    except Exception as error:
        if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
            what = f"a scripted or traced network cannot be exported ({_untraced(error)})"
            raise ExportError(what, do="return the nn.Module that it was made from") from error
        raise ExportError(f"it cannot be exported: {_untraced(error)}") from error


def _ordinary(network: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
    """The same, as a copy where it was made in inference mode, whose tensors cannot be traced."""
    if any(tensor.is_inference() for tensor in (*network.parameters(), *network.buffers())):
        network = copy.deepcopy(network)
    return network, images.clone() if images.is_inference() else images


def output_names(network: nn.Module, images: Tensor) -> tuple[str, ...]:
    """The names of the outputs of a network, in their order."""
    with torch.inference_mode():
        return tuple(Outputs(network)(images[:1]))


def _untraced(error: BaseException) -> str:
    """Where the tracing of a network failed, and why."""
    where = _place(error.__traceback__)
    words = next((line for line in str(error).strip().splitlines() if line.strip()), type(error).__name__)
    return f"{where}: {words}" if where else words


def _place(trace: TracebackType | None) -> str | None:
    """The innermost module of the network on the stack, with its line; a selector by its name."""
    found: str | None = None
    for frame, line in traceback.walk_tb(trace):
        module, file = frame.f_locals.get("self"), Path(frame.f_code.co_filename)
        if isinstance(module, nn.Module) and "torch" not in file.parts and not isinstance(module, Outputs):
            kind = "selector" if isinstance(module, Selector) else "model" if isinstance(module, Model) else "module"
            found = f"{kind} {type(module).__name__}, line {line} of {file.name}"
    return found


def _untranslated(error: BaseException, graph: torch.export.ExportedProgram) -> str:
    """The operator that ONNX has no form of, and the module that has it; or what the first error says."""
    cause = error
    while True:
        if met := NO_FUNCTION.search(str(cause)):
            return _with_owner(met[1], met[2], graph)
        if cause.__cause__ is None:
            return _untraced(cause)
        cause = cause.__cause__


def _with_owner(name: str, overload: str, graph: torch.export.ExportedProgram) -> str:
    """An operator without a form in ONNX, with the module that has it: a selector, or the innermost one."""
    plain = name.rpartition(".")[2]  # what a network calls aten.special_bessel_j0 may fail as prims.bessel_j0
    nodes = [node for node in graph.graph.nodes if plain in str(node.target)]
    exact = [node for node in nodes if str(node.target) == f"{name}.{overload}"]
    for node in (exact or nodes)[:1]:
        stack = [kind for _, kind in (node.meta.get("nn_module_stack") or {}).values()]
        names = [kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}" for kind in stack]
        selector = next((f"selector {kind.rpartition('.')[2]}" for kind in names if _is_selector(kind)), None)
        owner = selector or (f"module {names[-1].rpartition('.')[2]}" if names else "the network")
        return f"{owner} has the operator {node.target}, which has no form in ONNX"
    return f"the network has the operator {name}.{overload}, which has no form in ONNX"


def _is_selector(name: str) -> bool:
    """Whether a class, by its full name, is a selector."""
    subclasses, known = [Selector], set[str]()
    while subclasses:
        kind = subclasses.pop()
        known.add(f"{kind.__module__}.{kind.__qualname__}")
        subclasses += kind.__subclasses__()
    return name in known


def _name_batch(model: Any) -> None:
    """Call the number of images "batch" wherever a shape depends on it."""
    symbol = re.compile(rf"\b{re.escape(str(model.graph.inputs[0].shape[0]))}\b")
    made = (value for node in model.graph for value in node.outputs)
    for value in [*model.graph.inputs, *made]:
        for axis, side in enumerate(value.shape or ()):
            if not isinstance(side, int) and side.value is not None:
                value.shape[axis] = symbol.sub(BATCH, str(side))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own words to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def data_of(path: Path) -> list[Path]:
    """The files beside a file of ONNX that hold its weights, where it has more than 2 GB."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}*data"))


def bytes_of(path: Path) -> int:
    """The bytes of a file of ONNX, with those beside it."""
    return sum(file.stat().st_size for file in (path, *data_of(path)))
