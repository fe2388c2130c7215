"""The paper's tables: published, counted, measured and missing values."""

from __future__ import annotations

import importlib
import json
import math
import re
from dataclasses import replace
from itertools import zip_longest

import pytest
import typer
from helpers.growth import assert_work_grows_with
from helpers.paper_rows import (
    BACKBONES,
    GPU,
    HOSTILE,
    MODELS,
    RECIPE,
    RUNS,
    SIZES,
    TIMED,
    VIT,
    counted,
    in_full,
    run,
    timed,
)
from helpers.throughput_rows import row

from fgbench.cli import app
from fgbench_reports import published
from fgbench_reports.data import Data
from fgbench_reports.paper.counted import exponents
from fgbench_reports.report import BEST, SECOND, Missing, Table, report_breach
from fgbench_reports.tables import render
from fgbench_reports.tables.formats import to_csv, to_html, to_latex, to_markdown, to_rows

NAMES = ("table1", "table2", "table3", "table4", "table6", "table7", "table8", "table9", "table10", "ratios")
MODULES = {
    **dict.fromkeys(("table1", "table7", "table8"), "selector_costs"),
    **dict.fromkeys(("table2", "table3"), "literature"),
}
COUNTED = [each for name in BACKBONES for size in SIZES for each in (*counted(name, size), *in_full(name, size))]
FULL = Data(flops=[*COUNTED, *MODELS], accuracy=RUNS, throughput=TIMED)


def module(name: str):
    return importlib.import_module(f"fgbench_reports.paper.{MODULES.get(name, name)}")


def report(name: str):
    return getattr(module(name), name.capitalize())()


def tables(name: str, data: Data) -> list[Table]:
    return [item for item in report(name).items(data) if isinstance(item, Table)]


def missing(name: str, data: Data) -> list[Missing]:
    return [item for item in report(name).items(data) if isinstance(item, Missing)]


def lines(table: Table, **wanted: str) -> list[dict]:
    return [line for line in table.printed.to_dict("records") if all(line[key] == text for key, text in wanted.items())]


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


def test_table_2_compares_at_the_largest_size_and_says_which():
    (table,) = tables("table2", FULL)
    (glsim,) = lines(table, Method="GLSim (Ours)")
    assert (glsim["measured here %"], glsim["pixels"], glsim["difference"]) == ("90.2", "448", "-1.8")
    assert any("batch size: 32" in note and "glsim on nabirds at 448" in note for note in table.notes)
    assert "± over seeds" not in table.printed
    headings = ["Method", "Backbone", "Top-1 %"]
    assert list(tables("table3", Data(accuracy=RUNS))[0].printed) == headings
    assert list(tables("table3", FULL)[0].printed) == [*headings, "img/s", "memory GB"], "of systems that were timed"


def test_table_4_has_means_deviations_and_differences():
    accuracies, spread = tables("table4", FULL)
    published_line, here, apart = lines(accuracies, Dataset="CUB")
    assert (published_line["ViT B-16"], here["ViT B-16"], apart["ViT B-16"]) == (
        "90.11 ± 0.17",
        "90.20 ± 0.14",
        "+0.09",
    )
    assert (here["GLSim"], apart["GLSim"], here["CAL"]) == ("91.20", "+0.27", "–")
    assert math.isclose(spread.frame.iloc[1]["ViT B-16"], math.sqrt(0.02), rel_tol=1e-9)
    assert lines(accuracies, **{"from": "measured here"})[1]["GLSim"] == "92.25"  # 16 tokens on Dogs, as published


def test_the_average_is_taken_over_all_ten_data_sets_or_not_at_all():
    datasets = dict.fromkeys(each["dataset"] for each in published.table4() if each["dataset"] != "average")
    nine = [run("vit", name, 224, 90.0) for name in list(datasets)[:-1]]
    both = [run(model, name, 224, top1) for name in datasets for model, top1 in (("vit", 90.0), ("glsim", 92.0))]
    average = lines(tables("table4", Data(accuracy=nine))[0], Dataset="Average")
    assert [line["from"] for line in average] == ["published"]
    table = tables("table4", Data(accuracy=both))[0]
    here = lines(table, Dataset="Average")[1]
    assert (here["ViT B-16"], here["GLSim"]) == ("90.00 ± 0.00", "92.00 ± 0.00")
    reduced = lines(table, Dataset="relative error reduction to ViT, %")
    assert [line["GLSim"] for line in reduced] == ["11.79", "20.00"]


@pytest.mark.parametrize(
    "odd",
    [
        {"selector": "rollout"},
        {"backbone": "vit_tiny_patch16_224"},
        {"recipe": {**RECIPE, "top_k": 4}},
        {"flip": True},
        {"seeds": [1, 10], "seed": None},
    ],
)
def test_accuracies_on_other_terms_are_not_compared(odd):
    (first, _) = tables("table4", Data(accuracy=[run("glsim", "cub", 224, 91.0, **odd)]))
    assert lines(first, **{"from": "measured here"}) == []


