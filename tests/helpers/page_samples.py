"""Sample pages with all kinds of tables and figures, and with malicious names."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from fgbench_reports.page import FigureBlock, Link, Page, Section, TableBlock
from fgbench_reports.report import Missing

HOSTILE = "<img src=x onerror=\"document.title='harmed'\">&amp;'\"</script><b>{{ 7*7 }}"
LONG = "vit_base_patch16_224_" + "with_a_name_that_does_not_end_" * 8


@dataclass(frozen=True, slots=True)
class Cell:
    printed: str
    value: float | None = None
    mark: str = ""  # "best" or "second"


def table(title: str, headings: Sequence[str], lines: Sequence[Sequence[str | Cell]], *, figures: int) -> str:
    """The markup of tables: names to the left, then so many columns of figures."""
    kinds = ["name"] * (len(headings) - figures) + ["figure"] * figures
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(name)}</th>' for kind, name in zip(kinds, headings, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, range(len(line)), kinds, line))}</tr>" for line in lines)
    return (
        f'<table class="fg-table"><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _cell(column: int, kind: str, cell: str | Cell) -> str:
    cell = Cell(cell) if isinstance(cell, str) else cell
    text = escape(cell.printed)
    text = {"best": f'<strong class="best">{text}</strong>', "second": f'<u class="second">{text}</u>'}.get(
        cell.mark, text
    )
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    tag = "th" if column == 0 else "td"
    row = ' scope="row"' if column == 0 else ""
    return f'<{tag}{row} class="{kind}"{value}>{text}</{tag}>'


def points(some: Sequence[tuple[float, float, str]], alt: str) -> str:
    """The markup of figures, by hand: a frame, and points at these places of a canvas of 500 × 300."""
    circles = "".join(
        f'<circle class="fg-point" cx="{x}" cy="{y}" r="7" tabindex="-1" role="img" '
        f'aria-label="{escape(text.replace(chr(10), ", "))}" data-text="{escape(text).replace(chr(10), "&#10;")}"/>'
        for x, y, text in some
    )
    return (
        f'<svg class="fg-figure" role="group" aria-label="{escape(alt)}" viewBox="0 0 500 300" width="500pt" '
        'height="300pt" xmlns="http://www.w3.org/2000/svg"><defs><clipPath id="inside">'
        '<rect width="500" height="300"/></clipPath></defs>'
        '<path id="frame" d="M 10 10 V 290 H 490" clip-path="url(#inside)" '
        'style="fill: none; stroke: currentColor"/>'
        f'<g class="fg-points">{circles}</g></svg>'
    )


def plotted(some: Sequence[tuple[float, float, str]], alt: str) -> str:
    """The same from matplotlib, with its ids, style attributes and style element."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    axes.plot([x for x, _, _ in some], [y for _, y, _ in some], "o-", label="glsim")
    axes.set(xlabel="image size in pixels", ylabel="images per second")
    axes.grid(color="#dcdedb")
    axes.legend()
    for patch in (figure.patch, axes.patch):
        patch.set_visible(False)
    file = io.StringIO()
    with rc_context({"svg.hashsalt": "fgbench"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    height = figure.bbox.height * 72 / figure.dpi
    places = [axes.transData.transform((x, y)) * 72 / figure.dpi for x, y, _ in some]
    dots = points([(float(x), height - float(y), text) for (x, y), (_, _, text) in zip(places, some, strict=True)], "")
    group = dots[dots.index('<g class="fg-points">') : -len("</svg>")]
    svg = file.getvalue().replace("#000000", "currentColor").replace("#dcdedb", "var(--fg-grid)")
    svg = svg.replace("<svg ", f'<svg class="fg-figure" role="group" aria-label="{escape(alt)}" ', 1)
    return svg.replace("</svg>", f"{group}</svg>")


# Sorted as numbers: 9.5, 84.3, 512, 1208, then what is missing; as text 1208 would be the first.
SPEEDS = (84.31, None, 1208.9, 9.5, 512.0, None)
MODELS = ("glsim", "transfg", "ffvt", "vit10", "vit9", HOSTILE)


def small_table() -> TableBlock:
    lines = [
        [
            name,
            "psm" if index % 2 else "–",
            Cell("–") if speed is None else Cell(f"{speed:.0f}", speed, "best" if speed > 1000 else ""),
        ]
        for index, (name, speed) in enumerate(zip(MODELS, SPEEDS, strict=True))
    ]
    title = "Images per second"
    return TableBlock(
        name="speed",
        title=title,
        html=table(title, ["model", "selector", "img/s"], lines, figures=1),
        notes=("Batch 16, float32.", f"Best in bold; {HOSTILE} could not be measured."),
        files=[Link(label=label, href=f"speed.{label.lower()}") for label in ("CSV", "LaTeX", "Markdown", "JSON")],
    )


def wide_table(lines: int = 40, columns: int = 14) -> TableBlock:
    headings = ["model", "backbone", *(f"images per second at {64 * n} pixels" for n in range(1, columns - 1))]
    body = [
        [
            LONG if n == 3 else f"model{n % 7}",
            ("vit_small_patch14_reg4_dinov2.lvd142m", "vit_base_patch16_224")[n % 2],
            *(Cell(f"{(n * 37 + m * 11) % 1000}.5", (n * 37 + m * 11) % 1000 + 0.5) for m in range(columns - 2)),
        ]
        for n in range(lines)
    ]
    title = "Every size"
    return TableBlock(name="wide", title=title, html=table(title, headings, body, figures=columns - 2))


def figure_block(name: str = "size", **fields: object) -> FigureBlock:
    some = [(224 * n, 1000 / n, f"glsim at {224 * n}\n{1000 / n:.1f} img/s\nbatch {2**n}") for n in range(1, 6)]
    alt = "Images per second against image size: glsim falls from 1000 at 224 pixels to 200 at 1120."
    parts = {"title": "Throughput falls with size", "svg": plotted(some, alt), "alt": alt, "notes": ("NVIDIA H200.",)}
    parts["files"] = [Link(label="SVG", href="size.svg"), Link(label="PNG", href="size.png")]
    return FigureBlock(name=name, **{**parts, **fields})


# Two series that share an x, in the corners of the canvas and in its middle.
CORNERS = [
    (5.0, 5.0, "a at 1\n10 img/s"),
    (250.0, 150.0, "a at 2\n5 img/s"),
    (495.0, 295.0, f"a at 3\n{LONG}"),
    (5.0, 295.0, "b at 1\n8 img/s"),
    (250.0, 40.0, f"{HOSTILE}\n4 img/s"),
    (495.0, 5.0, "b at 3\n2 img/s"),
]


def corners_block() -> FigureBlock:
    alt = "Two series in the corners."
    return figure_block("corners", title="Corners", svg=points(CORNERS, alt), alt=alt)


MISSING = (
    Missing(what="Table 4, dogs at 224", command="fgbench accuracy --dataset dogs --sizes 224"),
    Missing(what="Table 4, cub at 224", command="fgbench accuracy --dataset cub --sizes 224"),
    Missing(what=f"the energy of {HOSTILE}", command=f"fgbench throughput --model '{HOSTILE}'", why="no counter"),
)


def page(**fields: object) -> Page:
    parts: dict[str, object] = {
        "title": "What selection costs and buys",
        "sections": [
            Section(
                name="throughput",
                title=f"Throughput of {HOSTILE}",
                summary="What every model does in a second, and what it needs for it.",
                items=[small_table(), figure_block(), wide_table(), MISSING[2]],
            ),
            Section(name="accuracy", title="Accuracy", summary="", items=[*MISSING[:2], corners_block()]),
        ],
        "environments": ["NVIDIA H200, torch 2.9.0, CUDA 12.8, driver 570.86, 16 threads", f"CPU of {HOSTILE}"],
        "conventions": [
            "MACs are the multiply–adds of matrix products and convolutions.",
            "A latency is the median of blocks; ± is half of its 95 % interval.",
        ],
        "rows": [Link(label="throughput.json, 20 rows", href="rows/throughput.json")],
        "sources": ["fgbench.db", "gallery/cpu.json"],
        "version": "0.1.0",
        "made": "1a2b3c4",
    }
    return Page(**{**parts, **fields})
