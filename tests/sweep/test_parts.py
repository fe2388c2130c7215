"""Parts of points and training steps in a sweep: what is measured, stored, read again, and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.slow_selector import SLEEP_S
from helpers.sweeping import request, sweep
from PIL import Image
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.errors import FgbenchError
from fgbench.measure.parts import END_TO_END, REST, SUM, WHOLE
from fgbench.results.store import Store
from fgbench.sweep.context import open_sweep
from fgbench.sweep.picture_files import MOST_PICTURES, check_parts
from fgbench.sweep.sweep import KIND

HELPERS = Path(__file__).parents[1] / "helpers"
SLOW, STUB = HELPERS / "slow_selector.py", HELPERS / "stub_engine.py"
ONE = {"batch_sizes": [1], "image_sizes": [64], "cap_s": 0.05}
STAGES = ["pass 1", "selector", "crop", "pass 2", "fusion"]


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for name in ("a.jpg", "b.png", "inner/c.jpg"):
        Image.fromarray(noise.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.jpg").write_text("no picture")
    return folder


def parts_of(rows, batch: int = 1) -> list[str | None]:
    return [row.part for row in rows if row.part != REST and row.batch_size == batch]


@pytest.mark.slow
def test_stages_are_measured_beside_a_stored_point_and_kept(pool, tmp_path):
    store = tmp_path / "s.db"
    before = sweep(pool, store, **ONE)
    events = []
    done = sweep(pool, store, events=events, by_part=True, **ONE)
    assert (before.measured, done.measured) == (1, 0), "the whole is not measured again"
    assert done.rows[0] == before.rows[0]
    assert parts_of(done.rows) == [None, *STAGES, WHOLE, SUM]
    assert [row.best for row in done.rows] == [True] + [False] * (len(done.rows) - 1)
    assert [event.row.part for event in events if event.row] == [SUM]
    total = done.rows[-1]
    assert total.environment["seen"]["parts"] == [row.part for row in done.rows[1:-1]]
    assert all(row.environment["missing"]["energy_j_per_image"] for row in done.rows)
    again = sweep(pool, store, by_part=True, **ONE)
    assert (again.measured, again.stored) == (0, 1)
    assert again.rows == done.rows
    with Store(store) as opened:
        assert len(list(opened.rows(KIND))) == len(done.rows)
    anew = sweep(pool, store, by_part=True, again=True, **ONE)
    assert anew.measured == 1
    assert anew.rows[-1].blocks != done.rows[-1].blocks


@pytest.mark.slow
def test_a_selector_that_sleeps_is_slow_in_its_part(pool, tmp_path):
    rows = sweep(pool, tmp_path / "s.db", selectors=["sleepy"], plugins=[str(SLOW)], by_part=True, **ONE).rows
    seconds = {row.part: row.latency_s for row in rows}
    assert seconds["selector"] >= SLEEP_S
    assert seconds[SUM] >= SLEEP_S


@pytest.mark.slow
def test_the_way_from_files_to_logits_is_measured_in_parts(pool, tmp_path, pictures):
    (pictures / "broken.jpg").write_bytes(b"no picture")
    problems = []
    done = sweep(pool, tmp_path / "s.db", problems, end_to_end=str(pictures), **ONE)
    (problem,) = map(str, problems)
    assert "left out: not a picture that Pillow reads" in problem
    assert "broken.jpg" in problem
    assert parts_of(done.rows) == [None, "decode", "resize", "transfer", "model", END_TO_END]
    total = done.rows[-1]
    assert total.environment["pictures"]["count"] == 3
    assert total.throughput_img_s == pytest.approx(1 / total.latency_s)
    assert total.latency_s > max(row.latency_s for row in done.rows[1:-1])
    (pictures / "a.jpg").write_bytes((pictures / "b.png").read_bytes())
    other = open_sweep(request(end_to_end=str(pictures), **ONE), pool, problems.append)
    assert other.pictures.digest != total.environment["pictures"]["digest"]


@pytest.mark.slow
def test_of_a_folder_without_a_readable_picture_one_line_says_why(pool, tmp_path):
    with pytest.raises(FgbenchError, match="there is no picture in"):
        open_sweep(request(end_to_end=str(tmp_path)), pool, [].append)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(FgbenchError, match=r"can be read; not a picture that Pillow reads: .*a\.jpg' and 1 more"):
        open_sweep(request(end_to_end=str(tmp_path)), pool, [].append)
    assert MOST_PICTURES >= 256


@pytest.mark.slow
def test_a_training_step_is_a_mode_of_its_own(pool, tmp_path):
    store = tmp_path / "s.db"
    forward = sweep(pool, store, **ONE).rows
    step = sweep(pool, store, training=True, **ONE)
    assert step.measured == 1
    assert step.rows[0].is_training
    assert step.rows[0].best
    assert step.rows[0].environment["macs_per_image"] > 2 * forward[0].environment["macs_per_image"]
    assert sweep(pool, store, **ONE).rows == forward


@pytest.mark.slow
def test_engines_without_stages_are_named_and_the_others_measured(pool):
    problems = []
    asked = request(engines=["torch", "stub"], plugins=[str(STUB)], **ONE)
    platforms = open_sweep(asked, pool, problems.append).platforms
    check_parts(request(by_part=True), platforms, problems.append)
    assert list(map(str, problems)) == [
        "engine 'stub' does not run models stage by stage, as --by-part needs; engine torch does"
    ]
    alone = {mode: platform for mode, platform in platforms.items() if mode.engine == "stub"}
    with pytest.raises(FgbenchError, match="engine 'stub' does not take pictures, as --end-to-end needs"):
        check_parts(request(end_to_end="."), alone, problems.append)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--by-part", "--compile"], "stages run one by one in eager mode"),
        (["--by-part", "--cuda-graph"], "leave --cuda-graph or --by-part out"),
        (["--by-part", "--train"], "--by-part divides a forward pass"),
        (["--end-to-end", ".", "--train"], "--end-to-end divides a forward pass"),
        (["--end-to-end", "nowhere"], "no such folder of pictures:"),
        (["--train", "--cuda-graph"], "a training step is not captured in a"),
    ],
)
def test_options_that_contradict_each_other_are_refused_before_anything_starts(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["throughput", "--model", "vit", *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_command_shows_parts_behind_the_points(borrowed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--model", "vit", "--backbones", "test_vit", "--sizes", "64", "--batch-sizes", "1", "--threads", "1"]
    words += ["--max-time", "0.05s", "--device", "cpu", "--by-part"]
    shown = CliRunner().invoke(app, ["throughput", *words])
    assert shown.exit_code == 0, shown.stderr
    assert "sum − whole" in shown.stdout
    rows = json.loads(CliRunner().invoke(app, ["throughput", *words, "--format", "json"]).stdout)
    assert [row["part"] for row in rows if row["part"] != REST] == [None, "pass 1", "fusion", WHOLE, SUM]
    assert all("added_memory_bytes" in row for row in rows)
