"""The contract of every engine: it loads a subject on a device, and runs it batch by batch. No torch.

An engine is one class in one file. It is registered in the entry-point group ``fgbench.engines`` or comes from a file
that ``--plugin`` names. The measurement asks it for a clock, for figures of memory and for a counter of energy; the
engine has those of its device unless it brings its own.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fgbench.errors import FgbenchError
from fgbench.measure.clocks import Clock, HostClock, Step, WaitingQueue
from fgbench.measure.devices import Device
from fgbench.measure.parts import HostMarks, InParts, Marks
from fgbench.measure.points import RunMode
from fgbench.options import DEVICES, ENGINE_DTYPES
from fgbench.plugins.names import public_name
from fgbench.results.environment import cores

if TYPE_CHECKING:
    from torch import Tensor

    from fgbench.measure.energy import Queue
    from fgbench.measure.subject import Subject
    from fgbench.measure.watch import Watch

NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc",
             "alloc_failed", "failed to allocate")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of a loaded subject, ready to be run any number of times."""

    run: Step  # returns the output of the subject
    facts: Mapping[str, Any] = field(default_factory=dict)  # kept beside the row
    # Images (B, 3, S, S) → arrays by name: "logits", and "selected" and "boxes" where the subject selects.
    outputs: Callable[[Tensor], Mapping[str, Any]] | None = None
    # A number from 1 on → a step on inputs of its own, which may run at the same time as ``run`` and the other ones.
    another: Callable[[int], Step] | None = None
    in_parts: InParts | None = None  # runs it stage by stage; None where the engine cannot
    feed: Callable[[Any], object] | None = None  # images (B, 3, S, S), float32 on the host, in place of its inputs


PrepareBatch = Callable[[int], Batch]  # a batch size → the batch


