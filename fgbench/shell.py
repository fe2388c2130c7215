"""The frame around every command: lists of values, one clear line per error, exit codes. No torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from fgbench.arguments import spread_values
from fgbench.errors import FgbenchError

DONE, USAGE, INTERRUPTED = 0, 2, 130


class ListCommand(TyperCommand):
    """A command whose repeatable options also take several values after one flag."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Spread the values before typer sees them."""
        flags = [flag for param in self.params if getattr(param, "multiple", False) for flag in param.opts]
        return super().parse_args(ctx, spread_values(args, flags))


class FgbenchGroup(TyperGroup):
    """Turns every error into one line on stderr and its exit code; ``--debug`` shows the traceback."""

    def main(self, args: Sequence[str] | None = None, *_: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command line; exit with its code, or return it outside of standalone mode."""
        words = list(sys.argv[1:] if args is None else args)
        code = self._run([word for word in words if word != "--debug"] or ["--help"], "--debug" in words, extra)
        if standalone_mode:
            sys.exit(code)
        return code

    def _run(self, args: list[str], debug: bool, extra: dict[str, Any]) -> int:
        extra["prog_name"] = "fgbench"
        try:
            result = super().main(args, standalone_mode=False, **extra)
        except (FgbenchError, KeyboardInterrupt) as error:
            if debug:
                raise
            complain("interrupted" if isinstance(error, KeyboardInterrupt) else error)
            return INTERRUPTED if isinstance(error, KeyboardInterrupt) else error.exit_code
        except Exception as error:
            # typer's usage errors; which module they live in depends on its version
            if debug or not hasattr(error, "format_message"):
                raise
            complain(_usage(error))
            return USAGE
        return result if isinstance(result, int) else DONE


def complain(what: object) -> None:
    """One line on stderr."""
    print(f"fgbench: {' '.join(str(what).split())}", file=sys.stderr)


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "fgbench"
    message = error.format_message().rstrip(".") or "no command was given"
    return f"{message}; '{command} --help' shows what there is"
