from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.testing.compare import compare_images
from PIL import Image

from fgbench_reports.plots.formats import to_png
from fgbench_reports.report import Drawing

BASELINES = Path(__file__).parent / "baseline"
DPI = 80
TOLERANCE = 0.25  # root mean square of 255; a lost mark is more, as a test shows


def difference(drawing: Drawing, name: str, folder: Path) -> str | None:
    """How a drawing differs from its baseline, in words; None if it does not."""
    baseline, drawn = BASELINES / f"{name}.png", folder / f"{name}.png"
    drawn.write_bytes(to_png(drawing, DPI))
    with Image.open(baseline) as image:
        version = image.info["Software"].partition("version")[2].partition(",")[0]
    if version.split(".")[:2] != mpl.__version__.split(".")[:2]:
        pytest.skip(f"the baselines were drawn by Matplotlib {version}; {mpl.__version__} draws other letters")
    return compare_images(str(baseline), str(drawn), tol=TOLERANCE)


@pytest.fixture
def same_as_baseline(tmp_path) -> Callable[[Drawing, str], None]:
    """Compare a drawing with ``baseline/<name>.png``; FGBENCH_UPDATE_SNAPSHOTS=1 rewrites it."""

    def compare(drawing: Drawing, name: str) -> None:
        if os.environ.get("FGBENCH_UPDATE_SNAPSHOTS"):
            BASELINES.mkdir(exist_ok=True)
            (BASELINES / f"{name}.png").write_bytes(to_png(drawing, DPI))
        told = difference(drawing, name, tmp_path)
        assert told is None, f"{told}\nFGBENCH_UPDATE_SNAPSHOTS=1 rewrites what is expected; look at it."

    return compare
