from __future__ import annotations

import pytest
from helpers.page_samples import HOSTILE, LONG, Section, TableBlock, page, table, wide_table
from selenium.webdriver.common.keys import Keys

SPEED, WIDE = "#throughput-speed", "#throughput-wide"
FIRST = ["glsim", "transfg", "ffvt", "vit10", "vit9", HOSTILE]


@pytest.fixture(autouse=True)
def opened(browser, sample):
    browser.open(sample)


def names(browser, where=SPEED):
    return browser.texts(f"{where} tbody th")


def heading(browser, number, where=SPEED):
    return browser.one(f"{where} thead th:nth-child({number})")


def sort(browser, number, where=SPEED):
    heading(browser, number, where).find_element("css selector", "button").click()
    return heading(browser, number, where).get_attribute("aria-sort")


def test_figures_are_sorted_as_numbers_missing_ones_last_and_back(browser):
    assert names(browser) == FIRST
    assert sort(browser, 3) == "ascending"
    assert names(browser) == ["vit10", "glsim", "vit9", "ffvt", "transfg", HOSTILE]
    assert sort(browser, 3) == "descending"
    assert names(browser) == ["ffvt", "vit9", "glsim", "vit10", "transfg", HOSTILE]
    assert sort(browser, 3) == "none"
    assert names(browser) == FIRST


def test_names_are_sorted_as_people_do(browser):
    sort(browser, 1)
    assert names(browser) == [HOSTILE, "ffvt", "glsim", "transfg", "vit9", "vit10"]


def test_equal_lines_stay_in_their_order_and_missing_words_are_last(browser):
    sort(browser, 2)
    assert names(browser) == ["transfg", "vit10", HOSTILE, "glsim", "ffvt", "vit9"]
    sort(browser, 2)
    assert names(browser) == ["transfg", "vit10", HOSTILE, "glsim", "ffvt", "vit9"]


def test_only_one_column_says_that_it_is_sorted(browser):
    sort(browser, 3)
    assert sort(browser, 1) == "ascending"
    assert heading(browser, 3).get_attribute("aria-sort") == "none"
    assert browser.one("#said").get_attribute("textContent") == "Sorted by model, ascending"


@pytest.mark.parametrize("key", [Keys.ENTER, Keys.SPACE])
def test_tables_are_sorted_by_keyboard(browser, key):
    browser.run("document.querySelector(a[0]).focus()", f"{SPEED} th:nth-child(3) button")
    browser.press(key)
    assert names(browser)[0] == "vit10"


def test_infinite_and_exponential_values_are_numbers(browser, write):
    from helpers.page_samples import Cell

    values = ["1e3", "-inf", "inf", "nan", "-2.5", "7"]
    lines = [[value, Cell(value)] for value in values]
    html = table("Odd", ["name", "value"], lines, figures=1)
    for value in values:
        html = html.replace(f'"figure">{value}<', f'"figure" data-value="{value}">{value}<')
    block = TableBlock(name="odd", title="Odd", html=html)
    browser.open(write(page(sections=[Section(name="t", title="T", summary="", items=[block])])))
    sort(browser, 2, "#t-odd")
    assert names(browser, "#t-odd") == ["-inf", "-2.5", "7", "1e3", "inf", "nan"]


def test_few_lines_have_no_filter(browser):
    assert not browser.all(f"{SPEED} input")
    assert browser.all(f"{WIDE} input")


def test_a_filter_takes_all_words_counts_and_is_cleared(browser):
    field, shown = browser.one(f"{WIDE} input"), browser.one(f"{WIDE} output")
    assert (shown.text, len(names(browser, WIDE))) == ("40 lines", 40)
    field.send_keys("MODEL1 dinov2")
    left = names(browser, WIDE)
    assert shown.text == f"{len(left)} of 40 lines"
    assert len(left) == 3
    assert set(left) == {"model1"}
    field.send_keys("zzz")
    assert (shown.text, names(browser, WIDE)) == ("0 of 40 lines", [])
    field.send_keys(Keys.ESCAPE)
    assert (shown.text, len(names(browser, WIDE)), field.get_attribute("value")) == ("40 lines", 40, "")
    assert shown.get_attribute("aria-live") == "polite"
    assert field.get_attribute("aria-label") == "Filter the lines of Every size"


