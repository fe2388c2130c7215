"""The frame around every command: lists of values, one clear line per error, exit codes. No torch."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from typer import Exit
from typer.core import TyperCommand, TyperGroup

from fgbench.errors import CannotMeasureError, FgbenchError, InterruptError
from fgbench.options import OUTPUT_SECTION
from fgbench.plugins import tried_first
from fgbench.results.escaping import log_line, sentence
from fgbench.results.output import leave_without_reader, stdout_failed
from fgbench.values import spread_values
from fgbench_selectors.interrupts import interrupts_noted

DONE, USAGE, INTERNAL = 0, 2, 3
LONG_HELP = 12  # options, above which a command's help has sections
LONGEST_LINE = 6000  # letters; the longest path of a system has 4096
_UNTYPED = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")  # letters that no system passes on, nor any name of a file has
_OWN = ("fgbench", "fgbench_selectors", "fgbench_reports")
_SHORT = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)


class ListCommand(TyperCommand):
    """A command whose repeatable options also take several values after one flag."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Spread the values before typer sees them."""
        flags = [flag for param in self.params if getattr(param, "multiple", False) for flag in param.opts]
        try:
            with _showing_help():
                return super().parse_args(ctx, spread_values(args, flags))
        except Exception as error:
            if getattr(error, "ctx", ctx) is None:
                vars(error)["ctx"] = ctx  # typer forgets whose option lacks its value
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options; those of a long command in sections."""
        records = [(param, record) for param in self.get_params(ctx) if (record := param.get_help_record(ctx))]
        sections: dict[str, list[Any]] = {}
        for param, record in records:
            if param.param_type_name == "argument":
                section = "Arguments"
            elif len(records) > LONG_HELP:
                section = getattr(param, "rich_help_panel", None) or OUTPUT_SECTION
            else:
                section = "Options"
            sections.setdefault(section, []).append(record)
        if (last := sections.pop(OUTPUT_SECTION, None)) is not None:
            sections[OUTPUT_SECTION] = last
        for section, lines in sections.items():
            with formatter.section(section):
                formatter.write_dl(lines)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        _check_folder()
        return super().invoke(ctx)


class FgbenchGroup(TyperGroup):
    """Turns every error into one line on stderr and its exit code; ``--debug`` shows the traceback."""

    def main(self, args: Sequence[str] | None = None, *_: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command line; exit with its code, or return it outside of standalone mode."""
        words = list(sys.argv[1:] if args is None else args)
        words = [_UNTYPED.sub("\ufffd", word) for word in words]
        code = self._run([word for word in words if word != "--debug"] or ["--help"], "--debug" in words, extra)
        if standalone_mode:
            sys.exit(code)
        return code

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read the command line, and show help where it asks for it."""
        with _before_typer(), _showing_help():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _before_typer():
            return super().invoke(ctx)

    def _main_shell_completion(self, *args: Any, **extra: Any) -> None:
        """Complete words for a shell, which asks by environment variables; a person may set them wrong."""
        try:
            super()._main_shell_completion(*args, **extra)
        except (KeyError, ValueError) as error:
            do = "leave _FGBENCH_COMPLETE to the shell"
            raise FgbenchError("variables of a shell's completion are wrong:", str(error), do) from error
        except SystemExit as error:  # typer has said why
            raise SystemExit(USAGE if error.code == 1 else error.code) from error

    def _run(self, args: list[str], debug: bool, extra: dict[str, Any]) -> int:
        extra["prog_name"] = "fgbench"
        try:
            with interrupts_noted(), tried_first():
                result = super().main(args, standalone_mode=False, **extra)
        except FgbenchError as error:
            if debug:
                raise
            complain(error)
            return error.exit_code
        except Exception as error:
            if debug:
                raise
            # typer's usage errors; which module they live in depends on its version
            if hasattr(error, "format_message"):
                complain(_usage(error))
                return USAGE
            if (known := _of_the_system(error) or _of_a_library(error)) is not None:
                complain(known)
                return known.exit_code
            complain(f"internal error: {type(error).__name__}: {error}; --debug shows where")
            return INTERNAL
        return result if isinstance(result, int) else DONE


@contextmanager
def _before_typer() -> Iterator[None]:
    """Handle Ctrl-C and a closed pipe before typer does: it says nothing, or ends with exit code 1."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise InterruptError("interrupted") from error
    except BrokenPipeError:
        leave_without_reader()


@contextmanager
def _showing_help() -> Iterator[None]:
    """Turn an error while help is written into one line: the disk may be full."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        raise stdout_failed(error) from error


def _of_a_library(error: Exception) -> FgbenchError | None:
    """The error of a library that is imported, in words: most libraries read environment variables then."""
    frames = [
        (str(frame.f_globals.get("__name__")).partition(".")[0], frame.f_code.co_name)
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    loaded = [name for name, function in frames if function == "<module>" and name not in (*_OWN, "__main__")]
    if not loaded or frames[-1][0] in _OWN:
        return None
    said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    do = "is one of its environment variables wrong, or its installation?"
    return FgbenchError(f"{loaded[0]} does not load ({said})", do=do)


def _check_folder() -> None:
    """Refuse to work in a folder that was deleted: libraries do not load there, and names lead nowhere."""
    try:
        os.getcwd()  # noqa: PTH109
    except OSError as error:
        raise FgbenchError("the working directory is gone", do="change to another one") from error


def _of_the_system(error: Exception) -> FgbenchError | None:
    """An error of the operating system in words; None for an error of the program."""
    if isinstance(error, MemoryError):
        return CannotMeasureError("there is not enough memory for this")
    if not isinstance(error, OSError) or error.errno is None:
        return None
    kind = CannotMeasureError if error.errno in _SHORT else FgbenchError
    return kind("the system refuses", error.filename, error.strerror or str(error))


def complain(what: object) -> None:
    """One line on stderr, where there is one."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(log_line(f"fgbench: {_shortened(sentence(what))}"), file=sys.stderr)


class _Problems(list[FgbenchError]):
    """Problems, each told when it is met, and once: a plug-in may be broken with every backbone."""

    def append(self, problem: FgbenchError) -> None:
        if str(problem) not in map(str, self):
            complain(problem)
            super().append(problem)


@contextmanager
def problems_told(*, at_once: bool = False) -> Iterator[list[FgbenchError]]:
    """A list for problems that do not end the work; the command ends with the largest of their exit codes.

    They are told when the work is done, however it ended, or with ``at_once`` when they are met: before work of hours.
    """
    problems = _Problems() if at_once else list[FgbenchError]()
    try:
        yield problems
    finally:
        for problem in () if at_once else problems:
            complain(problem)
    if code := max((problem.exit_code for problem in problems), default=DONE):
        raise Exit(code)


def ignore_interrupts() -> None:
    """Ignore Ctrl-C from here on: a second one must not cost what the first one kept."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _shortened(line: str) -> str:
    """Both ends of a long line: an exception of a library may hold all of its data."""
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} … {line[-half:]}"


def show_what_libraries_say() -> None:
    """Show warnings, log records and tracebacks of libraries as all other text: they hold text from data, too."""
    warnings.showwarning = lambda message, category, *_: complain(f"{category.__name__}: {message}")
    if logging.lastResort is not None:
        logging.lastResort.emit = lambda record: complain(record.getMessage())  # type: ignore[method-assign]
    sys.excepthook = _show_traceback


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write("\n".join(map(log_line, text.split("\n"))))


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "fgbench"
    message = error.format_message().rstrip(".") or "no command was given"
    return f"{message}; '{command} --help' shows what there is"
