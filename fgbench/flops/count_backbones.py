"""Count a backbone at one image size, and selectors on its features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fgbench.backbone_shape import BackboneShape
from fgbench.errors import BrokenPluginError, FgbenchError, OnProblem
from fgbench.flops.counter import Count, count_flops
from fgbench.flops.crosscheck import cross_check
from fgbench.flops.grid import CountGrid
from fgbench.models.backbone import MetaBackbone, build_on_meta, fused_attention
from fgbench.plugins.registry import make_selector, selectors
from fgbench.results.image_size import ImageSize
from fgbench.results.records import FlopsRow
from fgbench_selectors import Selector
from fgbench_selectors.plugins import describe
from fgbench_selectors.selector import score_breach


class BackboneCounter:
    """Counts one backbone at one image size, and selectors on its features.

    Args:
        name: timm's name.
        size: Side of the image in pixels.
        request: The grid.

    Raises:
        FgbenchError: As :func:`fgbench.models.backbone.build_on_meta`.

    """

    def __init__(self, name: str, size: ImageSize, request: CountGrid) -> None:
        self._name, self._size, self._request = name, size, request
        with fused_attention(request.fused_attention):
            self._backbone = build_on_meta(name, size, request.num_classes, request.patch_stride)

    @property
    def shape(self) -> BackboneShape:
        """The shape of the backbone."""
        return self._backbone.shape

    def rows(self, names: Sequence[str], conventions: Sequence[str], on_problem: OnProblem) -> list[FlopsRow]:
        """Count the backbone and selectors.

        Args:
            names: Names of the selectors.
            conventions: ``full``, ``fvcore`` or both.
            on_problem: Gets the error of a plug-in that breaks; its rows are left out.

        Raises:
            FgbenchError: If the backbone does not run on images of this size.

        """
        return list(_rows(self._backbone, names, self._request, conventions, on_problem))

    def check(self) -> None:
        """Compare the count with two others. Raises :class:`CheckFailedError`."""
        what = f"{self._name} at {self._size}"
        cross_check(what, self._backbone, _count_backbone(self._backbone))


def _rows(
    backbone: MetaBackbone,
    names: Sequence[str],
    request: CountGrid,
    conventions: Sequence[str],
    on_problem: OnProblem,
) -> Iterator[FlopsRow]:
    base = _count_backbone(backbone)
    results: list[tuple[str | None, str | None, Count, int]] = [(None, None, base, backbone.params)]
    for name in names:
        try:
            results += [(name, impl, *_count_selector(name, impl, backbone)) for impl in request.impls]
        except BrokenPluginError as error:
            on_problem(error)
    for convention in conventions:
        whole = base.flops(convention)
        for selector, impl, count, params in results:
            flops = count.flops(convention)
            yield FlopsRow(
                convention=convention,
                backbone=backbone.name,
                model=None,
                selector=selector,
                impl=impl,
                image_size=backbone.image_size,
                num_tokens=backbone.num_tokens,
                macs=count.macs,
                flops=flops,
                percent_of_backbone=100 * flops / whole,
                params=params,
                activation_bytes=count.activation_bytes,
            )


def _count_backbone(backbone: MetaBackbone) -> Count:
    try:
        return count_flops(backbone.module.forward, backbone.image())
    except (AssertionError, RuntimeError) as error:  # timm's own checks of the image size
        raise FgbenchError(
            f"backbone {backbone.name!r} does not run on images of {backbone.image_size} pixels: {describe(error)}"
        ) from error


def _count_selector(name: str, impl: str, backbone: MetaBackbone) -> tuple[Count, int]:
    """The count and parameters of a selector: published from ready maps, fast from queries, keys and ℓ."""
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
