"""Reports of plug-ins: if one fails, the other reports are still made."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from helpers.hostile import plugin
from typer.testing import CliRunner, Result

from fgbench.cli import app
from fgbench.plugins.kinds import reports
from fgbench.plugins.reports import make_reports
from fgbench_reports.data import Data
from fgbench_reports.plain import from_plain, to_plain
from fgbench_reports.report import Table

HEAD = """
import os, signal, sys, time
import pandas as pd
from matplotlib.figure import Figure as Canvas
from fgbench.errors import FgbenchError
from fgbench_reports.report import Data, Drawing, Figure, Missing, Point, Report, Table

frame = pd.DataFrame({"kind": ["flops"], "rows": [1]})
good = dict(name="t", title="T", frame=frame, printed=frame.astype(str), names=("kind",))
class Own(BaseException): pass
class Evil:
    def __str__(self): raise KeyError("no words")
    __repr__ = __str__
class Picture(Figure):
    def draw(self): return Drawing(canvas=Canvas())
def picture(draw):
    class Odd(Figure):
        pass
    Odd.draw = draw
    return Odd(name="p", title="P", alt="a picture")
def fail(error): raise error
"""
REPORT = '''
class R{index}(Report):
    """One of many."""
    name = "bad{index}"
    def items(self, data):
        {body}
'''
# The body of items() → what is said.
ITEMS = {
    "raise KeyError('x')": "KeyError: 'x'",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise SystemExit(0)": "it calls sys.exit(0)",
    "raise GeneratorExit": "GeneratorExit",
    "raise StopIteration": "StopIteration",
    "raise MemoryError": "MemoryError",
    "raise Own('mine')": "Own: mine",
    "raise FgbenchError('an error of ours')": "FgbenchError: an error of ours",
    "return self.items(data)": "RecursionError",
    "os._exit(0)": "left with exit code 0",
    "os.kill(os.getpid(), 11)": "SIGSEGV",
    "os.kill(os.getpid(), signal.SIGINT)": "KeyboardInterrupt",
    "return None": "TypeError: 'NoneType' object is not iterable",
    "return 5": "TypeError: 'int' object is not iterable",
    "return 'abc'": "a report is made of Table, Figure and Missing, and it has a str",
    "return [Table]": "it has a type",
    "return (Missing(what=str(n), command='c') for n in iter(int, 1))": "more than 1000 tables and figures",
    "return [Missing(what=5, command='c')]": "the what of a Missing must be words",
    "return [Missing(what='a', command=['c'])]": "the command of a Missing must be words",
    "return [Table(**{**good, 'name': 'a/../b'})]": "the name of a Table must be letters, digits, - and _",
    "return [Table(**{**good, 'name': None})]": "the name of a Table must be words",
    "return [Table(**good), Table(**good)]": "two of its tables and figures have the name 't'",
    "return [Table(**{**good, 'title': 7})]": "the title of a Table must be words",
    "return [Table(**{**good, 'frame': [[1]]})]": "must be DataFrames",
    "return [Table(**{**good, 'printed': None})]": "must be DataFrames",
    "return [Table(**{**good, 'printed': frame})]": "the cells that Table 't' prints must be words",
    "return [Table(**{**good, 'printed': frame.astype(str).head(0)})]": "the same lines, and the same headings",
    "return [Table(**{**good, 'notes': 'abc'})]": "the notes of Table 't' must be a list of sentences",
    "return [Table(**{**good, 'notes': [5]})]": "the notes of Table 't' must be a list of sentences",
    "return [Table(**{**good, 'names': 5})]": "not iterable",
    "return [Table(**{**good, 'names': 'kind'})]": "the names of Table 't' must be headings",
    "return [Table(**{**good, 'marks': {(9, 'rows'): 'best'}})]": "the marks of Table 't' must be at a line",
    "return [Table(**{**good, 'marks': {(0, 'rows'): 'worst'}})]": "must be 'best' or 'second'",
    "return [Table(**{**good, 'marks': [1]})]": "AttributeError",
    "return [Table(**{**good, 'frame': pd.DataFrame({1: [1], 2: [2]})})]": "the same headings",
    "return [Table(**{**good, 'frame': frame.assign(rows=[Evil()])})]": "no words",
    "return [Table(**{**good, 'title': '\\ud800'})]": "surrogates not allowed",
    "return [Missing(what='\\ud800', command='c')]": "surrogates not allowed",
    "return [Picture(name='p', title='P', alt=5)]": "the alt of a Figure must be words",
}
# What draw() does → what is said, where there is a folder.
DRAWN = {
    "1 / 0": "ZeroDivisionError",
    "fail(KeyboardInterrupt())": "KeyboardInterrupt",
    "fail(SystemExit(3))": "it calls sys.exit(3)",
    "fail(Own('mine'))": "Own: mine",
    "os._exit(7)": "left with exit code 7",
    "os.kill(os.getpid(), 6)": "SIGABRT",
    "None": "AttributeError",
    "5": "AttributeError",
    "Drawing(canvas='c')": "AttributeError",
    "Drawing(canvas=Canvas(figsize=(1e9, 1e9)))": "Error",
    "Drawing(canvas=Canvas(), points=[3])": "AttributeError",
    "Drawing(canvas=Canvas(), points=5)": "TypeError",
}
ENDLESS = ("while True: pass", "time.sleep(9999)", "os.kill(os.getpid(), signal.SIGSTOP)")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.py").write_text(plugin("reports", "Good"))
    (tmp_path / "rows.json").write_text("[]")


def report(*words: str) -> Result:
    files = [word for path in sorted(Path().glob("*.py")) for word in ("--plugin", path.name)]
    return CliRunner().invoke(app, ["report", *words, "--rows", "rows.json", *files])


def many(bodies) -> list[str]:
    """A file of reports with these bodies; their names."""
    code = "".join(REPORT.format(index=index, body=body) for index, body in enumerate(bodies))
    Path("many.py").write_text(HEAD + code)
    return [f"bad{index}" for index in range(len(bodies))]


def check_named(result: Result, names: list[str], said) -> None:
    for name, why in zip(names, said, strict=True):
        (line,) = [line for line in result.stderr.splitlines() if f"plug-in {name!r} from many.py is broken" in line]
        assert why in line


def test_whatever_items_makes_it_is_named_and_the_others_are_made():
    names = many(ITEMS)
    result = report("table9", *names, "good", "--format", "json")
    assert result.exit_code == 2
    check_named(result, names, ITEMS.values())
    assert {line["report"] for line in json.loads(result.stdout)} == {"table9", "rows"}


def test_whatever_draw_does_it_is_named_and_the_others_are_drawn(tmp_path):
    names = many([f"return [Table(**good), picture(lambda self: {drawn})]" for drawn in DRAWN])
    result = report("table9", *names, "good", "--output", "out")
    assert result.exit_code == 2
    check_named(result, names, DRAWN.values())
    tables = {path.stem for path in (tmp_path / "out" / "tables").glob("*.csv")}
    assert {"table9", "good-rows"} <= tables
    assert not [name for name in tables if name.startswith("bad")]
    assert "How many rows there are" in (tmp_path / "out" / "index.html").read_text()


def test_what_never_ends_is_ended_and_the_others_are_made(monkeypatch):
    monkeypatch.setenv("FGBENCH_PLUGIN_TIMEOUT", "5s")
    names = many(ENDLESS)
    result = report(*names, "good", "--format", "csv")
    assert (result.exit_code, result.stdout) == (2, "kind,rows\nflops,0\n")
    check_named(result, names, ["it is not made within 5 s"] * 3)


def test_a_report_that_changes_the_data_changes_nobody_elses():
    (name,) = many(["data.flops.clear(); data.throughput.append(1); return [Missing(what='w', command='c')]"])
    Path("rows.json").write_text('[{"convention": "full", "backbone": "b", "model": null, "selector": null}]')
    alone, beside = (report(*words, "good", "--format", "csv").stdout for words in ((), (name,)))
    assert alone == beside


def test_a_figure_of_others_is_drawn_and_counted(tmp_path):
    (name,) = many(["return [Picture(name='p', title='P', alt='nothing')]"])
    result = report(name, "--output", "out")
    assert result.exit_code == 0
    assert "<svg" in (tmp_path / "out" / "figures" / f"{name}-p.svg").read_text()
    assert (tmp_path / "out" / "figures" / f"{name}-p.png").read_bytes().startswith(b"\x89PNG")
    assert 'class="fg-figure"' in (tmp_path / "out" / "index.html").read_text()
    assert "1 figure needs a folder" in report(name).stderr


def test_all_reports_are_made_beside_broken_ones(tmp_path):
    """Without names: every report of fgbench's own, and the broken ones named."""
    names = many(["raise KeyboardInterrupt", "os._exit(0)"])
    result = report("--output", "out")
    assert result.exit_code == 2
    check_named(result, names, ["KeyboardInterrupt", "exit code 0"])
    assert len(list((tmp_path / "out" / "tables").glob("table*.csv"))) >= 9


@pytest.mark.parametrize("name", [name for name in reports.names() if name.startswith(("table", "ratios", "tradeoff"))])
def test_a_report_comes_back_from_another_process_as_it_was(name):
    (made,) = make_reports([name], Data(), pytest.fail)
    again = from_plain(json.loads(json.dumps(to_plain(made))))
    assert (again.name, again.title, again.summary) == (made.name, made.title, made.summary)
    for item, other in zip(made.items, again.items, strict=True):
        if not isinstance(item, Table):
            continue
        from fgbench_reports.tables import formats

        assert formats.to_markdown(other) == formats.to_markdown(item)
        assert formats.to_latex(other) == formats.to_latex(item)
        assert formats.to_html(other) == formats.to_html(item)
        assert formats.to_rows(other) == formats.to_rows(item)
        assert list(csv.reader(io.StringIO(formats.to_csv(other)))) == list(
            csv.reader(io.StringIO(formats.to_csv(item)))
        )
