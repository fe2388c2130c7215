"""The paper's tables: published, counted, measured and missing values."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import zip_longest

import pytest
import typer
from helpers.growth import assert_work_grows_with
from helpers.paper_rows import GPU, HOSTILE, MODELS, RECIPE, RUNS, TIMED, VIT, counted, run
from helpers.paper_tables import COUNTED, FULL, NAMES, lines, missing, module, tables
from helpers.throughput_rows import row

from fgbench.cli import app
from fgbench_reports import published
from fgbench_reports.data import Data
from fgbench_reports.paper.counted import exponents
from fgbench_reports.report import BEST, SECOND, report_breach
from fgbench_reports.tables import render
from fgbench_reports.tables.formats import to_csv, to_html, to_latex, to_markdown, to_rows


@pytest.mark.parametrize(
    ("name", "suffix", "write"),
    [
        ("table1", "md", to_markdown),
        ("table4", "html", to_html),
        ("table6", "tex", to_latex),
        ("ratios", "csv", to_csv),
        ("table9", "json", lambda table: json.dumps(to_rows(table), indent=1) + "\n"),
        ("table2", "txt", lambda table: render.render(table, "table", to_file=True)),
        ("table10", "md", to_markdown),
    ],
)
def test_tables_with_all_that_can_be_there(same_as_snapshot, name, suffix, write):
    same_as_snapshot(f"paper_{name}.{suffix}", "\n".join(map(write, tables(name, FULL))))


@pytest.mark.parametrize("name", NAMES)
def test_every_table_is_a_report_and_a_function_that_returns_a_frame(name):
    kind = getattr(module(name), name.capitalize())
    assert report_breach(kind) is None
    assert (kind.name, bool(kind.__doc__)) == (name, True)
    for data in (Data(), FULL):
        first = tables(name, data)[0]
        assert first.name == name
        assert getattr(module(name), name)(data).equals(first.frame)


@pytest.mark.parametrize("name", NAMES)
def test_tables_keep_the_contract_and_have_no_column_of_nothing(name):
    for data in (Data(), FULL):
        for table in tables(name, data):
            assert table.frame.shape == table.printed.shape
            assert list(table.frame.columns) == list(table.printed.columns)
            assert table.printed.columns.is_unique
            assert set(table.names) <= set(table.printed.columns)
            assert re.fullmatch(r"[\w-]+", table.name)
            assert all(any(cell not in ("–", "") for cell in table.printed[heading]) for heading in table.printed)
            assert all(isinstance(cell, str) for cell in table.printed.to_numpy().flat)
            assert set(table.marks.values()) <= {BEST, SECOND}
            assert (
                any("2407.12891" in note for note in table.notes)
                or table.name == f"{name}_spread"
                or "Counted" in (table.notes[0])
            )


def cells(name: str, data: Data) -> set:
    """All cells of a report's tables, as values and as text."""
    found = tables(name, data)
    return {cell for table in found for frame in (table.frame, table.printed) for cell in frame.to_numpy().flat}


