"""The common part of engines that run an ONNX file: they share one file per subject."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from fgbench.deploy.onnx_export import EXAMPLE, export_onnx
from fgbench.errors import FgbenchError
from fgbench.measure.engine import Engine
from fgbench.measure.points import RunMode
from fgbench.measure.subject import Subject, TakesImages
from fgbench.results.environment import cores

FILE, FACTS = "model.onnx", "model.json"


class OnnxEngine(Engine):
    """Runs the ONNX file of a subject."""

    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxscript")
    extra = "onnx"

    @classmethod
    def settle(cls, mode: RunMode) -> RunMode:
        """Fill in the threads: as many as torch takes, so that engines are compared with as many."""
        threads = mode.threads or (torch.get_num_threads() if mode.device == "cpu" else None)
        return super().settle(replace(mode, threads=threads or cores()))

    def why_not(self, subject: Subject) -> str | None:
        """Only what reads images has a file."""
        return None if isinstance(subject, TakesImages) else "it does not read images"

    def export(self, subject: Subject, folder: Path) -> Mapping[str, Any]:
        """Write the ONNX file of the subject, where it is not there yet; quantized, where the mode says so."""
        facts = folder / FACTS
        if not facts.exists():
            network = subject.build("cpu")
            (images,) = subject.inputs(EXAMPLE)
            exported = export_onnx(network, images, folder / FILE)
            facts.write_text(json.dumps(asdict(exported)), encoding="utf-8")
        known = json.loads(facts.read_text(encoding="utf-8"))
        found = {"export_s": known["seconds"], "file_bytes": known["file_bytes"], "opset": known["opset"]}
        return {**found, **(self.quantize(subject, folder) if self.mode.dtype == "int8" else {})}

    def quantize(self, subject: Subject, folder: Path) -> Mapping[str, Any]:
        """Write the file in int8. Returns facts: the time, the bytes, the calibration."""
        raise NotImplementedError

    def exported(self) -> tuple[Path, list[str]]:
        """The ONNX file of the subject, and the names of its outputs."""
        if self.folder is None:
            raise FgbenchError(f"engine {self.shown_name()!r} needs a file that was exported before it loads")
        return self.exported_in(self.folder)

    @staticmethod
    def exported_in(folder: Path) -> tuple[Path, list[str]]:
        """The ONNX file in a folder, and the names of its outputs."""
        return folder / FILE, json.loads((folder / FACTS).read_text(encoding="utf-8"))["outputs"]
