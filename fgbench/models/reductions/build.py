"""Reductions by name, and the names of models that have one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fgbench.errors import FgbenchError
from fgbench.models.model import Model
from fgbench.models.options import defaults_of
from fgbench.models.reductions.reduction import Reduction
from fgbench.plugins.kinds import reductions
from fgbench.results.reduced_name import ReducedName
from fgbench_selectors import Selector

if TYPE_CHECKING:
    from fgbench.models.encoder import Encoder


def make_reduction(
    name: str,
    encoder: Encoder,
    *,
    keep_rate: float | None = None,
    at: Sequence[int] | int | None = None,
    selector: str | Selector | None = None,
    impl: str = "fast",
    options: Mapping[str, Any] | None = None,
) -> Reduction:
    """Make a reduction for an encoder.

    Args:
        name: A registered name.
        encoder: The encoder.
        keep_rate: Share of the tokens that are kept; None for that of the paper.
        at: Blocks, from 1; None for those of the paper.
        selector: A name or an instance, in place of the class token's attention.
        impl: ``published`` or ``fast``.
        options: Options of the reduction's own.

    Raises:
        UnknownNameError: If the name is not registered.
        BrokenPluginError: If a plug-in does not work.
        FgbenchError: If an option is unknown or wrong.

    """
    cls = reductions.load(name)
    shared = {"keep_rate": keep_rate, "at": at, "selector": selector}
    known = [option for option in defaults_of(cls, Reduction) if option not in (*shared, "encoder", "impl")]
    for option in options or {}:
        if option not in known:
            has = f"it has: {', '.join(sorted(known))}" if known else "it has none of its own"
            raise FgbenchError(f"reduction {name!r} has no option", option, has)
    with reductions.blame(name, FgbenchError):
        given = {option: value for option, value in shared.items() if value is not None}
        made = cls(encoder, impl=impl, **given, **(options or {}))
        if not isinstance(made, Reduction):
            raise TypeError("its class must make a fgbench.models.reductions.reduction.Reduction")
    return made


def chosen_reduction(
    encoder: Encoder, reduced: ReducedName | None, name: str | None, options: Mapping[str, Any], impl: str
) -> tuple[Reduction | None, dict[str, Any]]:
    """Make the reduction that the name or the options of a model ask for.

    Args:
        encoder: The encoder of the model.
        reduced: The parts of the model's name, where it says how tokens are reduced.
        name: Name of the reduction; None for that in the name of the model.
        options: ``keep_rate``, ``at``, ``selector`` and options of its own; None for those that are not given.
        impl: ``published`` or ``fast``.

    Returns:
        The reduction, and the options of the model that make it; None and no options where none is asked for.

    Raises:
        FgbenchError: If name and options contradict each other, or an option is wrong.

    """
    given = {option: value for option, value in options.items() if value is not None}
    if reduced is not None:
        if name is not None or given:
            do = "leave the options out"
            raise FgbenchError("the name of the model says how its tokens are reduced:", reduced.name, do)
        name, given = reduced.reduction, {**reduced.options}
        given |= {} if reduced.keep_rate is None else {"keep_rate": reduced.keep_rate}
    if name is None:
        if given:
            raise FgbenchError("no reduction is named for", ", ".join(given), "add reduction='evit'")
        return None, {}
    if not isinstance(name, str):
        raise FgbenchError("a reduction is a name, got", name, "'fgbench list reductions' shows them")
    shared = {option: given.pop(option) for option in ("keep_rate", "at", "selector") if option in given}
    made = make_reduction(name, encoder, impl=impl, options=given, **shared)
    scorer = shared.get("selector")
    told = {"reduction": name, "keep_rate": made.told_rate, "reduction_at": list(made.at)}
    told["reduction_selector"] = scorer if scorer is None or isinstance(scorer, str) else type(scorer).__name__.lower()
    return made, {**told, "reduction_options": given}


def reduced_name(name: str, model: Model) -> str:
    """The name of a model with its reduction; the name itself where it has none."""
    told = dict(model.reduction_options)
    if not told:
        return name
    options = dict(told["reduction_options"])
    options |= {} if model.reduction.has_default_blocks else {"at": told["reduction_at"]}
    options |= {} if told["reduction_selector"] is None else {"selector": told["reduction_selector"]}
    return ReducedName(name, told["reduction"], told["keep_rate"], options).name


def refuse_padding(reduction: Reduction | None, backbone: str) -> None:
    """Refuse a reduction that pads images, in a model that reads the mean of all tokens. Raises FgbenchError."""
    if reduction is not None and reduction.pads_tokens:
        what = f"{type(reduction).__name__} pads the tokens of a batch, and the model reads the mean of all tokens of"
        raise FgbenchError(what, backbone, "choose another reduction, or readout='class_token'")
