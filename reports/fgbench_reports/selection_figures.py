"""Figures of selections by themselves, as SVG that is the same every time: time, roofline, back ends."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fgbench_reports.cost_table import Row, grouped
from fgbench_reports.figures.style import in_style, palette
from fgbench_reports.selection import BACKBONE, Kept, intensity, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vPX*"
LINES = {"published": "--", "fast": "-"}
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "fgbench",
    "svg.fonttype": "path",
    "figure.dpi": 72.0,
    "axes.grid.which": "major",
}


def figures(device: str, kept: Kept) -> dict[str, str]:
    """Every figure of a device by the name of its file."""
    rows, name = kept["selections"], title(device, kept)
    return {
        f"{device}_time.svg": _drawn(lambda axes: _time(axes, rows), f"Time of one selection\n{name}"),
        f"{device}_roofline.svg": _drawn(lambda axes: _roofline(axes, rows, kept["roof"]), f"Roofline\n{name}"),
        f"{device}_crossover.svg": _drawn(lambda axes: _crossover(axes, kept["backends"]), f"Back ends of v·A\n{name}"),
    }


def _drawn(draw: Any, heading: str) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with in_style(SETTINGS):
        figure: Figure = Figure(figsize=(7.2, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        draw(axes)
        axes.set_title(heading, loc="left", fontsize=10)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)
        return _svg(figure)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _time(axes: Axes, rows: Sequence[Row]) -> None:
    """Seconds against image size: a colour and a marker per selector, dashed where published."""
    for (selector, impl), line in grouped(rows, "selector", "impl").items():
        points = [(row["image_size"], row["latency_s"]) for row in line if row["latency_s"] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), **_look(selector, impl, rows))
    _name_ticks(axes, sorted({row["image_size"] for row in rows}))
    axes.set_xlabel("image size in pixels")
    axes.set_ylabel("seconds per batch")


def _roofline(axes: Axes, rows: Sequence[Row], roof: Mapping[str, float | None]) -> None:
    """Operations per second against operations per byte; a larger marker is a larger image."""
    sizes = sorted({row["image_size"] for row in rows})
    timed = [row for row in rows if row["latency_s"] is not None and row["flops"]]
    for (selector, impl), some in grouped(timed, "selector", "impl").items():
        look = _look(selector, impl, rows) | {"linestyle": ":", "linewidth": 0.6, "markersize": 0}
        x = [intensity(row) or 0.0 for row in some]
        y = [row["flops"] / row["latency_s"] for row in some]
        marker, colour, face = look.pop("marker"), look["color"], look.pop("markerfacecolor")
        label = look.pop("label")
        axes.plot(x, y, **look)
        area = [25 + 30 * sizes.index(row["image_size"]) for row in some]
        axes.scatter(x, y, s=area, marker=marker, facecolors=face, edgecolors=colour, label=label, zorder=3)
    flop_s, bytes_s = roof.get("product_flop_s"), roof.get("copy_bytes_s")
    if flop_s and bytes_s:
        ridge = flop_s / bytes_s
        ends = [min([ridge / 10, *(intensity(row) or ridge for row in timed)]) / 2]
        ends += [ridge, max([ridge * 10, *(intensity(row) or ridge for row in timed)]) * 2]
        axes.plot(ends, [ends[0] * bytes_s, flop_s, flop_s], color="black", linewidth=1.5, label="copies, products")
    axes.set_xlabel("FLOPs per byte, as counted")
    axes.set_ylabel("FLOPs per second, as measured")


def _crossover(axes: Axes, rows: Sequence[Row]) -> None:
    """Seconds of one v·A against the elements of its maps; filled markers are chosen."""
    names = list(dict.fromkeys(row["backend"] for row in rows))
    for (name, maps), line in grouped(rows, "backend", "maps").items():
        timed = [row for row in line if row["latency_s"] is not None]
        x, y = [maps * row["num_tokens"] ** 2 for row in timed], [row["latency_s"] for row in timed]
        index, few = names.index(name), maps == min(row["maps"] for row in rows)
        colour, marker = palette()[index], MARKERS[index]
        label = f"{name}, B·H = {maps}"
        axes.plot(
            x, y, color=colour, linestyle="-" if few else "--", marker=marker, markerfacecolor="white", label=label
        )
        chosen = [(a, b) for a, b, row in zip(x, y, timed, strict=True) if row["chosen"]]
        if chosen:
            axes.plot(*zip(*chosen, strict=True), color=colour, linestyle="none", marker=marker, zorder=3)
    axes.set_xlabel("elements of the maps, B·H·N²")
    axes.set_ylabel("seconds")


def _look(selector: str | None, impl: str | None, rows: Sequence[Row]) -> dict[str, Any]:
    if selector is None:
        style = {"color": "black", "marker": "h", "linestyle": "-.", "linewidth": 1.8}
        return {**style, "markerfacecolor": "black", "label": BACKBONE}
    names = [name for name in dict.fromkeys(row["selector"] for row in rows) if name is not None]
    index = names.index(selector)
    colour = palette()[index % len(palette())]
    return {
        "color": colour,
        "marker": MARKERS[index % len(MARKERS)],
        "markerfacecolor": colour if impl == "fast" else "white",
        "linestyle": LINES.get(str(impl), ":"),
        "label": f"{selector}, {impl}",
    }


def _name_ticks(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xticks(list(sizes), labels=[str(size) for size in sizes])
    axes.set_xticks([], minor=True)
