"""From a request to rows: backbones and selectors, counted beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice
from fgbench.flops import paper
from fgbench.flops.counter import Count, count_flops
from fgbench.flops.crosscheck import cross_check, has_paper_blocks
from fgbench.flops.cut_off import cut_off_line, pixels_cut_off
from fgbench.models.backbone import MetaBackbone, build_on_meta
from fgbench.records import FlopsRow
from fgbench.registry import Report, make_selector, selectors, usable_selectors
from fgbench_selectors import IMPLS, Selector
from fgbench_selectors.plugins import describe
from fgbench_selectors.selector import score_breach

# The backbones of the paper's Tables 1, 7 and 8, and its image sizes.
PAPER_BACKBONES = ("vit_base_patch16_224", "vit_base_patch14_dinov2", "vit_tiny_patch16_224")
PAPER_SIZES = (224, 448, 768, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopsRequest:
    """What to count."""

    sizes: Sequence[int] = PAPER_SIZES
    backbones: Sequence[str] = PAPER_BACKBONES
    selectors: Sequence[str] | None = None  # None: every registered one
    impls: Sequence[str] = IMPLS
    conventions: Sequence[str] = ("full",)
    num_classes: int = 200
    patch_stride: int | None = None  # None: patches side by side; convention "paper" as the paper has them
    cross_check: bool = False


def flops_rows(
    request: FlopsRequest,
    report: Report,
    progress: Callable[[str], None] = lambda _: None,
    notice: Report = lambda _: None,
) -> Iterator[FlopsRow]:
    """Count what a request asks for, a backbone and a size at a time.

    A plug-in that breaks is handed to ``report`` and left out from then on; everything else raises. ``notice`` gets the
    pixels that no patch covers.
    """
    report = _each_once(report)
    names = usable_selectors(request.selectors, report)
    _refuse_without_closed_form(request)
    pairs = [(name, size) for name in request.backbones for size in request.sizes]
    # Whatever cannot be built is met before anything is counted.
    built = [build_on_meta(*pair, request.num_classes, request.patch_stride) for pair in pairs]
    measured = [convention for convention in request.conventions if convention != "paper"]
    for backbone in built:
        progress(f"{backbone.name} at {backbone.image_size}")
        fitting = _fitting(names, backbone, request, report)
        if measured or request.cross_check:
            yield from _counted_rows(backbone, fitting, request, measured, report)
            names = [name for name in names if name in fitting or not _fits(name, backbone)]
        if "paper" in request.conventions:
            yield from _paper_rows(backbone, fitting, request, report)
    _report_cut_off(built, request, notice)


def _report_cut_off(built: Sequence[MetaBackbone], request: FlopsRequest, report: Report) -> None:
    """Say which sizes lose pixels at the edges, a line per backbone."""
    for name in request.backbones:
        pixels = {
            one.image_size: pixels_cut_off(
                one.image_size, one.patch_size, request.patch_stride or one.patch_size, one.grid[0]
            )
            for one in built
            if one.name == name
        }
        if line := cut_off_line(name, pixels):
            report(LeftOutNotice(line))


def _each_once(report: Report) -> Report:
    """What a backbone lacks it lacks at every size; saying so once is enough."""
    told: set[str] = set()

    def report_new(error: FgbenchError) -> None:
        if str(error) not in told:
            told.add(str(error))
            report(error)

    return report_new


def _counted_rows(
    backbone: MetaBackbone, names: list[str], request: FlopsRequest, conventions: list[str], report: Report
) -> Iterator[FlopsRow]:
    base = _count_backbone(backbone)
    if request.cross_check:
        cross_check(f"{backbone.name} at {backbone.image_size}", backbone, base)
    results: list[tuple[str | None, str | None, Count, int]] = [(None, None, base, backbone.params)]
    for name in list(names):
        try:
            found = [(name, impl, *_count_selector(name, impl, backbone)) for impl in request.impls]
        except BrokenPluginError as error:
            report(error)
            names.remove(name)
        else:
            results += found
    for convention in conventions:
        whole = base.flops(convention)
        for selector, impl, count, params in results:
            flops = count.flops(convention)
            yield _row(
                backbone,
                convention=convention,
                selector=selector,
                impl=impl,
                num_tokens=backbone.num_tokens,
                macs=count.macs,
                flops=flops,
                percent_of_backbone=100 * flops / whole,
                params=params,
                activation_bytes=count.activation_bytes,
            )


def _fits(name: str, backbone: MetaBackbone) -> bool:
    return backbone.has_class_token or not selectors.load(name).needs.class_token


def _fitting(names: list[str], backbone: MetaBackbone, request: FlopsRequest, report: Report) -> list[str]:
    """The selectors that this backbone has what it takes for; one that was asked for by name must fit."""
    fitting = [name for name in names if _fits(name, backbone)]
    left_out = [name for name in names if name not in fitting]
    if left_out:
        what = f"{backbone.name!r} has no class token, whose row these selectors read: {', '.join(left_out)}"
        if request.selectors is not None:
            raise FgbenchError(what)
        report(LeftOutNotice(f"left out: {what}"))
    return fitting


def _count_backbone(backbone: MetaBackbone) -> Count:
    try:
        return count_flops(backbone.module.forward, backbone.image())
    except (AssertionError, RuntimeError) as error:  # timm's own checks of the image size
        raise FgbenchError(
            f"backbone {backbone.name!r} does not run on images of {backbone.image_size} pixels: {describe(error)}"
        ) from error


def _count_selector(name: str, impl: str, backbone: MetaBackbone) -> tuple[Count, int]:
    """A published selector from the ready maps that its backbone leaves, a fast one from queries, keys and ℓ."""
    with selectors.blame(name, doing=f"impl {impl!r} cannot be counted: "):
        selector = make_selector(name, impl, backbone.depth).eval().to("meta")
        features = backbone.features(selector.needs, ready_maps=impl == "published")
        scores = []
        count = count_flops(lambda: scores.append(selector(features)))
        why = score_breach(selector, features, scores[0])
    if why:
        raise BrokenPluginError(name, selectors.entries()[name].origin, why)
    return count, _params(selector)


def _params(selector: Selector) -> int:
    return sum(parameter.numel() for parameter in selector.parameters())


def _paper_rows(backbone: MetaBackbone, names: list[str], request: FlopsRequest, report: Report) -> Iterator[FlopsRow]:
    if not has_paper_blocks(backbone):
        what = f"the blocks of {backbone.name!r} are not the paper's: qkv, projection and a two-layer MLP of 4·D"
        if set(request.conventions) == {"paper"}:
            raise FgbenchError(what, do="--convention full counts them")
        report(LeftOutNotice(f"left out of convention paper: {what}"))
        return
    geometry = geometry_of(backbone, request)
    whole = paper.backbone_cost(geometry)
    costs: list[tuple[str | None, paper.PaperCost]] = [(None, whole)]
    for name in names if "published" in request.impls else ():
        if name in paper.SELECTOR_COSTS:
            costs.append((name, paper.SELECTOR_COSTS[name](geometry)))
    for selector, cost in costs:
        yield _row(
            backbone,
            convention="paper",
            selector=selector,
            impl=None if selector is None else "published",
            num_tokens=cost.num_tokens,
            macs=cost.macs,
            flops=cost.flops,
            percent_of_backbone=100 * cost.flops / whole.flops,
            params=backbone.params
            if selector is None
            else _params(make_selector(selector, "published", backbone.depth)),
        )


def geometry_of(backbone: MetaBackbone, request: FlopsRequest) -> paper.Geometry:
    """The closed forms' variables of a backbone."""
    return paper.Geometry(
        image_size=backbone.image_size,
        patch_size=backbone.patch_size,
        embed_dim=backbone.embed_dim,
        depth=backbone.depth,
        num_heads=backbone.num_heads,
        num_classes=request.num_classes,
        num_prefix_tokens=backbone.num_prefix_tokens,
        stride=request.patch_stride,
    )


def _row(backbone: MetaBackbone, **fields: object) -> FlopsRow:
    return FlopsRow(backbone=backbone.name, model=None, image_size=backbone.image_size, **fields)  # type: ignore[arg-type]


def _refuse_without_closed_form(request: FlopsRequest) -> None:
    if tuple(request.conventions) != ("paper",):
        return
    if "published" not in request.impls:
        raise FgbenchError("the paper has no closed form for impl", "fast", "add --impl published")
    for name in request.selectors or ():
        if name not in paper.SELECTOR_COSTS:
            known = ", ".join(paper.SELECTOR_COSTS)
            raise FgbenchError("the paper has no closed form for selector", name, f"it has: {known}")
