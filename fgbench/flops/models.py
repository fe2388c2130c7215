"""From a request to rows: whole published models, and the parts of their forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice
from fgbench.flops.counter import Count, FlopCounter
from fgbench.flops.cut_off import cut_off_by, cut_off_line
from fgbench.models.build import create_model, model_class, model_options
from fgbench.models.model import STAGES, Model
from fgbench.models.vit import VisionTransformerModel
from fgbench.plugins.kinds import models, selectors
from fgbench.records import FlopsRow
from fgbench.registry import Report
from fgbench_selectors import IMPLS


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsRequest:
    """What to count."""

    models: Sequence[str]
    sizes: Sequence[int]
    backbones: Sequence[str] | None = None  # None: every model on the one that it was published with
    selectors: Sequence[str] | None = None  # in place of the published ones; None: those
    impls: Sequence[str] = IMPLS
    conventions: Sequence[str] = ("full",)
    num_classes: int = 200


@dataclass(frozen=True, slots=True)
class _Case:
    """One model to count, with its options."""

    name: str
    backbone: str
    selector: str | None
    size: int


def model_rows(
    request: ModelsRequest,
    report: Report,
    progress: Callable[[str], None] = lambda _: None,
    notice: Report = lambda _: None,
) -> Iterator[FlopsRow]:
    """Count whole models beside their plain backbone, in all and by part.

    A model's own rows have ``part`` null; ``percent_of_backbone`` divides by one pass of its backbone without
    overlap or selection. Convention ``paper`` knows no models. ``notice`` is told of pixels that no patch covers.
    """
    conventions = _measured(request, report)
    bases: dict[tuple[str, int], Count] = {}
    met: list[FgbenchError] = []  # what cannot be counted leaves the rest standing
    counted = False
    cut: dict[str, dict[int, int]] = {}
    for case in list(_cases(request, met.append)):
        progress(f"{case.name} at {case.size}")
        try:
            rows = _case_rows(case, request, conventions, bases, cut)
        except FgbenchError as error:  # one combination that does not fit leaves the others standing
            if str(error) not in map(str, met):
                met.append(error)
            continue
        counted = True
        yield from rows
    if met and not counted:
        raise met[0]
    for name, pixels in cut.items():
        if line := cut_off_line(name, pixels):
            notice(LeftOutNotice(line))
    for problem in met:
        report(problem)


def _case_rows(
    case: _Case,
    request: ModelsRequest,
    conventions: list[str],
    bases: dict[tuple[str, int], Count],
    cut: dict[str, dict[int, int]],
) -> list[FlopsRow]:
    """All rows of one case, its backbone's first where they have not been counted yet; ``cut`` is told lost pixels."""
    rows: list[FlopsRow] = []
    model = _build(case, request)
    key = (case.backbone, case.size)
    counts: list[tuple[str | None, Count]] = []
    for impl in request.impls if model.two_impls else (None,):
        model.impl = impl or "fast"
        with selectors.blame(case.selector or "", FgbenchError), models.blame(case.name, FgbenchError):
            counts.append((impl, count_model(model, case.size)))
    if key not in bases:
        plain = _plain(model, case, request)
        bases[key] = count_model(plain, case.size)
        rows += _rows(case, plain, conventions, bases[key], bases[key], impl=None, whole_model=False)
    for impl, count in counts:
        rows += _rows(case, model, conventions, count, bases[key], impl=impl, whole_model=True)
    cut.setdefault(f"{case.name} on {case.backbone}", {})[case.size] = cut_off_by(model)
    return rows


def count_model(model: Model, size: int, *, images: int = 1, dtype: torch.dtype | None = None) -> Count:
    """The work of one image, or more, through a model on the meta device; ``by_label`` holds that of its parts."""
    with torch.no_grad(), FlopCounter() as counter:
        model.on_step = counter.under
        try:
            model.flow(torch.empty(images, 3, size, size, dtype=dtype, device="meta"))
        finally:
            model.on_step = None
    return counter.result()


def _measured(request: ModelsRequest, report: Report) -> list[str]:
    measured = [convention for convention in request.conventions if convention != "paper"]
    what = "the paper has closed forms for selectors beside a backbone, and none for whole models"
    if not measured:
        raise FgbenchError(what, do="--convention full counts them")
    if len(measured) < len(request.conventions):
        report(LeftOutNotice(f"left out of convention paper: {what}"))
    return measured


def _cases(request: ModelsRequest, report: Report) -> Iterator[_Case]:
    """Every combination that was asked for; a name that is unknown is met before anything is counted."""
    models.try_out(request.models)
    kinds = {}
    for name in request.models:
        try:
            kinds[name] = model_class(name)
        except BrokenPluginError as error:
            report(error)
    for name, kind in kinds.items():
        for backbone in request.backbones or (kind.default_backbone,):
            for selector in request.selectors or (None,):
                for size in request.sizes:
                    yield _Case(name, backbone, selector, size)


def _build(case: _Case, request: ModelsRequest) -> Model:
    options = {} if case.selector is None else {"selector": case.selector}
    if options and "selector" not in model_options(model_class(case.name)):
        raise FgbenchError("this model selects nothing by a selector:", case.name, "leave --selectors out")
    with torch.device("meta"):
        model = create_model(case.name, case.backbone, img_size=case.size, num_classes=request.num_classes, **options)
    return model.eval()


def _plain(model: Model, case: _Case, request: ModelsRequest) -> Model:
    """The model's backbone alone, with a linear head."""
    name = "vit" if isinstance(model, VisionTransformerModel) else "resnet101"
    with torch.device("meta"):
        return create_model(name, case.backbone, img_size=case.size, num_classes=request.num_classes).eval()


def _rows(
    case: _Case, model: Model, conventions: list[str], count: Count, base: Count, *, impl: str | None, whole_model: bool
) -> Iterator[FlopsRow]:
    parts = [(None, count.total), *((part, count.by_label[part]) for part in STAGES if part in count.by_label)]
    for convention in conventions:
        whole = base.flops(convention)
        for part, cost in parts if whole_model else parts[:1]:
            flops = cost.flops(convention)
            yield FlopsRow(
                convention=convention,
                backbone=case.backbone,
                model=case.name if whole_model else None,
                selector=model.selector_name if whole_model else None,
                impl=impl,
                image_size=case.size,
                num_tokens=model.encoder.num_tokens if isinstance(model, VisionTransformerModel) else None,
                macs=cost.macs,
                flops=flops,
                percent_of_backbone=100 * flops / whole,
                params=sum(p.numel() for p in model.parameters()) if part is None else None,
                part=part,
                activation_bytes=count.activation_bytes if part is None else None,
            )