class Engine(ABC):
    """One way to run a subject on a device, in one mode.

    Args:
        mode: The mode, as :meth:`settle` returned it.
        device: The device that the mode names.

    """

    name: ClassVar[str] = ""  # that people type; empty: the class's own in lower case
    devices: ClassVar[tuple[str, ...]] = ("cpu",)  # that it can run on, out of DEVICES
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)  # precisions, as --dtype names them
    packages: ClassVar[tuple[str, ...]] = ()  # that it imports, and fgbench does not need
    extra: ClassVar[str] = ""  # of fgbench, that has these packages
    concurrent: ClassVar[bool] = False  # whether batches have ``another``: several of them run at once in threads
    shares_threads: ClassVar[bool] = True  # whether batches that run at once share the engine's threads
    first_passes: ClassVar[int] = 1  # before a pass is typical: 2 where kernels are compiled in the first
    runs_in_parts: ClassVar[bool] = False  # whether its batches can run stage by stage, eagerly
    takes_pictures: ClassVar[bool] = False  # whether its batches can be fed

    def __init__(self, mode: RunMode, device: Device) -> None:
        self.mode, self.device = mode, device
        self.folder: Path | None = None  # of the files that export has written

    @classmethod
    def why_unusable(cls, device: str) -> str | None:
        """Why this engine cannot be used on a device here; None where it can. Its packages are there.

        Args:
            device: One of :attr:`devices`, which is there.

        Returns:
            The reason in words, such as a library that is not installed.

        """
        return None

    @classmethod
    def shown_name(cls) -> str:
        """The name of the engine in rows and messages."""
        return public_name(cls.name or cls.__name__.lower())

    @classmethod
    def settle(cls, mode: RunMode) -> RunMode:
        """Fill in the defaults of a mode.

        Args:
            mode: The mode that was asked for.

        Returns:
            The mode as it is measured; on a CPU with its number of threads.

        Raises:
            FgbenchError: For a mode that this engine does not have.

        """
        cls.check_dtype(mode.dtype)
        cls.refuse_options(mode)
        if mode.memory_limit_bytes is not None and mode.device != "cpu":
            raise FgbenchError(f"engine {cls.shown_name()!r} has no limit of memory on", mode.device)
        return replace(mode, threads=(mode.threads or cores()) if mode.device == "cpu" else None)

    @classmethod
    def refuse_options(cls, mode: RunMode) -> None:
        """Raise :class:`FgbenchError` for an option that only torch itself has."""
        for option in ("compiled", "channels_last", "cuda_graph", "training"):
            if getattr(mode, option):
                raise FgbenchError(f"engine {cls.shown_name()!r} has no mode", option)

    @classmethod
    def check_dtype(cls, dtype: str) -> None:
        """Raise :class:`FgbenchError` for a precision that this engine does not have."""
        if dtype not in cls.dtypes:
            known = ", ".join(cls.dtypes)
            raise FgbenchError(f"engine {cls.shown_name()!r} does not compute in", dtype, f"it has: {known}")

    @classmethod
    def describe(cls, mode: RunMode) -> dict[str, Any]:
        """Describe the engine in a mode, for the environment of a row and the key of its point.

        Args:
            mode: The mode, as :meth:`settle` returned it.

        Returns:
            ``version``, ``provider``, ``precision``, ``threads``, and whatever else could change a figure; ready for
            JSON.

        """
        return {"version": None, "provider": mode.device, "precision": mode.dtype, "threads": mode.threads}

    @classmethod
    def is_reference(cls, mode: RunMode) -> bool:
        """Whether the outputs in a mode are those that all others are compared with: torch's in float32."""
        return False

    def export(self, subject: Subject, folder: Path) -> Mapping[str, Any]:
        """Write the files that :meth:`load` reads, in a process of its own: what that takes is not measured.

        An engine that has this method finds the folder in :attr:`folder` when it loads. Engines share the folder of a
        subject, and what one has written another need not write again.

        Args:
            subject: It builds its network.
            folder: Where the files go.

        Returns:
            Facts for the environment of rows, ready for JSON, such as the seconds and the bytes.

        Raises:
            FgbenchError: Where the subject cannot be exported; it names what is in the way.

        """
        return {}

    @classmethod
    def exports(cls) -> bool:
        """Whether the engine writes files before it loads a subject."""
        return cls.export is not Engine.export

    def why_not(self, subject: Subject) -> str | None:
        """Why this engine cannot load a subject; None where it can, as far as is known before it is tried."""
        return None

    @abstractmethod
    def load(self, subject: Subject) -> PrepareBatch:
        """Load a subject on the device.

        Args:
            subject: It builds its network and makes its inputs on the device that the engine names.

        Returns:
            A function from a batch size to a :class:`Batch`. A :class:`Batch` may be run until the next one is made.

        Raises:
            Exception: Whatever goes wrong; the row of the point holds it.

        """

    def clock(self, step: Step, glance: Callable[[], None] = lambda: None) -> Clock:
        """The clock that times a step; it calls ``glance`` while the device works, or between iterations."""
        return HostClock(step, self.synchronize, glance)

    def marks(self) -> Marks:
        """Notes the times between the parts of a run."""
        return HostMarks(self.synchronize)

    def queue(self, step: Step) -> Queue:
        """Iterations of a step that are launched while energy is counted."""
        return WaitingQueue(step, self.synchronize)

    def synchronize(self) -> None:  # noqa: B027  # most engines have nothing to wait for
        """Wait until the device has finished; for an engine whose runs return before they have ended."""

    def watch(self, missing: dict[str, str]) -> Watch:
        """Start to note memory and disturbances; ``missing`` receives by field why a figure is missing."""
        return self.device.watch(missing, self.threads * (1 if self.shares_threads else self.mode.concurrency or 1))

    def enter_thread(self) -> None:  # noqa: B027  # most engines have nothing to set
        """Called in every thread that serves requests, before the first one."""

    @property
    def threads(self) -> int:
        """Threads that compute on the host."""
        return self.mode.threads or cores()

    def limit_memory(self) -> None:
        """Refuse allocations beyond the mode's limit, or beyond what is free, before the system ends the process."""
        self.device.limit_memory(self.mode.memory_limit_bytes)

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an exception says that memory ran out."""
        return is_out_of_memory(error)

    def close(self) -> None:  # noqa: B027  # most engines set nothing
        """Undo what the engine has set in this process."""


def is_out_of_memory(error: BaseException | None, kinds: tuple[type[BaseException], ...] = (MemoryError,)) -> bool:
    """Whether an exception, or one that led to it, says that memory ran out.

    Args:
        error: The exception.
        kinds: Exceptions that say so by their class; others are known by their words.

    Returns:
        True where it does.

    """
    while error is not None:
        if isinstance(error, kinds):
            return True
        if isinstance(error, (RuntimeError, OSError)) and has_words_of_no_memory(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def has_words_of_no_memory(error: BaseException) -> bool:
    """Whether the message of an exception says that memory ran out."""
    return any(words in str(error).lower() for words in NO_MEMORY)


def first_line(error: BaseException) -> str:
    """The message of an exception, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def engine_breach(candidate: object) -> str | None:
    """Why an object is no engine class, in words; None when it is one."""
    if not (isinstance(candidate, type) and issubclass(candidate, Engine)):
        return "it must be a class derived from fgbench.measure.engine.Engine"
    if inspect.isabstract(candidate) or not callable(candidate.load):
        return "it has no method 'load(subject)'"
    for attribute, known in (("devices", DEVICES), ("dtypes", ENGINE_DTYPES)):
        names = getattr(candidate, attribute)
        if not isinstance(names, tuple) or not names or not all(isinstance(name, str) for name in names):
            return f"its attribute {attribute!r} must be a tuple of names, got {names!r}"
        if attribute == "devices" and not set(names) <= set(known):
            return f"its attribute 'devices' must be a tuple out of {known}, got {names!r}"
    return None
