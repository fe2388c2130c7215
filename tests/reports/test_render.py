"""One call for every format: tables, and the rows of a command. Columns declared once."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from fgbench_reports import tables as public
from fgbench_reports.tables.column import Column
from fgbench_reports.tables.render import RowTables, render
from fgbench_reports.tables.table import BEST, SECOND, Layout, Table

COLUMNS = (
    Column("model", "model", is_name=True),
    Column("img/s", "throughput_img_s", "{:.1f}".format, better="high"),
    Column("ms", lambda row: None if row["latency_s"] is None else row["latency_s"] * 1e3, "{:.0f}".format),
)
ROWS = [
    {"model": "glsim", "throughput_img_s": 10.0, "latency_s": 0.1},
    {"model": "vit", "throughput_img_s": 20.0, "latency_s": None},
]
TABLE = Table.from_rows("speed", "Speed", COLUMNS, ROWS, notes=["A note."])


def test_columns_take_print_and_mark_the_values_of_rows():
    assert TABLE.frame.to_numpy().tolist() == [["glsim", 10.0, 100.0], ["vit", 20.0, None]]
    assert TABLE.printed.to_numpy().tolist() == [["glsim", "10.0", "100"], ["vit", "20.0", "–"]]
    assert TABLE.marks == {(1, "img/s"): BEST, (0, "img/s"): SECOND}
    assert list(TABLE.names) == ["model"]


def test_columns_without_rows_keep_their_headings():
    assert list(Table.from_rows("x", "X", COLUMNS, []).printed.columns) == ["model", "img/s", "ms"]


@pytest.mark.parametrize(
    ("style", "part"),
    [
        ("table", "\n model  img/s   ms\n"),
        ("markdown", "| vit     |    **20.0** |    – |"),
        ("latex", r"vit & \textbf{20.0} & -- \\"),
        ("csv", "vit,20.0,\n"),
        ("html", '<td class="figure" data-value="100.0">100</td>'),
        ("json", '{"model": "vit", "img/s": 20.0, "ms": null}'),
    ],
)
def test_a_table_in_every_format(style, part):
    assert part in render(TABLE, style, to_file=True)


def test_lines_of_several_tables_say_which_they_are_of_in_json():
    assert [row["report"] for row in json.loads(render([TABLE, TABLE], "json"))] == ["speed"] * 4
    assert render([TABLE, TABLE], "csv") == "\n".join([render(TABLE, "csv")] * 2)
    assert render([], "json") == "[]\n"


def test_rows_of_a_command_are_whole_for_programs_and_tables_for_people():
    rows = Table.from_rows("rows", "", [Column(name, name) for name in ROWS[0]], ROWS)
    two = RowTables(rows=ROWS, narrow=[rows], wide=[rows]) + RowTables(
        rows=[{"n": 1}], narrow=[TABLE], wide=[TABLE], notes=["Below."]
    )
    assert json.loads(render(two, "json")) == [*ROWS, {"n": 1}]
    assert render(two, "csv").splitlines()[0] == "model,throughput_img_s,latency_s,n"
    assert render(two, "markdown").endswith(render(TABLE, "markdown"))
    printed = render(two, "table", to_file=True)
    assert printed.index("throughput_img_s") < printed.index("Speed") < printed.index("Below.")


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="not 'yaml'"):
        render(TABLE, "yaml")


def test_a_layout_puts_words_of_headings_on_lines_and_blocks_apart():
    lines = [{"model": public.word(name), "latency ms": public.figure(1.0, "{:.0f}".format)} for name in "ab"]
    layout = Layout(block_ends={0}, styles={(0, "model"): "bold"})
    table = Table.from_cells("x", "Title", lines, names=["model"], layout=layout)
    assert render(table, "table", to_file=True).splitlines()[:7] == [
        *("Title", "", "      latency", "model      ms", "─────────────"),
        *("a           1", ""),
    ]


def test_earlier_names_make_the_same_tables():
    assert public.made == Table.from_frame
    assert public.of_cells == Table.from_cells


def test_a_column_reads_records_by_a_function():
    assert Column("n", lambda row: row.n).cell(SimpleNamespace(n=3)) == (3, "3")