@pytest.mark.parametrize(
    ("dataset", "counts", "told"),
    [
        ("cub", {"num_classes": 20, "images": 580}, "cub, 20 of 200 classes"),
        ("cub", {"images": 5000, "unreadable_images": 3}, "cub, 5,003 of 5,794 test images"),
        ("nabirds", {"num_classes": 554}, "nabirds, 554 of 555 classes"),
        ("vegfru", {"images": 116_390}, "vegfru, 116,390 of 116,391 test images"),
    ],
)
def test_a_part_of_a_data_set_is_left_out_and_the_table_says_so(dataset, counts, told):
    part = [run(model, dataset, 224, 99.0, **counts) for model in ("vit", "glsim")]
    (first, _) = tables("table4", Data(accuracy=part))
    assert lines(first, **{"from": "measured here"}) == []
    assert first.notes[-1] == f"Tested on a part of the paper's data set, and left out: {told}."
    (first, _) = tables("table4", Data(accuracy=[*part, run("vit", dataset, 224, 90.0)]))
    assert [line["ViT B-16"] for line in lines(first, **{"from": "measured here"})] == ["90.00"]
    (second,) = tables("table2", Data(accuracy=part))
    assert ("measured here %" in second.printed, any(told in note for note in second.notes)) == (
        False,
        dataset == "nabirds",
    )


def test_images_that_could_not_be_read_leave_a_data_set_whole():
    whole = run("vit", "nabirds", 224, 90.0, images=24_630, unreadable_images=3)
    table = tables("table4", Data(accuracy=[whole]))[0]
    assert len(lines(table, **{"from": "measured here"})) == 1
    assert not any("left out" in note for note in table.notes)


def test_of_several_recipes_the_nearest_to_the_papers_is_compared():
    short = [run("vit", "cub", 224, 99.0, epochs=3, recipe={**RECIPE, "epochs": 3}, seed=seed) for seed in (1, 10, 100)]
    table = tables("table4", Data(accuracy=[*short, run("vit", "cub", 224, 90.0), *short]))[0]
    assert lines(table, Dataset="CUB")[1]["ViT B-16"] == "90.00"
    assert not any("Not trained as published" in note for note in table.notes)
    table = tables("table4", Data(accuracy=short))[0]
    assert any("vit on cub at 224 – epochs: 3" in note for note in table.notes)


def test_a_group_of_data_sets_is_one_command():
    first, *rest = missing("table4", Data(accuracy=[run("vit", "cub", 224, 90.0)]))
    assert first.what == "Table 4: measured accuracy of ResNet-101, CAL, TransFG, FFVT, GLSim on CUB, at 224"
    assert len(rest) == 1
    assert rest[0].command.startswith("for name in dafb dogs flowers food inat17 moe nabirds pets vegfru; do fgbench")


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


def test_ratios_are_taken_at_the_best_batch_of_each_and_memory_on_a_gpu_alone():
    (table,) = tables("ratios", Data(throughput=timed()))
    first = lines(table)[0]
    assert (first["paper ×"], first["published code ×"], first["fast ×"]) == ("2.70", "3.00", "6.00")
    assert (first["published code Δ"], first["fast Δ"]) == ("+0.30", "+3.30")
    (memory, *_) = lines(table, quantity="memory saving", versus="CAL at 224")
    assert memory["fast ×"] == "3.00"
    cpu = Data(throughput=timed({}, "cpu"))
    assert all(
        line["measured on"] == "not measured" for line in lines(tables("ratios", cpu)[0], quantity="memory saving")
    )
    assert [item.what.split(" of ")[0] for item in missing("ratios", cpu)] == ["Section 5.3: measured memory"]
    assert missing("ratios", Data(throughput=timed())) == []


@pytest.mark.parametrize("field", ["device_name", "torch", "driver"])
def test_ratios_never_cross_environments(field):
    ours = [each for each in timed() if each["model"] == "glsim"]
    theirs = [each for each in timed({**GPU, field: "another"}) if each["model"] != "glsim"]
    (table,) = tables("ratios", Data(throughput=[*ours, *theirs]))
    assert {line["versus"] for line in lines(table) if line["measured on"] != "not measured"} == {"GLSim at 448"}
    both = [*timed(), *timed({**GPU, field: "another"}, faster=2.0)]
    (table,) = tables("ratios", Data(throughput=both))
    assert len(lines(table)) == 24
    assert len({line["measured on"] for line in lines(table)}) == 2
    pairs = [[line["fast ×"] for line in lines(table)][first : first + 2] for first in range(0, 24, 2)]
    assert all(one == other != "–" for one, other in pairs)


def test_ratios_do_not_mix_dtypes_or_other_backbones():
    half = [{**each, "dtype": "float16"} for each in timed() if each["model"] == "glsim"]
    others = [each for each in timed() if each["model"] != "glsim"]
    small = [{**each, "backbone": "vit_tiny_patch16_224"} for each in timed() if each["model"] == "glsim"]
    for mine in (half, small):
        (table,) = tables("ratios", Data(throughput=[*mine, *others]))
        assert not [line for line in lines(table, versus="ViT B-16 at 448") if line.get("fast ×", "–") != "–"]


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
