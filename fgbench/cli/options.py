"""Options of requests as parameters of commands, and options that commands share beside their requests."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Optional, get_type_hints

import typer

from fgbench.errors import FgbenchError
from fgbench.options import (
    BASELINE,
    DEFAULT_STORE,
    FORMAT,
    KEEP_RATES,
    OUTPUT,
    OUTPUT_SECTION,
    PLUGINS,
    REDUCTIONS,
    ROWS,
    STORE,
    STORE_VARIABLE,
    Option,
    from_words,
    options_of,
)
from fgbench.results.output import check_output
from fgbench.results.reduced_name import reduced_names
from fgbench.values import output_format

ROWS_SECTION = "Saved rows"
MODELS_SECTION = "Token reduction"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginOptions:
    """Files of plug-ins."""

    plugins: Annotated[Sequence[str], PLUGINS, OUTPUT_SECTION] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """The store that results are kept in."""

    store: Annotated[Path, STORE, OUTPUT_SECTION] = Path(DEFAULT_STORE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineOptions:
    """A model that others are compared with; None: no comparison."""

    baseline: Annotated[str | None, BASELINE, OUTPUT_SECTION] = None

    def check_among(self, models: Iterable[str]) -> None:
        """Refuse a baseline that is none of these models.

        Raises:
            FgbenchError: With the models that are there.

        """
        from fgbench_reports.relative import is_same_model

        there = list(dict.fromkeys(models))
        if self.baseline is not None and not any(is_same_model(model, self.baseline) for model in there):
            do = f"one of: {', '.join(there)}" if there else "there are no rows of models"
            raise FgbenchError("--baseline must be one of the models, got", self.baseline, do)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReductionOptions:
    """Reductions of the models' tokens, and the shares that they keep."""

    reductions: Annotated[Sequence[str] | None, REDUCTIONS, MODELS_SECTION] = None
    keep_rates: Annotated[Sequence[float] | None, KEEP_RATES, MODELS_SECTION] = None

    def check(self) -> None:
        """Refuse shares of no reduction, and reductions that are not known. Raises :class:`FgbenchError`."""
        if self.keep_rates is not None and self.reductions is None:
            raise FgbenchError("--keep-rate is a share of tokens that --reduction keeps", do="add --reduction evit")

    def of(self, models: Sequence[str] | None, otherwise: Sequence[str] | None) -> Sequence[str] | None:
        """The names of models with every reduction at every rate.

        Args:
            models: Names that were typed, or a default.
            otherwise: The default; where it was not changed, the plain ViT is reduced.

        Returns:
            Names as ``vit+evit@0.7``; ``models`` where no reduction was asked for.

        """
        if self.reductions is None:
            return models
        base = ("vit",) if models is None or tuple(models) == tuple(otherwise or ()) else models
        return reduced_names(base, self.reductions, self.keep_rates or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRowsOptions:
    """Rows that were saved before."""

    rows: Annotated[Sequence[str], ROWS, ROWS_SECTION] = ()
    store: Annotated[
        Path | None,
        STORE.but(help="a store", variable=None, default=f"{STORE_VARIABLE} or {DEFAULT_STORE}, without --rows"),
        ROWS_SECTION,
    ] = None

    @property
    def files(self) -> list[Path]:
        """The files of rows."""
        return [Path(name) for name in self.rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """The format of a result, and its file; None: standard output."""

    format: Annotated[str | None, FORMAT, OUTPUT_SECTION] = None
    output: Annotated[Path | None, OUTPUT, OUTPUT_SECTION] = None

    @property
    def style(self) -> str:
        """The format, of the file's suffix where none was asked for."""
        return output_format(self.format, self.output)

    @property
    def to_file(self) -> bool:
        """Whether there is a file."""
        return self.output is not None

    def check(self) -> None:
        """Refuse a suffix of no format, and what cannot be written."""
        output_format(self.format, self.output)
        check_output(self.output)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command as typer takes it: with a parameter for every option of its requests.

    Args:
        command: A function whose parameters are dataclasses, with fields that carry options. A dataclass that has a
            method ``check`` is checked when all of them are made.

    Returns:
        A function of the same name and docstring that makes the dataclasses out of what was typed.

    """
    hints = {name: hint for name, hint in get_type_hints(command).items() if name != "return"}

    def run(**typed: Any) -> None:
        requests = {name: request(**from_words(request, typed)) for name, request in hints.items()}
        for request in requests.values():
            if hasattr(request, "check"):
                request.check()
        command(**requests)

    parameters = [parameter for request in hints.values() for parameter in _parameters(request)]
    functools.update_wrapper(run, command, assigned=("__module__", "__name__", "__doc__"), updated=())
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(run)["__signature__"] = inspect.Signature(parameters)
    return run


def _parameters(request: type) -> list[inspect.Parameter]:
    defaults = {field.name: field.default for field in fields(request)}
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_typer_parameter(option, defaults[name]),
            annotation=_typed_as(option),
        )
        for name, option in options_of(request).items()
    ]


def _typed_as(option: Option) -> Any:
    """The type of what is typed, for typer: words, which the option itself reads."""
    if option.metavar is None:
        return bool
    return Optional[list[str]] if option.many else Optional[str]  # noqa: UP045  # typer evaluates it on Python 3.10


def _typer_parameter(option: Option, default: Any) -> Any:
    """The parameter of an option; a default of MISSING makes it required."""
    if not option.flags:
        required = ... if default is MISSING else None
        return typer.Argument(required, metavar=option.metavar, help=_help(option, default), show_default=False)
    return typer.Option(
        False if option.metavar is None else None,
        *option.flags,
        metavar=option.metavar,
        help=_help(option, default),
        envvar=option.variable,
        show_envvar=False,
        show_default=False,
        rich_help_panel=option.section,
    )


def _help(option: Option, default: Any) -> str:
    """The line of an option: its text, its variable and its default."""
    shown = option.default
    if shown is None and isinstance(default, (str, int, float, Path)) and not isinstance(default, bool):
        shown = str(default)
    notes = [f"env var: {option.variable}"] if option.variable else []
    notes += [f"default: {shown}"] if shown else []
    return f"{option.help}  [{'; '.join(notes)}]" if notes else option.help
