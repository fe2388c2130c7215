"""What is made once for several points: exported files of models, and the outputs that others are compared with."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fgbench.errors import FgbenchError
from fgbench.measure.points import ModelSpec, PointGroup, RunMode
from fgbench.results.records import Status
from fgbench.sweep.export_folder import ExportFolder
from fgbench.workers.pool import WorkerFailed, WorkerPool

KEPT, ROOM = 4, 20 * 2**30  # models whose files are kept at least; more, as long as the disk has so many bytes

Tick = Callable[[], None]


class CannotExportError(FgbenchError):
    """A model that an engine cannot load, since it cannot be exported."""


class Preparations:
    """Exported files and reference outputs, each made in a worker of its own, whose memory counts for nothing."""

    def __init__(self) -> None:
        self._folder: ExportFolder | None = None
        self._folders: dict[ModelSpec, Path] = {}
        self._exported: dict[tuple[ModelSpec, RunMode], Mapping[str, Any] | WorkerFailed] = {}
        self._references: dict[tuple[ModelSpec, str], Mapping[str, Any] | WorkerFailed] = {}

    def folder(
        self, pool: WorkerPool, group: PointGroup, uuid: str | None, limit_s: float, plugins: list[str], tick: Tick
    ) -> str:
        """The folder with the files that the engine of a group loads; they are exported, where they are not there.

        Args:
            pool: Forks the worker.
            group: The model, and the mode of its engine.
            uuid: Of the GPU.
            limit_s: Seconds for the export.
            plugins: Plug-in files.
            tick: Called every few seconds meanwhile.

        Raises:
            CannotExportError: The model cannot be exported.
            WorkerFailed: The export has no end, or not a good one.

        """
        case, folder = group.case, self._folder_of(group.case)
        key = case, group.mode.unloaded
        if key not in self._exported:
            arguments = {"case": asdict(case), "mode": asdict(group.mode), "uuid": uuid, "folder": str(folder)}
            try:
                self._exported[key] = _ask(pool, "export", limit_s, plugins, tick, arguments)["facts"]
            except WorkerFailed as failure:
                self._exported[key] = _of_export(failure)
        found = self._exported[key]
        if isinstance(found, WorkerFailed):
            if found.refused:
                raise CannotExportError(f"{group.label}: {found.reason}")
            raise found
        return str(folder)

    def export_facts(self, group: PointGroup) -> Mapping[str, Any] | None:
        """What is known of the export of a group: its time, its bytes."""
        found = self._exported.get((group.case, group.mode.unloaded))
        return None if isinstance(found, WorkerFailed) else found

    def reference(
        self, pool: WorkerPool, group: PointGroup, device: str, limit_s: float, plugins: list[str], tick: Tick
    ) -> Mapping[str, Any] | None:
        """The outputs of a model in torch's float32; None where it does not run, as :meth:`why_no_reference` says."""
        key = group.case, device
        if key not in self._references:
            arguments = {"case": asdict(group.case), "device": device}
            try:
                self._references[key] = _ask(pool, "reference", limit_s, plugins, tick, arguments)
            except WorkerFailed as failure:
                self._references[key] = failure
        found = self._references[key]
        return None if isinstance(found, WorkerFailed) else found

    def why_no_reference(self, group: PointGroup, device: str) -> str | None:
        """Why there is nothing to compare the outputs of a group with."""
        found = self._references.get((group.case, device))
        return f"torch in float32 did not run: {found.reason}" if isinstance(found, WorkerFailed) else None

    def close(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            self._folder.close()
        self._folder, self._folders, self._exported = None, {}, {}

    def _folder_of(self, case: ModelSpec) -> Path:
        if self._folder is None:
            self._folder = ExportFolder()
        folder = self._folders.pop(case, None)
        if folder is None:
            while len(self._folders) >= KEPT and shutil.disk_usage(self._folder.path).free < ROOM:
                oldest = next(iter(self._folders))
                shutil.rmtree(self._folders.pop(oldest), ignore_errors=True)
                self._exported = {key: facts for key, facts in self._exported.items() if key[0] != oldest}
            folder = Path(tempfile.mkdtemp(dir=self._folder.path))
        self._folders[case] = folder  # the last one of them: those that were not used for long go first
        return folder


def _of_export(failure: WorkerFailed) -> WorkerFailed:
    """A failure of an export as one of a point: no batch of any size is the reason for it."""
    if failure.refused:
        return failure
    status = Status.ERROR if failure.status is Status.OOM else failure.status
    return WorkerFailed(status, f"its export failed: {failure.reason}", log=failure.log)


def _ask(
    pool: WorkerPool, do: str, limit_s: float, plugins: list[str], tick: Tick, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Ask a fresh worker. Raises :class:`WorkerFailed`."""
    with pool.fork() as worker:
        if plugins:
            worker.ask("plugins", limit_s, tick=tick, files=plugins)
        return worker.ask(do, limit_s, tick=tick, **arguments)
