from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from helpers import page_samples
from helpers.page_samples import HOSTILE

from fgbench_reports.page import FigureBlock, Link, Page, Section, TableBlock, to_html
from fgbench_reports.page.inlined import Anchors, digest, inline_svg, width_px
from fgbench_reports.page.page import PORTION
from fgbench_reports.report import Missing

VOID = frozenset("meta link input br img hr".split())


class Outline(HTMLParser):
    """Tags in their order, and whether each is closed by its own."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def links(html: str) -> dict[str, str]:
    return dict(re.findall(r'<a href="([^"#][^"]*)">([^<]*)</a>', html))


def test_a_page_is_the_same_every_time_and_its_tags_are_closed():
    html = to_html(page_samples.page())
    assert html == to_html(page_samples.page())
    outline = Outline(html)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))


def test_a_name_of_a_file_that_is_no_text_leaves_a_page_that_can_be_written():
    html = to_html(Page(title="Rows", sections=[], sources=["bad\udcff.json"]))
    assert r"bad\udcff.json" in html.encode("utf-8").decode()


def test_an_empty_page_has_no_empty_boxes():
    outline = Outline(to_html(Page(title="Nothing", sections=[])))
    tags = [tag for tag, _ in outline.tags]
    assert tags.count("h1") == 1
    assert not {"section", "article", "table", "dl"} & set(tags)
    assert "Conventions" not in to_html(Page(title="Nothing", sections=[]))


def test_a_section_without_items_is_left_out_and_one_with_a_summary_is_not():
    sections = [
        Section(name="a", title="Nothing here", summary="", items=[]),
        Section(name="b", title="Only words", summary="Words.", items=[]),
    ]
    html = to_html(Page(title="T", sections=sections))
    assert "Nothing here" not in html
    assert "Words." in html


def test_nothing_is_fetched_and_only_the_own_script_and_styles_are_allowed():
    html = to_html(page_samples.page())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1].replace("&#39;", "'")
    script = re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)
    styles = re.findall(r"<style[^>]*>(.*?)</style>", html, re.DOTALL)
    assert len(script) == 1
    assert f"script-src {digest(script[0])};" in policy
    assert all(digest(style) in policy for style in styles)
    assert policy.startswith("default-src 'none';")
    for tag, attributes in Outline(html).tags:
        assert not any(name.startswith("on") for name in attributes), tag
        assert not {"src", "srcset", "data", "action"} & set(attributes)
        if tag == "link":
            assert attributes == {"rel": "icon", "href": "data:,"}
    assert not re.search(r"@import|url\(\s*['\"]?http", styles[0])


def test_the_script_and_the_style_cannot_end_themselves():
    for name in ("page.js", "page.css"):
        assert "</" not in files("fgbench_reports.page").joinpath(name).read_text(encoding="utf-8")


def test_names_are_escaped_wherever_they_stand():
    link = Link(label=HOSTILE, href=f"a?{HOSTILE}")
    table = TableBlock(name=HOSTILE, title=HOSTILE, html="<table></table>", notes=[HOSTILE], files=[link])
    figure = FigureBlock(name=HOSTILE, title=HOSTILE, svg="<svg></svg>", alt=HOSTILE, notes=[HOSTILE], files=[link])
    missing = Missing(what=HOSTILE, command=HOSTILE, why=HOSTILE)
    section = Section(name=HOSTILE, title=HOSTILE, summary=HOSTILE, items=[table, figure, missing])
    some = [HOSTILE]
    page = Page(
        title=HOSTILE,
        sections=[section],
        environments=some,
        conventions=some,
        rows=[link],
        sources=some,
        version=HOSTILE,
        made=HOSTILE,
    )
    outline = Outline(to_html(page))
    assert outline.open == []
    assert not {"img", "b"} & {tag for tag, _ in outline.tags}


def test_a_link_leads_to_a_file_or_a_site_and_nothing_else_is_followed():
    rows = [
        Link(label=label, href=href)
        for label, href in {
            "file": "rows/a%20b.json",
            "site": "https://arxiv.org/abs/2407.12891",
            "script": "javascript:alert(1)",
            "data": "data:text/html,x",
            "broken": "http://[",
        }.items()
    ]
    html = to_html(Page(title="T", sections=[], rows=rows))
    assert links(html) == {"rows/a%20b.json": "file", "https://arxiv.org/abs/2407.12891": "site"}
    assert all(f"<li>{label}</li>" in html for label in ("script", "data", "broken"))


def test_what_is_missing_stands_at_the_end_of_its_section_a_line_per_command():
    same = [Missing(what=f"cub at {size}", command="fgbench accuracy --dataset cub") for size in (224, 448)]
    other = Missing(what="the energy", command="fgbench throughput --device cuda", why="a CPU has no counter")
    section = Section(name="s", title="S", summary="", items=[same[0], page_samples.small_table(), other, same[1]])
    html = to_html(Page(title="T", sections=[section]))
    assert html.index("Not measured yet") > html.index("</table>")
    assert html.count("<code>") == 2
    assert re.search(
        r"cub at 224; cub at 448: <span.*?>there are no rows for it</span>\s*<span.*?><code>fgbench acc", html
    )


def test_notes_behind_a_table_do_not_scroll_with_it_and_are_not_there_twice():
    html = f'{page_samples.small_table().html}\n<p class="fg-note">Batch 16.</p>\n'
    for notes in ((), ("Batch 16.",)):
        block = TableBlock(name="t", title="T", html=html, notes=notes)
        page = to_html(Page(title="T", sections=[Section(name="s", title="S", summary="", items=[block])]))
        assert page.count("Batch 16.") == 1
        assert re.search(r"</table>\s*</div>\s*<div class=\"notes\">\s*<p[^>]*>Batch 16\.</p>", page)


def test_names_that_come_to_the_same_anchor_are_told_apart():
    anchors = Anchors()
    assert [anchors.take(*names) for names in (("a", "b"), ("a-b",), ("a--b",), ("a b!",), ("…",), ("rows",))] == [
        "a-b",
        "a-b-2",
        "a-b-3",
        "a-b-4",
        "part",
        "rows-2",
    ]


def test_the_parts_of_a_figure_are_renamed_and_what_looks_like_one_in_a_name_is_not():
    name = "url(#x) href=&quot;#x&quot; id=&quot;x&quot;"
    svg = (
        '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg><clipPath id="x"/><g clip-path="url(#x)" style="fill: url(#x)"/>'
        f'<use xlink:href="#x" href="#x"/><g aria-labelledby="x y" data-text="{name}">url(#x) id="x"</g></svg>\n'
    )
    assert inline_svg(svg, "f") == (
        '<svg><clipPath id="f--x"/><g clip-path="url(#f--x)" style="fill: url(#f--x)"/>'
        '<use xlink:href="#f--x" href="#f--x"/>'
        f'<g aria-labelledby="f--x f--y" data-text="{name}">url(#x) id="x"</g></svg>'
    )


def test_a_figure_stands_as_wide_as_makes_its_letters_readable():
    assert width_px('<svg class="fg-figure" viewBox="0 0 252 180.5"></svg>') == 468
    assert width_px("<svg></svg>") is None
    for svg, told in (('<svg viewBox="0 0 252 9"></svg>', True), ("<svg></svg>", False)):
        section = Section(name="s", title="S", summary="", items=[page_samples.figure_block(svg=svg)])
        assert ('style="--width: 468px"' in to_html(Page(title="T", sections=[section]))) == told


def test_a_figure_that_is_no_svg_is_named():
    block = page_samples.figure_block(svg="<img>")
    with pytest.raises(ValueError, match=r"the figure 's-size' is no SVG: it begins with '<img>'"):
        to_html(Page(title="T", sections=[Section(name="s", title="S", summary="", items=[block])]))


def test_script_style_and_page_agree_on_how_many_lines_are_laid_out_at_once():
    script, style = (files("fgbench_reports.page").joinpath(f"page.{kind}").read_text() for kind in ("js", "css"))
    assert f"const PORTION = {PORTION};" in script
    assert f"nth-child(n + {PORTION + 1})" in style
    for lines, long in ((PORTION, False), (PORTION + 1, True)):
        block = page_samples.wide_table(lines, 3)
        html = to_html(Page(title="T", sections=[Section(name="s", title="S", summary="", items=[block])]))
        assert ('class="scroll long"' in html) == long


def variables(scheme: str) -> dict[str, str]:
    """The colours of a scheme: those of light, and what dark or paper change in them."""
    style = files("fgbench_reports.page").joinpath("page.css").read_text(encoding="utf-8")
    roots = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(roots) == 3
    chosen = {"light": roots[:1], "dark": roots[:2], "print": [roots[0], roots[2]]}[scheme]
    return dict(re.findall(r"--fg-(\w+): (#[0-9a-f]{6});", "".join(chosen)))


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.2, by its definition of relative luminance."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_ink_stands_out_from_every_paper(scheme):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    colours = variables(scheme)
    for paper in ("paper", "raised", "tint"):
        for ink in ("ink", "muted", "link"):
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
        for mark in ("focus", "rule"):
            assert contrast(colours[mark], colours[paper]) >= 3 - 0.2 * (mark == "rule" and paper == "tint"), (
                mark,
                paper,
            )
