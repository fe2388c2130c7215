"""``fgbench report``: from saved rows to a folder, and messages about bad rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.throughput_rows import CPU, GPU, HOSTILE, ROWS, row
from typer.testing import CliRunner, Result

from fgbench.cli import app
from fgbench.cli.saved import read_data
from fgbench_reports.tables import render

pytestmark = pytest.mark.slow
FLOPS = {
    "convention": "full",
    "backbone": "vit_base_patch16_224",
    "model": None,
    "selector": None,
    "impl": None,
    "image_size": 224,
    "num_tokens": 197,
    "macs": 17_563_213_824,
    "flops": 35_242_000_000,
    "percent_of_backbone": 100.0,
    "params": 85_952_456,
}
SELECTOR = {
    **FLOPS,
    "selector": "gls",
    "impl": "fast",
    "macs": 150_528,
    "flops": 604_000,
    "percent_of_backbone": 0.0017,
}
YESTERDAY = '<meta name="generator" content="fgbench 0.1.0"> the report of yesterday'
PLUGIN = '''
import pandas as pd

from fgbench_reports.report import Data, Missing, Report, Table


class Counted(Report):
    """How many rows there are."""

    name = "counted"

    def items(self, data: Data):
        frame = pd.DataFrame({"kind": ["flops"], "rows": [len(data.flops)]})
        yield Table(name="counted", title="Rows <b>", frame=frame, printed=frame.astype(str), names=("kind",))


class Odd(Report):
    """Breaks."""

    def items(self, data: Data):
        raise RuntimeError("odd rows")
'''


def fgbench(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fgbench", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "FGBENCH_STORE"},
    )


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FGBENCH_STORE", raising=False)


def report(*words: object) -> Result:
    """The command inside of this process: what it says, without the time that a process takes to start."""
    return CliRunner().invoke(app, ["report", *map(str, words)])


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One process, and the folder it made of counted rows, of points with hostile names, and of a plug-in's reports."""
    cwd = tmp_path_factory.mktemp("everything")
    (cwd / "mine.py").write_text(PLUGIN)
    hostile = [{**each, "model": HOSTILE} for each in ROWS]
    (cwd / "rows.json").write_text(render.to_json([FLOPS, SELECTOR, *hostile]))
    done = fgbench("report", "--plugin", "mine.py", "--rows", "rows.json", "--output", "out", cwd=cwd)
    return done, cwd / "out"


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "rows.json"
    path.write_text(render.to_json([FLOPS, SELECTOR]))
    return path


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def test_an_empty_store_makes_a_page_that_names_the_commands(tmp_path):
    result = report("--output", "out")
    assert (result.exit_code, result.stdout) == (0, "")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "fgbench throughput" in page
    assert "13674" in page  # what was published is there without any row
    assert not (tmp_path / "fgbench.db").exists()


def test_every_file_that_the_page_links_to_is_there(everything):
    result, out = everything
    assert "Traceback" not in result.stderr
    links = Links()
    links.feed((out / "index.html").read_text())
    files = [link for link in links.found if not link.startswith(("#", "data:"))]
    assert "rows/flops.json" in files
    assert {Path(link).suffix for link in files} >= {".csv", ".md", ".tex", ".html", ".svg", ".png", ".json"}
    assert [link for link in files if not (out / link).is_file()] == []
    assert json.loads((out / "rows" / "flops.json").read_text())[1]["selector"] == "gls"


