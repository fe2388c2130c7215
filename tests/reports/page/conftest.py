from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import page_samples

from fgbench_reports.page import Page, to_html


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """One Chromium for all tests; where there is none they are skipped, unless FGBENCH_BROWSER=required."""
    from helpers.browser import Browser, found

    paths = found()
    if paths is None:
        reason = "no chromium with its chromedriver is on the path: apt-get install chromium chromium-driver"
        if os.environ.get("FGBENCH_BROWSER") == "required":
            pytest.fail(f"FGBENCH_BROWSER=required, and {reason}")
        pytest.skip(reason)
    browser = Browser(*paths)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def write(tmp_path_factory) -> Callable[[Page], Path]:
    """Writes a page and says where."""
    folder, written = tmp_path_factory.mktemp("pages"), []

    def to_file(page: Page) -> Path:
        written.append(folder / f"{len(written)}.html")
        written[-1].write_text(to_html(page), encoding="utf-8")
        return written[-1]

    return to_file


@pytest.fixture(scope="session")
def sample(write) -> Path:
    """A page with a bit of everything."""
    return write(page_samples.page())