def test_what_is_filtered_is_sorted_and_what_is_sorted_is_filtered(browser):
    browser.one(f"{WIDE} input").send_keys("model1")
    sort(browser, 3, WIDE)
    values = [float(text) for text in browser.texts(f"{WIDE} tbody td:nth-child(3)")]
    assert values == sorted(values)
    assert len(values) == 6
    browser.one(f"{WIDE} input").send_keys(Keys.ESCAPE)
    values = [float(text) for text in browser.texts(f"{WIDE} tbody td:nth-child(3)")]
    assert values == sorted(values)
    assert len(values) == 40


def test_headings_stay_while_a_table_scrolls_and_it_scrolls_by_keyboard(browser):
    region = browser.one(f"{WIDE} .scroll")
    assert (region.get_attribute("role"), region.get_attribute("aria-label")) == ("region", "Every size")
    browser.run("document.querySelector(a[0]).focus()", f"{WIDE} .scroll")
    browser.press(Keys.END)
    browser.run("await new Promise(r => setTimeout(r, 350))")
    above, top = browser.run(
        "const r = document.querySelector(a[0]); return [r.scrollTop, "
        "r.querySelector('th').getBoundingClientRect().top - r.getBoundingClientRect().top]",
        f"{WIDE} .scroll",
    )
    assert above > 50
    assert abs(top) <= 3


def test_only_a_table_that_scrolls_is_a_tab_stop(browser):
    stops = browser.run("return [...document.querySelectorAll('.scroll')].map(e => e.tabIndex)")
    assert stops == [-1, 0]


def test_a_long_name_is_whole(browser):
    assert LONG in names(browser, WIDE)
    assert browser.run(
        "return [...document.querySelectorAll(a[0])].every(e => e.scrollWidth <= e.clientWidth + 1)",
        f"{WIDE} tbody th",
    )


def test_ten_thousand_lines_are_sorted_and_filtered_within_a_second(browser, write):
    large = page(sections=[Section(name="t", title="T", summary="", items=[wide_table(10_000, 12)])])
    browser.open(write(large))
    frame = "await new Promise(r => requestAnimationFrame(() => setTimeout(r)))"
    sorting = "const t = performance.now(); document.querySelector(a[0]).click(); "
    taken = browser.run(f"{sorting}{frame}; return performance.now() - t", "th:nth-child(3) button")
    assert taken < 1000
    values = [float(text) for text in browser.texts("tbody td:nth-child(3)")]
    assert len(values) >= 500
    assert values == sorted(n * 37 % 1000 + 0.5 for n in range(10_000))[: len(values)]
    browser.one("input").send_keys("model3 dinov2")
    browser.run("await new Promise(r => setTimeout(r, 300))")
    assert browser.one("output").text == "714 of 10,000 lines"
    reached = "const r = document.querySelector('.scroll'); for (let i = 0; i < 5; i++) { r.scrollTop = 1e9; "
    browser.run(f"{reached}await new Promise(r => setTimeout(r, 60)); }}")
    assert len(names(browser, "#t-wide")) == 714  # scrolled to, they are all there


def test_on_paper_all_lines_are_there_and_headings_repeat(browser, write):
    large = page(sections=[Section(name="t", title="T", summary="", items=[wide_table(520, 5)])])
    browser.open(write(large))
    rows = "document.querySelectorAll('tbody tr').length"
    browser.run(f"addEventListener('beforeprint', () => {{ window.printed = {rows}; }})")
    assert browser.run(f"return {rows}") == 500
    browser.cdp("Page.printToPDF", transferMode="ReturnAsBase64")
    assert browser.run("return window.printed") == 520
    assert browser.run(f"return {rows}") == 500
    browser.media(media="print")
    assert browser.style("thead", "display") == "table-header-group"
    assert browser.style(".scroll", "overflow") == "visible"


def test_without_a_script_all_lines_are_there(browser, write):
    large = page(sections=[Section(name="t", title="T", summary="", items=[wide_table(600, 4)])])
    with browser.without_script():
        browser.open(write(large))
        heights = browser.run("return [...document.querySelectorAll('tbody tr')].map(e => e.offsetHeight)")
        assert len(heights) == 600
        assert min(heights) > 0
        assert not browser.all("button")
