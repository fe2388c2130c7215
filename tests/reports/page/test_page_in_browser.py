from __future__ import annotations

from itertools import pairwise

import pytest
from helpers.browser import DESKTOP, PHONE
from helpers.page_samples import HOSTILE, page
from selenium.webdriver.common.keys import Keys

# Of every element that has text of its own: what it is, its contrast with what is behind it.
CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (rgb) => rgb.slice(0, 3).map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const colour = parse(getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3]) return colour;
  }
  return [255, 255, 255];
};
return [...document.body.querySelectorAll('*')].filter(e => !e.closest('svg, script') && e.checkVisibility()
    && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => {
  const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  return [e.outerHTML.slice(0, 60), (a + 0.05) / (b + 0.05)];
});
"""


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_loads_without_a_word_or_a_request(browser, sample, size, scheme):
    browser.open(sample, size=size, scheme=scheme)
    browser.run("await new Promise(r => setTimeout(r, 50))")
    assert browser.console() == []
    assert browser.requests() == [sample.as_uri()]


def test_the_policy_lets_nothing_else_run_or_load(browser, sample):
    browser.open(sample)
    browser.run(
        "const s = document.createElement('script'); s.textContent = 'document.title = 1'; document.body.append(s);"
        "const i = new Image(); i.src = 'x.png'; document.body.append(i);"
        "await new Promise(r => setTimeout(r, 100))"
    )
    assert browser.driver.title == page().title
    assert len([line for line in browser.console() if "Content Security Policy" in line]) == 2


def test_names_from_data_come_out_as_text(browser, sample):
    browser.open(sample)
    assert not browser.all("img, main b")
    assert browser.driver.title == page().title
    shown = browser.run("return document.body.innerText")
    assert shown.count(HOSTILE) >= 6  # contents, heading, table, note, what is missing, environment
    assert f"fgbench throughput --model '{HOSTILE}'" in browser.texts(".missing code")


def test_a_title_with_html_is_the_title(browser, write):
    browser.open(write(page(title=HOSTILE)))
    assert (browser.driver.title, browser.one("h1").text) == (HOSTILE, HOSTILE)


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_the_page_itself_never_scrolls_sideways(browser, sample, width):
    browser.open(sample, size=(width, 812))
    within = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    needed, there = browser.run(within)
    assert needed <= there
    wide, seen = browser.run("const r = document.querySelectorAll('.scroll')[1]; return [r.scrollWidth, r.clientWidth]")
    assert wide > seen  # the table is wide, and scrolls where it stands


def test_figures_scale_to_a_phone(browser, sample):
    browser.open(sample, size=PHONE)
    widths = browser.run("return [...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect().width)")
    assert all(300 < width <= 375 for width in widths)


def test_what_is_tapped_is_large_enough(browser, sample):
    browser.open(sample, size=PHONE)
    small = browser.run(
        "return [...document.querySelectorAll('a, button, input, summary')].filter(e => e.checkVisibility()"
        " && !e.matches('.skip')).map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])"
        ".filter(([, r]) => r.width < 24 || r.height < 23.9).map(([e, r]) => [e, r.width, r.height])"
    )
    assert small == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_in_both_schemes(browser, sample, scheme):
    browser.open(sample, scheme=scheme)
    browser.hover(browser.one(".fg-point"))
    found = browser.run(CONTRAST)
    assert len(found) > 100
    assert [one for one in found if one[1] < 4.5] == []


def test_the_dark_scheme_changes_paper_and_the_ink_of_figures(browser, sample):
    browser.open(sample)
    ink = "path[style*=currentColor], path[style*=currentcolor]"
    light = browser.style("body", "backgroundColor"), browser.style(f".fg-figure :is({ink})", "stroke")
    browser.media("dark")
    dark = browser.style("body", "backgroundColor"), browser.style(f".fg-figure :is({ink})", "stroke")
    assert light == ("rgb(253, 253, 252)", "rgb(27, 30, 34)")
    assert dark == ("rgb(21, 23, 26)", "rgb(227, 229, 232)")


def test_paper_has_ink_and_no_controls(browser, sample):
    browser.open(sample, scheme="dark")
    browser.media("dark", "print")
    for control in ("nav", ".skip", ".filter label", ".copy", ".files", ".anchor", "#tip"):
        assert browser.style(control, "display") == "none", control
    assert browser.style("body", "backgroundColor") == "rgb(255, 255, 255)"
    assert browser.style("body", "color") == "rgb(0, 0, 0)"
    assert browser.style(".scroll", "maxHeight") == "none"


def test_it_reads_in_order_under_one_heading(browser, sample):
    browser.open(sample)
    levels = browser.run("return [...document.querySelectorAll('h1, h2, h3')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert [browser.all(f"body > {name}") != [] for name in ("header", "nav", "main")] == [True] * 3
    unnamed = browser.run(
        "return [...document.querySelectorAll('svg, nav, section, article, .scroll, [role=img]')].filter(e => !("
        "e.getAttribute('aria-label') || document.getElementById(e.getAttribute('aria-labelledby'))?.textContent))"
        ".length"
    )
    assert unnamed == 0


def test_the_contents_lead_to_every_part(browser, sample):
    browser.open(sample)
    targets = browser.run("return [...document.querySelectorAll('a[href^=\"#\"]')].map(e => e.hash.slice(1))")
    assert all(browser.run("return a[0].map(id => !!document.getElementById(id))", targets))
    parts = browser.run("return [...document.querySelectorAll('main section, main article')].map(e => e.id)")
    assert browser.run("return [...document.querySelectorAll('nav a')].map(e => e.hash.slice(1))") == parts


def test_every_tab_stop_is_reached_and_seen(browser, sample):
    browser.open(sample)
    expected = browser.run(
        "return [...document.querySelectorAll('a, button, input, summary, [tabindex=\"0\"]')].map((e, i) => "
        "{ e.dataset.stop = i; return String(i); })"
    )
    state = """
    const e = document.activeElement, s = getComputedStyle(e), seen = e.getBoundingClientRect();
    const outline = s.outlineStyle === 'none' ? 0 : parseFloat(s.outlineWidth);
    const ring = e.matches('.fg-point') ? parseFloat(s.strokeWidth) : outline;
    return [e.dataset.stop ?? null, ring, seen.left >= 0 && seen.top < innerHeight && seen.bottom > 0];
    """
    reached = []
    for _ in expected:
        browser.press(Keys.TAB)
        stop, ring, seen = browser.run(state)
        assert ring >= 2, stop
        assert seen, stop
        reached.append(stop)
    assert reached == expected


def test_the_skip_link_leads_past_the_contents(browser, sample):
    browser.open(sample)
    browser.press(Keys.TAB)
    assert browser.run("return document.activeElement.className") == "skip"
    browser.press(Keys.ENTER)
    browser.press(Keys.TAB)
    assert browser.run("return document.activeElement.closest('main') !== null")


def test_a_command_is_copied(browser, sample):
    browser.open(sample)
    field = browser.one("#throughput-wide input")
    browser.one(".copy").click()
    browser.run("await new Promise(r => setTimeout(r, 100))")
    assert browser.one(".copy").text == "Copied"
    field.send_keys(Keys.CONTROL + "v" + Keys.NULL)
    assert field.get_attribute("value") == f"fgbench throughput --model '{HOSTILE}'"


def test_without_a_clipboard_a_command_is_selected(browser, sample):
    browser.open(sample)
    browser.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    browser.one(".copy").click()
    assert browser.run("return getSelection().toString()").startswith("fgbench throughput")
    assert browser.one(".copy").text == "Copy"
    assert browser.console() == []
