"""Rows of backbones and of selectors beside them: counted, from the cache, or by the paper's closed forms.

Torch is imported only where something is counted that is not in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from fgbench.backbone_shape import BackboneShape, cut_off_line, most_cut_off
from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice, OnProblem
from fgbench.flops import paper
from fgbench.flops.counted_cache import CacheEntry, CountedCache, WarningRecorder
from fgbench.flops.grid import CountGrid
from fgbench.plugins.names import check_selectors, reads_class_token
from fgbench.plugins.registry import is_own, selectors, usable_selectors
from fgbench.plugins.timm_names import shape_of
from fgbench.results.image_size import ImageSize, height_width, image_size
from fgbench.results.records import FlopsRow

if TYPE_CHECKING:
    from fgbench.flops.count_backbones import BackboneCounter


def flops_rows(
    request: CountGrid,
    on_problem: OnProblem,
    progress: Callable[[str], None] = lambda _: None,
    notice: OnProblem = lambda _: None,
    cache: CountedCache | None = None,
) -> Iterator[FlopsRow]:
    """Count backbones and selectors, one backbone at one image size at a time.

    Args:
        request: The grid.
        on_problem: Gets the error of a plug-in that breaks, which is left out from then on, and of other omissions.
        progress: Gets the backbone and size that is counted now.
        notice: Gets the pixels that no patch covers.
        cache: The cache of counted rows; none by default.

    Returns:
        An iterator of rows.

    Raises:
        FgbenchError: If a name is unknown, a selector does not fit a backbone, or a backbone cannot be built.
        CheckFailedError: If a cross-check fails.

    """
    on_problem = _once_each(on_problem)
    measured = [convention for convention in request.conventions if convention != "paper"]
    names = _usable(request.selectors, on_problem, loads=bool(measured) or request.cross_check)
    _refuse_without_closed_form(request)
    pairs = [(name, size) for name in request.selector_backbones for size in request.sizes]
    # All backbones are built first, so that one that cannot be built is refused before anything is counted.
    cache, recorder = cache or CountedCache(), WarningRecorder()
    points = [_Point(*pair, request, names, measured, cache, recorder) for pair in pairs]
    broken: set[str] = set()

    def report_broken(error: FgbenchError) -> None:
        if isinstance(error, BrokenPluginError):
            broken.add(error.name)
        on_problem(error)

    for point in points:
        progress(f"{point.shape.name} at {point.shape.image_size}")
        working = [name for name in names if name not in broken]
        fitting = _fitting(working, point.shape, request, on_problem)
        if request.cross_check:
            point.check()
        if measured:
            yield from point.counted(fitting, report_broken, keeps=not broken)
        if "paper" in request.conventions:
            working = [name for name in fitting if name not in broken]
            yield from _paper_rows(point.shape, working, request, on_problem)
    _report_cut_off([point.shape for point in points], request, notice)


class _Point:
    """A backbone at one image size: its shape, its rows, and those of selectors beside it."""

    def __init__(
        self,
        name: str,
        size: ImageSize,
        request: CountGrid,
        selectors: Sequence[str],
        conventions: Sequence[str],
        cache: CountedCache,
        recorder: WarningRecorder,
    ) -> None:
        self._name, self._size, self._request, self._conventions = name, size, request, list(conventions)
        self._warnings, self._is_silent = recorder, True
        self._counter: BackboneCounter | None = None
        self._entry = self._cache_entry(cache, selectors)
        self._cached = self._entry.read() if conventions and not request.cross_check else None
        self.shape = self._shape()

    def counted(self, names: Sequence[str], on_problem: OnProblem, *, keeps: bool) -> list[FlopsRow]:
        """The rows of the backbone and of selectors, counted or from the cache.

        Args:
            names: Names of the selectors.
            on_problem: Gets the error of a plug-in that breaks.
            keeps: Whether the rows may be kept; False where a selector is missing because it broke at another size.

        """
        if self._cached is not None and {row["selector"] for row in self._cached["rows"]} == {None, *names}:
            return [FlopsRow(**row) for row in self._cached["rows"]]
        problems: list[FgbenchError] = []
        counter = self._built()
        with self._warnings.recorded() as caught:
            rows = counter.rows(names, self._conventions, problems.append)
        self._is_silent &= not caught
        for problem in problems:
            on_problem(problem)
        if keeps and not problems and self._is_silent:
            self._entry.write({"shape": asdict(self.shape), "rows": [asdict(row) for row in rows]})
        return rows

    def check(self) -> None:
        """Compare the count with two others. Raises :class:`CheckFailedError`."""
        self._built().check()

    def _shape(self) -> BackboneShape:
        if self._cached is not None:
            shape = self._cached["shape"]
            told = {"grid": tuple(shape["grid"]), "image_size": image_size(shape["image_size"])}
            return BackboneShape(**{**shape, **told})
        request = self._request
        closed = not self._conventions and not request.cross_check
        listed = shape_of(self._name, self._size, request.num_classes, request.patch_stride) if closed else None
        return listed or self._built().shape

    def _built(self) -> BackboneCounter:
        if self._counter is None:
            from fgbench.flops.count_backbones import BackboneCounter

            with self._warnings.recorded() as caught:
                self._counter = BackboneCounter(self._name, self._size, self._request)
            self._is_silent = not caught
        return self._counter

    def _cache_entry(self, cache: CountedCache, names: Sequence[str]) -> CacheEntry:
        request = self._request
        key: dict[str, object] = {"backbone": self._name, "size": self._size, "selectors": list(names)}
        key |= {"impls": list(request.impls)}
        key |= {"conventions": self._conventions, "num_classes": request.num_classes}
        key |= {"patch_stride": request.patch_stride, "fused_attention": request.fused_attention}
        return cache.entry("backbone", key, names)


def _usable(names: Iterable[str] | None, on_problem: OnProblem, *, loads: bool) -> list[str]:
    """The selectors of these names, or all. Plug-ins are loaded at once, so that a broken one is reported first."""
    requested = selectors.names() if names is None else list(names)
    check_selectors(requested)
    foreign = [name for name in requested if not is_own(name)]
    usable = usable_selectors(foreign, on_problem) if foreign and loads else []
    return [name for name in requested if is_own(name) or name in usable]


def _report_cut_off(shapes: Sequence[BackboneShape], request: CountGrid, on_problem: OnProblem) -> None:
    """Report the sizes that lose pixels at the edges, in one line per backbone."""
    for name in request.selector_backbones:
        pixels = {
            shape.image_size: most_cut_off(
                shape.image_size, shape.patch_size, request.patch_stride or shape.patch_size, shape.grid
            )
            for shape in shapes
            if shape.name == name
        }
        if line := cut_off_line(name, pixels):
            on_problem(LeftOutNotice(line))


def _once_each(on_problem: OnProblem) -> OnProblem:
    """Report every message once: a problem of a backbone is the same at every size."""
    messages: set[str] = set()

    def report_new(error: FgbenchError) -> None:
        if str(error) not in messages:
            messages.add(str(error))
            on_problem(error)

    return report_new


def _fitting(names: list[str], shape: BackboneShape, request: CountGrid, on_problem: OnProblem) -> list[str]:
    """The selectors whose input this backbone has; a selector that does not fit is an error if its name was given."""
    fitting = [name for name in names if shape.has_class_token or not reads_class_token(name)]
    left_out = [name for name in names if name not in fitting]
    if left_out:
        what = f"{shape.name!r} has no class token, whose row these selectors read: {', '.join(left_out)}"
        if request.selectors is not None:
            raise FgbenchError(what)
        on_problem(LeftOutNotice(f"left out: {what}"))
    return fitting


def _paper_rows(
    shape: BackboneShape, names: list[str], request: CountGrid, on_problem: OnProblem
) -> Iterator[FlopsRow]:
    if not shape.has_paper_blocks:
        what = f"the blocks of {shape.name!r} are not the paper's: qkv, projection and a two-layer MLP of 4·D"
        if set(request.conventions) == {"paper"}:
            raise FgbenchError(what, do="--convention full counts them")
        on_problem(LeftOutNotice(f"left out of convention paper: {what}"))
        return
    geometry = geometry_of(shape, request)
    whole = paper.backbone_cost(geometry)
    costs: list[tuple[str | None, paper.PaperCost]] = [(None, whole)]
    for name in names if "published" in request.impls else ():
        if name in paper.SELECTOR_COSTS:
            costs.append((name, paper.SELECTOR_COSTS[name](geometry)))
    for selector, cost in costs:
        yield FlopsRow(
            convention="paper",
            backbone=shape.name,
            model=None,
            selector=selector,
            impl=None if selector is None else "published",
            image_size=shape.image_size,
            num_tokens=cost.num_tokens,
            macs=cost.macs,
            flops=cost.flops,
            percent_of_backbone=100 * cost.flops / whole.flops,
            params=shape.params if selector is None else paper.selector_params(selector, shape.depth),
        )


def geometry_of(shape: BackboneShape, request: CountGrid) -> paper.Geometry:
    """The variables of the closed forms for a backbone."""
    return paper.Geometry(
        image_size=height_width(shape.image_size)[0],
        patch_size=shape.patch_size,
        embed_dim=shape.embed_dim,
        depth=shape.depth,
        num_heads=shape.num_heads,
        num_classes=request.num_classes,
        num_prefix_tokens=shape.num_prefix_tokens,
        stride=request.patch_stride,
    )


def _refuse_without_closed_form(request: CountGrid) -> None:
    if tuple(request.conventions) != ("paper",):
        return
    if "published" not in request.impls:
        raise FgbenchError("the paper has no closed form for impl", "fast", "add --impl published")
    for name in request.selectors or ():
        if name not in paper.SELECTOR_COSTS:
            known = ", ".join(paper.SELECTOR_COSTS)
            raise FgbenchError("the paper has no closed form for selector", name, f"it has: {known}")