def test_a_thousand_rows_are_reported_without_torch(tmp_path):
    rows = [
        row(f"model{number}", size=size, batch=2**power, img_s=10.0 + number + power, best=power == 8)
        for number in range(28)
        for size in (224, 448, 768, 1024)
        for power in range(9)
    ]
    (tmp_path / "rows.json").write_text(render.to_json(rows[:1000]))
    script = (
        "import sys; from fgbench.cli import app; "
        "app(['report', '--rows', 'rows.json', '--output', 'out'], standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "out" / "rows" / "throughput.json").read_text())) == 1000


@pytest.mark.parametrize("style", ["json", "csv", "markdown", "latex", "table"])
def test_tables_go_to_standard_output_without_a_folder(style, saved):
    result = report("flops", "--rows", saved, "--format", style)
    assert result.exit_code == 0, result.stderr
    assert "gls" in result.stdout
    if style == "json":
        assert [line["selector"] for line in json.loads(result.stdout)] == ["(backbone)", "gls"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.json", '[{"convention": "full", "backbone": '),
        ("rows.json", '{"name": "somebody else\'s", "version": 3}'),
        ("rows.json", "[1, 2, 3]"),
        ("rows.json", json.dumps([{**FLOPS, "macs": "many"}])),
        ("rows.json", json.dumps([{**FLOPS, "percent_of_backbone": float("nan")}])),
        ("rows.csv", "first,second\n1,2\n"),
        ("rows.json", ""),
        ("rows.db", "SQLite format 3\0 and no more"),
        ("picture.png", "\x89PNG\r\n\x1a\n"),
    ],
)
def test_a_damaged_or_foreign_file_is_one_line_and_overwrites_nothing(name, content, tmp_path, saved):
    (tmp_path / name).write_text(content)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text(YESTERDAY)
    result = report("--rows", saved if name != "rows.json" else name, name, "--output", "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1, result.stderr
    assert name in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["index.html"]
    assert (tmp_path / "out" / "index.html").read_text() == YESTERDAY


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tabel4"], "did you mean table4"),
        (["--output", "rows.json"], "this is a file"),
        (["--gpu-hour-price", "cheap"], "--gpu-hour-price must be a number"),
        (["--rows", "nowhere.json"], "nowhere.json"),
        (["--store", "nowhere.db"], "nowhere.db"),
        (["--format", "pdf"], "format"),
        (["--format", "csv", "--output", "out"], "leave one out"),
        (["--plugin", "nowhere.py"], "no plug-in file"),
    ],
)
def test_bad_input_is_one_line(words, said, tmp_path, saved):
    result = report(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_report_of_ones_own_stands_beside_the_others_and_a_broken_one_takes_none_down(everything):
    result, out = everything
    assert (result.returncode, result.stdout) == (2, "")
    assert "plug-in 'odd' from mine.py is broken: RuntimeError: odd rows" in result.stderr
    assert "Rows &lt;b&gt;" in (out / "index.html").read_text()
    assert (out / "tables" / "counted.csv").is_file()
    assert (out / "tables" / "table1.csv").is_file()


def test_names_from_data_are_text_in_every_file(everything):
    _, out = everything
    assert "&lt;b&gt;*" in (out / "index.html").read_text()
    for path in [*out.rglob("*.html"), *out.rglob("*.svg")]:
        assert "<b>*" not in path.read_text(), path.name
    for path in out.rglob("*.csv"):
        assert "\n=mine" not in path.read_text(), path.name


def test_a_single_figure_needs_a_folder():
    Path("rows.json").write_text(render.to_json([row("vit", selector=None, environment=CPU, device="cpu")]))
    assert "fgbench: 1 figure needs a folder: --output DIR\n" in report("batch", "--rows", "rows.json").stderr
    assert " figures need a folder: --output DIR\n" in report("batch", "tradeoff", "--rows", "rows.json").stderr


def test_a_folder_inside_a_file_is_refused_before_anything_is_drawn(tmp_path, saved):
    result = fgbench("report", "--rows", saved, "--output", f"{saved.name}/out", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.strip().startswith("fgbench: --output cannot be a folder in a file:")


def test_a_file_whose_name_is_no_text_is_read(tmp_path, saved):
    name = tmp_path / os.fsdecode(b"bad\xff.json")
    try:
        name.write_bytes(saved.read_bytes())
    except OSError:
        pytest.skip("this file system has names of text alone")
    assert report("table1", "--rows", name, "--output", "out").exit_code == 0


def test_a_page_of_somebody_else_is_left_alone(tmp_path, saved):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("<title>mine</title>")
    result = fgbench("report", "--rows", saved, "--output", "out", cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "is left alone" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["index.html"]


def test_what_an_earlier_report_left_is_told(tmp_path, saved):
    (tmp_path / "out" / "tables").mkdir(parents=True)
    (tmp_path / "out" / "tables" / "older.csv").write_text("a\n1\n")
    result = fgbench("report", "table9", "--rows", saved, "--output", "out", cwd=tmp_path)
    assert result.returncode == 0
    assert "1 file in out is not of this report: tables/older.csv" in result.stderr


def test_rows_of_earlier_code_of_a_plug_in_are_left_out_and_told(tmp_path):
    def of(code, batch, time):
        return row("mine", batch=batch, environment={**GPU, "foreign_code": code, "time": time})

    first, second, newest = (
        of("a1", 1, "2026-01-01T00:00"),
        of("a1", 2, "2026-01-01T00:01"),
        of("b2", 1, "2026-01-02T00:00"),
    )
    (tmp_path / "rows.json").write_text(render.to_json([newest, first, second, row()]))
    problems = []
    data = read_data(None, [tmp_path / "rows.json"], problems.append)
    codes = [(one.model, one.environment.get("foreign_code")) for one in data.throughput]
    assert codes == [("mine", "b2"), ("glsim", None)]
    assert list(map(str, problems)) == [
        "left out: 2 rows of mine that other code of this name gave, the newest is shown; 'fgbench export' has all rows"
    ]


def test_what_a_function_builds_for_another_size_or_head_is_no_other_code(tmp_path):
    def of(code, time, **fields):
        classes = fields.pop("num_classes", 200)
        return row("n.py:f", environment={**GPU, "foreign_code": code, "time": time, "num_classes": classes}, **fields)

    kept = [of("a1-01", "2026-01-01", size=224), of("a1-02", "2026-01-02", size=448)]
    kept += [of("a1-03", "2026-01-03", size=448, num_classes=10), of("a1-04", "2026-01-04", size="224x448")]
    problems = []
    (tmp_path / "rows.json").write_text(render.to_json(kept))
    assert len(read_data(None, [tmp_path / "rows.json"], problems.append).throughput) == 4
    assert problems == []
    (tmp_path / "rows.json").write_text(render.to_json([*kept, of("a1-05", "2026-01-05", size=224, batch=8)]))
    data = read_data(None, [tmp_path / "rows.json"], problems.append)
    assert [str(one.environment["foreign_code"]) for one in data.throughput] == ["a1-02", "a1-03", "a1-04", "a1-05"]
    (tmp_path / "rows.json").write_text(render.to_json([*kept, of("b2-01", "2026-01-06", size=224)]))
    data = read_data(None, [tmp_path / "rows.json"], problems.append)
    assert [one.environment["foreign_code"] for one in data.throughput] == ["b2-01"]
    assert [str(problem)[:31] for problem in problems] == [
        "left out: 1 row of n.py:f that ",
        "left out: 4 rows of n.py:f that",
    ]


def test_functions_in_two_files_of_one_name_are_told_apart(tmp_path):
    def of(path, code, batch=1):
        environment = {**GPU, "foreign_code": code, "model_file": path, "time": f"2026-01-0{batch}"}
        return row("net.py:f", backbone="net.py:f", batch=batch, environment=environment)

    def names(*rows):
        problems = []
        (tmp_path / "rows.json").write_text(render.to_json(rows))
        data = read_data(None, [tmp_path / "rows.json"], problems.append)
        assert problems == []
        assert all(one.backbone == one.model for one in data.throughput)
        return [one.model for one in data.throughput]

    assert names(of("/x/a/net.py", "a1"), of("/x/b/net.py", "b2")) == ["a/net.py:f", "b/net.py:f"]
    assert names(of("/x/a/m/net.py", "a1"), of("/x/b/m/net.py", "a1", 2)) == ["a/m/net.py:f", "b/m/net.py:f"]
    assert names(of("/net.py", "a1"), of("/b/net.py", "a1", 2)) == ["/net.py:f", "b/net.py:f"]
    assert names(of("/x/a/net.py", "a1"), of("/x/a/net.py", "a1", 2)) == ["net.py:f", "net.py:f"]


def test_a_report_is_of_some_models_alone(tmp_path):
    rows = [
        row("glsim", img_s=50.0),
        row("convnext_tiny", selector=None, impl=None, img_s=90.0),
        row("vit", img_s=70.0),
    ]
    (tmp_path / "rows.json").write_text(render.to_json([FLOPS, *rows]))
    words = ("throughput", "--rows", "rows.json", "--format", "csv")
    assert len(report(*words).stdout.splitlines()) == 4
    result = report(*words, "--models", "glsim", "timm/convnext_tiny")
    assert result.exit_code == 0, result.stderr
    assert [line.partition(",")[0] for line in result.stdout.splitlines()[1:]] == ["glsim", "convnext_tiny"]
    result = report(*words, "--models", "glsmi")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "fgbench: no row is of the model 'glsmi'; there are: glsim, convnext_tiny, vit\n"
    result = report(*words, "--models", "glsim", "--baseline", "vit")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--baseline must be one of the models" in result.stderr


def test_commands_that_would_fill_a_report_name_the_plug_in_files(tmp_path, saved):
    (tmp_path / "a mine.py").write_text(PLUGIN)
    assert "--plugin" not in report("throughput", "--rows", saved).stderr
    told = report("throughput", "--rows", saved, "--plugin", "a mine.py").stderr
    assert " --plugin 'a mine.py'' would" in told
