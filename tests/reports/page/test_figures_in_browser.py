from __future__ import annotations

import pytest
from helpers.browser import DESKTOP, PHONE
from helpers.page_samples import CORNERS, HOSTILE, LONG, page
from selenium.webdriver.common.keys import Keys

SIZE, CORNER = "#throughput-size", "#accuracy-corners"
Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ARROW_UP, Keys.ARROW_DOWN, Keys.HOME, Keys.END, Keys.ESCAPE, Keys.TAB = (
    "\ue014",
    "\ue012",
    "\ue013",
    "\ue015",
    "\ue011",
    "\ue010",
    "\ue00c",
    "\ue004",
)
LATER = "await new Promise(r => setTimeout(r, 260)); "  # than the moment for which a text waits for the pointer


@pytest.fixture(autouse=True)
def opened(browser, sample):
    browser.open(sample)


def said(browser) -> list[str] | None:
    """The lines of the text that is shown, if one is."""
    return browser.run(
        "const t = document.getElementById('tip'); return t.hidden ? null : [...t.children].map(e => e.textContent)"
    )


def focus(browser, where=CORNER):
    browser.run("document.querySelector(a[0]).focus()", f"{where} .fg-point[tabindex='0']")


def points(browser, where=CORNER):
    return browser.all(f"{where} .fg-point")


def test_hovering_names_a_point_and_its_numbers(browser):
    browser.hover(points(browser, SIZE)[2])
    assert said(browser) == ["glsim at 672", "333.3 img/s", "batch 8"]
    browser.hover(points(browser, SIZE)[3])
    assert said(browser) == ["glsim at 896", "250.0 img/s", "batch 16"]


def test_a_point_is_met_from_a_little_beside_it_and_left_further_off(browser):
    browser.hover(points(browser)[1], 12, 0)
    assert said(browser)[0] == "a at 2"
    browser.hover(points(browser)[1], 60, 0)
    assert browser.run(f"{LATER} return document.getElementById('tip').hidden")


def test_a_name_with_html_is_text_in_a_tooltip(browser):
    browser.hover(points(browser)[4])
    assert said(browser) == [HOSTILE, "4 img/s"]
    assert not browser.all("#tip img, #tip b")


def test_a_figure_is_one_tab_stop_and_arrows_go_by_x_then_by_series(browser):
    assert browser.run("return document.querySelectorAll(a[0]).length", f"{CORNER} [tabindex='0']") == 1
    focus(browser)
    seen = [said(browser)[0]]
    for _ in range(6):
        browser.press(Keys.ARROW_RIGHT)
        seen.append(said(browser)[0])
    assert seen == ["a at 1", "b at 1", "a at 2", HOSTILE, "a at 3", "b at 3", "b at 3"]
    back = [(Keys.ARROW_LEFT, "a at 3"), (Keys.ARROW_UP, HOSTILE)]
    ends = [(Keys.HOME, "a at 1"), (Keys.ARROW_DOWN, "b at 1"), (Keys.END, "b at 3")]
    for key, name in [*back, *ends]:
        browser.press(key)
        assert said(browser)[0] == name
    assert browser.run("return document.querySelectorAll(a[0]).length", f"{CORNER} [tabindex='0']") == 1
    browser.press(Keys.TAB)
    assert browser.run("return document.activeElement.matches('.fg-point')") is False
    assert browser.run(f"{LATER} return document.getElementById('tip').hidden")


def test_the_focus_returns_to_the_point_that_was_left(browser):
    focus(browser)
    browser.press(Keys.ARROW_RIGHT, Keys.TAB)
    browser.press(Keys.SHIFT + Keys.TAB + Keys.NULL)
    assert said(browser)[0] == "b at 1"


def test_escape_hides_a_text_until_another_point_is_met(browser):
    browser.hover(points(browser)[1])
    assert said(browser)
    browser.press(Keys.ESCAPE)
    assert said(browser) is None
    browser.hover(points(browser)[1], 2, 2)
    assert said(browser) is None
    browser.hover(points(browser)[4])
    assert said(browser)[0] == HOSTILE
    focus(browser)
    browser.press(Keys.ESCAPE)
    assert said(browser) is None
    browser.press(Keys.ARROW_RIGHT)
    assert said(browser)


def test_the_pointer_may_go_to_the_text_and_the_text_stays(browser):
    browser.hover(points(browser)[1])
    browser.hover(browser.one("#tip"))
    assert browser.run(f"{LATER} return document.getElementById('tip').hidden") is False
    browser.hover(browser.one("h1"))
    assert browser.run(f"{LATER} return document.getElementById('tip').hidden") is True


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_a_text_never_leaves_the_viewport(browser, sample, size):
    browser.open(sample, size=size)
    inside = (
        "const r = document.getElementById('tip').getBoundingClientRect(); "
        "return [r.left, r.top, document.documentElement.clientWidth - r.right, innerHeight - r.bottom, r.width]"
    )
    focus(browser)
    for index in range(len(CORNERS)):
        *room, width = browser.run(inside)
        assert min(room) >= 0, f"{size}, point {index}: {room}"
        assert width > 30
        browser.press(Keys.ARROW_RIGHT)
    browser.hover(points(browser)[2])  # that with the longest name, in a corner
    assert LONG in said(browser)
    assert min(browser.run(inside)[:4]) >= 0
    browser.run(f"scrollBy(0, -120); {LATER}")
    assert min(browser.run(inside)[:4]) >= 0


def test_a_finger_need_not_hit_a_point_exactly(browser, sample):
    browser.open(sample, size=PHONE)
    x, y = browser.run(
        "const e = document.querySelectorAll(a[0])[1]; e.scrollIntoView({block: 'center'}); "
        "const r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]",
        f"{CORNER} .fg-point",
    )
    browser.cdp("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        browser.cdp("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x + 14, "y": y + 14}])
        browser.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        browser.run(LATER)
        assert said(browser)[0] == "a at 2"
        browser.cdp("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x + 70, "y": y}])
        browser.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        browser.run(LATER)
        assert said(browser) is None
    finally:
        browser.cdp("Emulation.setTouchEmulationEnabled", enabled=False)


def test_every_point_is_named_for_those_who_do_not_see_it(browser):
    named = browser.run("return [...document.querySelectorAll('.fg-point')].map(e => e.getAttribute('aria-label'))")
    assert all(named)
    assert browser.texts(f"{CORNER} details p") == ["Two series in the corners."]


def test_two_figures_of_one_maker_do_not_share_their_ids(browser, write):
    from helpers.page_samples import Section, figure_block

    blocks = [figure_block("one"), figure_block("two")]
    browser.open(write(page(sections=[Section(name="f", title="F", summary="", items=blocks)])))
    ids = browser.run("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    lost = browser.run(
        "return [...document.querySelectorAll('use')]"
        ".filter(e => !document.getElementById(e.href.baseVal.slice(1))).length"
    )
    assert lost == 0
    assert browser.run("return document.querySelectorAll('use').length") > 20
