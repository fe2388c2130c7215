"""Times of the command line: every option takes milliseconds, too."""

from __future__ import annotations

import pytest

from fgbench.errors import FgbenchError
from fgbench.options import MAX_TIME
from fgbench.quantities import duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("1s500ms", 1.5), ("10m", 600), ("1h30m", 5400), ("1m5ms", 60.005)]
)
def test_times_have_units_down_to_milliseconds(text, seconds):
    assert duration(text, "--max-time") == pytest.approx(seconds)
    assert MAX_TIME.read(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["0ms", "ms", "5", "-5ms", "5us"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(FgbenchError, match="--max-time must be a time"):
        duration(text, "--max-time")
