"""Ask models the questions, and judge their answers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from fgbench.audit.agreement import Answers, agreement
from fgbench.audit.answers import ask, ask_in_a_process, device_of, load, pictures_of, random_state
from fgbench.audit.questions import QUESTIONS, ROUNDING, Question, why_broken
from fgbench.audit.request import AuditRequest
from fgbench.deploy.agreement import TOLERANCE
from fgbench.errors import BrokenPluginError, FgbenchError, OnProblem, UnknownNameError
from fgbench.explain.loaded_model import LoadedModel, guarded
from fgbench.models.model import Model
from fgbench.plugins.files import add_plugin_files
from fgbench.plugins.kinds import models
from fgbench.results.records import AuditRow

HASH_SEEDS = (1, 2)  # of the two processes
FIGURES = (
    *("pictures", "largest_logit_difference", "relative_logit_difference"),
    *("equal_top1_percent", "equal_selected_percent", "equal_boxes_percent"),
)


def audit_models(request: AuditRequest, on_problem: OnProblem, progress: Callable[[str], None]) -> list[AuditRow]:
    """Ask every model every question.

    Args:
        request: The models and the questions.
        on_problem: Receives why a model is left out, and notes on weights.
        progress: Hears what is done now.

    Returns:
        A row per model and question, in their order.

    Raises:
        UnknownNameError: For a name that no model has.
        FgbenchError: Where no model can be asked.

    """
    add_plugin_files(request.plugins, on_problem)
    models.try_out(request.subjects)
    device, rows, refused = device_of(request), list[AuditRow](), list[FgbenchError]()
    for name in request.subjects:
        progress(f"loading {name}")
        try:
            with guarded(name):
                loaded = load(request, name, device, on_problem)
                rows += _audit(request, loaded, device, progress)
        except UnknownNameError:
            raise
        except (FgbenchError, BrokenPluginError) as error:
            refused.append(error)
    if not rows:
        raise refused[-1]
    for refusal in refused:
        on_problem(refusal)
    return rows


def _audit(
    request: AuditRequest, loaded: LoadedModel, device: torch.device, progress: Callable[[str], None]
) -> Iterator[AuditRow]:
    pictures = pictures_of(request, loaded.model).to(device)
    everything = [range(len(pictures))]
    wanted = ask(loaded.model, pictures, everything)
    for question in (one for one in QUESTIONS if one.name in request.questions):
        progress(f"{loaded.name}: {question.asks}")
        before = random_state()
        found, reason = _answers(question, request, loaded, pictures, wanted)
        figures = None if found is None else agreement(*found)
        if figures is not None:
            tolerance = ROUNDING if question.dtype == "float32" else TOLERANCE.get(question.dtype or "", 0.0)
            drawn = question.name == "repeat" and random_state() != before
            reason = why_broken(question, figures, tolerance, drawn=drawn)
        yield _row(request, loaded, question, figures, reason)


def _answers(
    question: Question, request: AuditRequest, loaded: LoadedModel, pictures: Tensor, wanted: Answers
) -> tuple[tuple[Answers, Answers] | None, str | None]:
    """The answers in question beside those that they should be; None with the reason where it cannot be asked."""
    model, together = loaded.model, range(len(pictures))
    if question.name == "repeat":
        return (ask(model, pictures, [together], seeded=False), ask(model, pictures, [together], seeded=False)), None
    if question.name == "batch":
        return (ask(model, pictures, [[index] for index in together]), wanted), None
    if question.name == "order":
        return (ask(model, pictures, [list(reversed(together))]), wanted), None
    if question.name == "process":
        one, other = (ask_in_a_process(request, loaded.name, model, seed) for seed in HASH_SEEDS)
        return (one, other), None
    if question.name == "impl":
        if not (isinstance(model, Model) and model.two_impls):
            return None, "it has one implementation"
        return (_by_the_other(model, pictures), wanted), None
    try:
        halved = copy.deepcopy(model).to(torch.bfloat16)
        return (ask(halved, pictures.to(torch.bfloat16), [together]), wanted), None
    except (RuntimeError, TypeError, NotImplementedError) as error:  # an operator that has no such precision
        return None, f"it does not run in bfloat16: {str(error).strip().splitlines()[0]}"


def _by_the_other(model: Model, pictures: Tensor) -> Answers:
    """The answers by the implementation that was not asked for."""
    before = model.impl
    model.impl = "published" if before == "fast" else "fast"
    try:
        return ask(model, pictures, [range(len(pictures))])
    finally:
        model.impl = before


def _row(
    request: AuditRequest, loaded: LoadedModel, question: Question, figures: dict[str, Any] | None, reason: str | None
) -> AuditRow:
    model = loaded.model
    told = dict.fromkeys(FIGURES) if figures is None else {name: figures[name] for name in FIGURES}
    return AuditRow(
        model=loaded.name,
        backbone=loaded.backbone,
        selector=model.selector_name,
        impl=model.impl if model.two_impls else None,
        image_size=request.image_size,
        question=question.name,
        kept=None if figures is None else reason is None,
        reason=reason,
        weights=loaded.weights,
        options=dict(request.model_options),
        **told,
    )