PUBLISHED_CELLS = {
    "table1": [text for (name, *_), text in published.flops_percents().items() if name == VIT],
    "table7": [text for (name, *_), text in published.flops_percents().items() if "dinov2" in name],
    "table8": [text for (name, *_), text in published.flops_percents().items() if "tiny" in name],
    "table2": [each for one in published.literature("table2") for each in (one["method"], one["top1_percent"])],
    "table3": [each for one in published.literature("table3") for each in (one["method"], one["top1_percent"])],
    "table4": [each for one in published.table4() for each in (one["top1_percent"], one["std_percent"])],
    "table6": [each for one in published.table6() for each in (one["dfsm"], one["complexity"])],
    "table9": [each for one in published.table9() for name, each in one.items() if name != "dataset"],
    "table10": [each for one in published.table10() for each in (one["setting"], one["value"])],
    "ratios": [one["ratio"] for one in published.ratios()],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", [Data(), FULL], ids=["empty", "full"])
def test_every_published_cell_stands_in_its_table(name, data):
    assert set(PUBLISHED_CELLS[name]) <= cells(name, data)


def test_table_1_prints_its_megaflops_and_table_6_its_check_marks():
    assert set(published.flops_mflops().values()) <= cells("table1", Data())
    ticks = {line["Model"]: [line[key] for key in ("PO", "IF", "Crops")] for line in lines(tables("table6", Data())[0])}
    assert ticks == {
        "TransFG": ["✓", "✓", "–"],
        "FFVT": ["–", "✓", "–"],
        "RAMS-Trans": ["–", "✓", "✓"],
        "AF-Trans": ["✓", "✓", "✓"],
        "DCAL": ["–", "✓", "–"],
        "GLSim": ["–", "–", "✓"],
    }


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_named_with_a_command_that_exists(name):
    found = missing(name, Data())
    assert 1 <= len(found) <= 2
    commands = typer.main.get_command(app).commands
    for item in found:
        command = re.search(r"fgbench (\w+) ([^;]*)", item.command)
        known = {name for option in commands[command[1]].params for name in option.opts}
        assert set(re.findall(r"--[\w-]+", command[2])) <= known
        assert not re.search(r"\d,\d", item.command)


def test_nothing_is_missing_where_everything_was_counted():
    for name in ("table1", "table7", "table8", "table6"):
        assert missing(name, FULL) == []


def test_only_what_is_missing_is_asked_for():
    some = [each for each in COUNTED if each["image_size"] != 768]
    (item,) = missing("table1", Data(flops=[*some, *counted(VIT, 768)]))
    assert item.command == f"fgbench flops --convention full --backbones {VIT} --sizes 768"
    (item,) = missing("table6", Data(flops=[each for each in MODELS if each["model"] != "dcal"]))
    assert item.command == "fgbench flops --models dcal --sizes 224 --parts --format json"


@pytest.mark.parametrize("name", ["table1", "table7", "table8"])
def test_the_closed_forms_differ_from_no_published_cell(name):
    (table,) = tables(name, FULL)
    differences = lines(table, **{"from": "difference"})
    assert len(differences) == (8 if name == "table1" else 4)
    assert {text for line in differences for text in list(line.values())[2:]} == {"0"}
    raw = table.frame[table.frame["from"] == "difference"].iloc[:, 2:]
    assert all(isinstance(value, float) and value for value in raw.to_numpy().flat)


def test_another_count_differs_visibly():
    rows = [{**each, "percent_of_backbone": 46.6, "flops": 9 * 10**9} for each in counted(VIT, 224)]
    (table,) = tables("table1", Data(flops=rows))
    share, work = lines(table, **{"from": "difference"})[::-1]
    assert (share["TransFG PSM"], work["TransFG PSM"], work["Ours GLS"]) == ("+0.069", "+8.0e2", "+9.0e3")


def test_exponents_are_computed_from_the_two_largest_sizes():
    (table,) = tables("table1", FULL)
    found = {line["from"]: line for line in lines(table, quantity="Complexity: exponent of N")}
    assert set(list(found["counted in full: published"].values())[2:]) == {"3.00"}
    assert set(list(found["counted in full: fast"].values())[2:]) == {"2.00"}
    paper = found["counted, paper's convention"]
    assert (paper["TransFG PSM"], paper["FFVT MAWS"], paper["Ours GLS"]) == ("3.00", "1.00", "1.00")
    alone = next(row for row in Data(flops=COUNTED).flops if row.selector == "psm")
    assert exponents({("psm", alone.image_size): alone}) == {}


@pytest.mark.parametrize(
    "odd",
    [
        counted(VIT, 224, environment={"num_classes": 10}),
        counted(VIT, 224, stride=12, environment={"patch_stride": 12}),
        counted(VIT, 224, stride=16, environment={"patch_stride": 16}),
        counted(VIT, 224, stride=16),
    ],
    ids=["classes", "stride", "no overlap", "no overlap, and not told"],
)
def test_counts_on_other_terms_than_the_papers_are_left_out(odd):
    (table,) = tables("table1", Data(flops=odd))
    psm = [line["TransFG PSM"] for line in lines(table) if line["from"] == "counted, paper's convention"]
    assert set(psm) <= {"–"}
    assert any(note.startswith("Left out: ") for note in table.notes)
    (table,) = tables("table1", Data(flops=counted(VIT, 224, environment={"num_classes": 200, "patch_stride": None})))
    assert len(lines(table, **{"from": "counted, paper's convention"})) == 2
    assert not any(note.startswith("Left out: ") for note in table.notes)


def test_one_row_is_enough_for_a_table():
    for name in NAMES:
        for data in (Data(flops=COUNTED[1:2]), Data(accuracy=RUNS[:1]), Data(throughput=TIMED[:1])):
            assert tables(name, data)
            assert all(to_html(table) and to_markdown(table) for table in tables(name, data))


def test_table_6_tells_overlap_from_one_more_class_token_and_a_second_pass_from_a_crop():
    table, costs = tables("table6", FULL)
    told = {line["Model"]: (line["PO, counted"], line["Crops, counted"]) for line in lines(table)}
    assert told == {line["Model"]: (line["PO"], line["Crops"]) for line in lines(table)}
    assert lines(costs, Model="FFVT")[0] == {
        "Model": "FFVT",
        "224 px, published %": "97.300",
        "224 px, fast %": "87.570",
    }
    whole_only = [each for each in MODELS if each["part"] is None]
    (table, _) = tables("table6", Data(flops=whole_only))
    assert "Crops, counted" not in table.printed
    some = [each for each in MODELS if each["model"] in (None, "glsim")]
    assert lines(tables("table6", Data(flops=some))[0], Model="DCAL")[0]["PO, counted"] == "not counted"


def test_table_9_counts_what_could_not_be_read_and_names_misprints():
    (table,) = tables("table9", FULL)
    (birds,) = lines(table, Dataset="NABirds")
    assert (birds["Classes"], birds["Classes here"], birds["Classes Δ"]) == ("600", "555", "-45")
    assert (birds["# Test"], birds["# Test here"], birds["# Test Δ"]) == ("24,633", "24,636", "+3")
    assert sum(note.startswith("Misprint: ") for note in table.notes) == 2
    tested = Data(accuracy=[run("vit", "cub", 224, 90.0, train_images=None)])
    assert "# Train here" not in tables("table9", tested)[0].printed


def test_table_10_marks_what_differs_and_shows_no_more_recipes_than_are_read():
    (table,) = tables("table10", FULL)
    (batch,) = lines(table, Setting="Batch size")
    assert list(batch.values())[1:] == ["8", "8", "32 – differs", "8"]
    (optimizer,) = lines(table, Setting="Optimizer")
    assert optimizer["recipe 3"] == f"{HOSTILE} – differs"
    many = [run("vit", "cub", 224, 90.0, recipe={**RECIPE, "batch_size": size}) for size in range(8, 20)]
    (table,) = tables("table10", Data(accuracy=many))
    assert len(table.printed.columns) == 6
    assert "Not shown: 8 more recipes, of fewer runs." in table.notes


def test_the_work_for_five_thousand_rows_is_ten_times_that_for_five_hundred():
    gpus = [{**GPU, "driver": str(i)} for i in range(50)]
    many = [row("glsim", 224, batch, 100.0 + batch, environment=gpu) for gpu in gpus for batch in range(1, 161)] + TIMED
    runs = [run("vit", "cub", 224, 90.0, seed=i, recipe={**RECIPE, "batch_size": i % 50}) for i in range(10_000)]
    rows = list(zip_longest(many, runs))

    def write(rows) -> None:
        timed, trained = ([each for each in column if each] for column in zip(*rows, strict=True))
        data = replace(FULL, throughput=timed, accuracy=trained, flops=[*COUNTED, *MODELS] * 20)
        for name in NAMES:
            for table in tables(name, data):
                assert len(to_html(table)) < 200_000

    assert_work_grows_with(rows[:5_000], write)
