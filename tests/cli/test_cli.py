"""The commands, as they are typed."""

from __future__ import annotations

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.errors import UnknownNameError
from fgbench.plugins.facts import GROUPS
from fgbench_selectors import selectors

TINY = ["--backbones", "vit_tiny_patch16_224"]
ABOUT = ("kind", "schema_version")
FLOPS_FIELDS = (
    "convention backbone model selector impl image_size num_tokens macs flops percent_of_backbone params".split()
)


def run(*words: str):
    return CliRunner().invoke(app, list(words))


def flops_json(*words: str) -> list[dict]:
    result = run("flops", *TINY, "--format", "json", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_rows_have_the_fields_of_the_contract_in_order():
    rows = flops_json("--sizes", "224", "448")
    assert [list(row) for row in rows] == [[*FLOPS_FIELDS, *ABOUT]] * len(rows)
    assert [row["image_size"] for row in rows if row["selector"] is None] == [224, 448]
    assert {row["model"] for row in rows} == {None}
    pairs = {(row["selector"], row["impl"]) for row in rows if row["selector"] and row["image_size"] == 224}
    assert pairs == {(name, impl) for name in selectors.names() for impl in ("published", "fast")}


@pytest.mark.parametrize("typed", [["--sizes", "224", "448"], ["--sizes", "224,448"], ["--sizes=224", "--sizes=448"]])
def test_sizes_are_taken_in_every_habit(typed):
    rows = flops_json("--selectors", "gls", *typed)
    assert {row["image_size"] for row in rows} == {224, 448}


def test_paper_convention_gives_the_papers_percents():
    rows = flops_json("--sizes", "224", "--convention", "paper")
    percents = {row["selector"]: round(row["percent_of_backbone"], 2) for row in rows}
    assert percents == {None: 100.0, "psm": 160.36, "rollout": 13.23, "maws": 0.0, "sacm": 0.21, "gls": 0.01}


def test_options_narrow_the_rows():
    rows = flops_json("--sizes", "224", "--selectors", "psm,gls", "--impl", "fast", "--num-classes", "10")
    assert [(row["selector"], row["impl"]) for row in rows] == [(None, None), ("psm", "fast"), ("gls", "fast")]
    assert rows[0]["params"] == 5_563_016 - 190 * 193


def test_the_default_table_shows_both_implementations_the_papers_percent_and_three_notes():
    result = run("flops", "--sizes", "224")
    assert result.exit_code == 0
    for words in ("vit_base_patch16_224", "vit_base_patch14_dinov2", "vit_tiny_patch16_224", "46.531", "117.51"):
        assert words in result.stdout
    assert len(result.stdout.rstrip().rpartition("\n\n")[2].splitlines()) == 3


def test_a_file_gets_the_format_of_its_suffix(tmp_path):
    beginnings = {"a.json": "[", "a.csv": "convention,", "a.md": "| convention", "a.tex": "% needs "}
    for name, starts in beginnings.items():
        result = run("flops", *TINY, "--sizes", "224", "--selectors", "gls", "--output", str(tmp_path / name))
        assert (result.exit_code, result.stdout) == (0, "")
        assert (tmp_path / name).read_text().startswith(starts)
    assert len(list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))) == 3


def test_the_cross_check_says_that_it_ran():
    result = run("flops", *TINY, "--sizes", "224", "--selectors", "gls", "--cross-check", "--format", "json")
    assert result.exit_code == 0
    assert "torch's own counter" in result.stderr
    json.loads(result.stdout)


def test_selectors_are_listed_with_what_they_read_and_where_they_come_from():
    result = run("list", "--format", "json")
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert set(rows) == set(selectors.names())
    assert (rows["psm"]["reads"], rows["gls"]["reads"]) == ("q, k of blocks 1…L−1", "tokens")
    assert {row["from"] for row in rows.values()} == {"fgbench"}
    assert all(name in run("list").stdout for name in rows)


def test_backbones_are_listed():
    names = [row["name"] for row in json.loads(run("list", "backbones", "--format", "json").stdout)]
    assert "vit_base_patch16_224" in names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("flops --selectors pms", "unknown selector 'pms'; did you mean psm"),
        (
            "flops --backbones vit_bas_patch16_224",
            "unknown backbone 'vit_bas_patch16_224'; did you mean vit_base_patch16",
        ),
        ("flops --format yaml", "unknown format 'yaml'; known formats: csv, json, latex, markdown, table"),
        ("flops --impl quick", "unknown impl 'quick'"),
        ("flops --convention papers", "did you mean paper"),
        ("flops --sizes 0", "image size must be at least 1, got 0"),
        ("flops --sizes -224", "image size must be at least 1, got -224"),
        ("flops --sizes 224px", "image size must be a whole number, got '224px'"),
        ("flops --sizes 224.5", "image size must be a whole number, got '224.5'"),
        ("flops --sizes 99999", "image size must be at most 16384"),
        ("flops --sizes 8", "image size 8 is smaller than the 16-pixel patch"),
        ("flops --sizes", "requires an argument; 'fgbench flops --help' shows"),
        ("flops --sizes ١٢٨", "image size must be a whole number, got '١٢٨'"),
        ("flops --sizes 1_60", "image size must be a whole number, got '1_60'"),
        ("flops --num-classes " + "9" * 5000, "number of classes must be a whole number"),
        ("flops --sizes ,", "no image size was given"),
        ("flops --backbones ,", "no backbone was given"),
        ("flops --selectors ,", "no selector was given"),
        ("flops --format json,csv", "unknown format 'json,csv'"),
        ("flops --output rows.pdf", "no format is known for the suffix '.pdf'"),
        ("flops --num-classes 99999999999999999999", "number of classes must be at most"),
        ("flops --sizes 224 8 --backbones vit_tiny_patch16_224", "image size 8 is smaller"),
        ("flops --num-classes none", "number of classes must be a whole number"),
        ("flops --patch-stride 20", "would skip pixels"),
        ("flops --plugin nowhere.py", "no plug-in file 'nowhere.py'"),
        ("flops --output nowhere/rows.json", "there is no folder 'nowhere'"),
        ("flops --output .", "it is a folder"),
        ("flops --output nofolder/", "it is the name of a folder"),
        ("flops --output " + 300 * "x" + ".json", "File name too long"),
        ("flops --output " + 300 * "x" + ".xyz", "no format is known for the suffix '.xyz'"),
        ("flops --sise 224", "No such option: --sise"),
        ("flops extra", "unexpected extra argument"),
        ("flop", "No such command 'flop'"),
        ("list nothing", "unknown kind 'nothing'"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*words.split())
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_kind_is_not_overwritten_with_a_table(tmp_path):
    target = tmp_path / "keep.pdf"
    target.write_text("old")
    result = run("list", "--output", str(target))
    assert (result.exit_code, target.read_text()) == (2, "old")
    assert "no format is known for the suffix '.pdf'" in result.stderr
    assert run("list", "--output", str(target), "--format", "csv").exit_code == 0


def test_no_arguments_show_the_help():
    result = run()
    assert (result.exit_code, "flops" in result.stdout) == (0, True)


def test_a_plug_in_that_does_not_load_explains_why_its_name_is_unknown(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import nothing_of_that_name")
    result = run("flops", "--plugin", str(path), "--selectors", "broken")
    assert result.exit_code == 2
    first, second = result.stderr.splitlines()
    assert "ModuleNotFoundError" in first
    assert "unknown selector 'broken'" in second


def test_the_largest_exit_code_of_several_problems_is_the_commands(tmp_path):
    """A selector that was left out is none; a broken plug-in is, whichever was met first."""
    path = tmp_path / "broken.py"
    path.write_text(GOOD.replace("return features", "raise KeyError('x') or features"))
    words = ["--sizes", "224", "--backbones", "vit_base_patch16_siglip_224"]
    assert run("flops", *words).exit_code == 0
    result = run("flops", *words, "--plugin", str(path))
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 2)


def test_a_dash_is_standard_output():
    result = run("list", "--output", "-")
    assert (result.exit_code, "psm" in result.stdout) == (0, True)


def test_the_papers_figures_stand_beside_its_own_grid_only():
    words = ["flops", *TINY, "--sizes", "224", "--selectors", "psm"]
    assert "160.36" in run(*words).stdout
    assert "160.36" not in run(*words, "--patch-stride", "12").stdout


def test_debug_shows_the_traceback():
    for words in (["flops", "--selectors", "pms", "--debug"], ["--debug", "flops", "--selectors", "pms"]):
        assert isinstance(run(*words).exception, UnknownNameError)
    assert isinstance(run("flops", "--selectors", "pms").exception, SystemExit)


GOOD = """
from fgbench_selectors import Needs, Selector

class Norm(Selector):
    '''Length of every patch token.'''
    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features):
        return features.read_tokens()[:, features.num_prefix_tokens:].norm(dim=-1)
"""

BROKEN = {
    "does not import": ("import nothing_of_that_name", "ModuleNotFoundError"),
    "is no Python": ("def (", "SyntaxError"),
    "leaves": ("raise SystemExit(0)", "it calls sys.exit(0)"),
    "leaves while it is counted": (GOOD.replace("return features", "exit(0) or features"), "it calls sys.exit(0)"),
    "defines no selector": ("x = 1", "no selector (a class derived from fgbench_selectors.Selector), no model ("),
    "takes a name": (GOOD.replace("class Norm", "class PSM"), "the name is taken"),
    "declares no needs": (GOOD.replace("needs =", "wants ="), "'needs' must be a"),
    "declares no shape": (GOOD.replace("score_shape =", "shape ="), "'score_shape' must be a tuple"),
    "has no method": (GOOD.replace("def published", "def score"), "has no method 'published(features)'"),
    "has an odd name": (GOOD.replace("needs =", "name = 5\n    needs ="), "is no plain word: 5"),
    "scores another shape": (GOOD.replace("dim=-1)", "dim=-1).sum(-1)"), "its scores have shape (1,)"),
    "scores no tensor": (GOOD.replace("return features", "return None and features"), "not a tensor"),
    "reads values": (GOOD.replace("dim=-1)", "dim=-1).item()"), "cannot be counted"),
    "raises": (GOOD.replace("return features", "raise KeyError('x') or features"), "KeyError"),
    "runs what has no cost": (
        GOOD.replace("dim=-1)", "dim=-1) + __import__('torch').linalg.det(features.read_tokens()[:, :2, :2])"),
        "operator without a cost",
    ),
}


def test_a_plug_in_that_prints_does_not_spoil_the_json(tmp_path):
    path = tmp_path / "norm.py"
    path.write_text("print('hello')\n" + GOOD.replace("        return", "        print('counting')\n        return"))
    result = run("flops", *TINY, "--sizes", "224", "--format", "json", "--plugin", str(path))
    assert "norm" in {row["selector"] for row in json.loads(result.stdout)}
    assert "hello" in result.stderr
    assert "counting" in result.stderr


def test_a_plug_in_file_is_counted_and_listed_like_any_other(tmp_path):
    path = tmp_path / "norm.py"
    path.write_text(GOOD)
    rows = flops_json("--sizes", "224", "--plugin", str(path))
    assert [row["flops"] for row in rows if row["selector"] == "norm"] == [2 * 196 * 192] * 2
    selectors._from_files.clear()
    listed = run("list", "--plugin", str(path))
    assert listed.exit_code == 0
    assert "Length of every patch token" in listed.stdout


LEARNED = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from fgbench_selectors import Needs, Selector

@dataclass
class Options:
    power: float = 1.0

class Learned(Selector):
    needs, score_shape, learned = Needs(tokens=True), ("batch", "patches"), True

    def __init__(self, impl="fast"):
        super().__init__(impl)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def published(self, features):
        return features.read_tokens()[:, features.num_prefix_tokens:].sum(-1) * self.weight
"""


def test_a_learned_plug_in_with_a_dataclass_is_counted(tmp_path):
    path = tmp_path / "learned.py"
    path.write_text(LEARNED)
    rows = flops_json("--sizes", "224", "--plugin", str(path), "--selectors", "learned")
    assert [row["params"] for row in rows[1:]] == [1, 1]


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plug_in_is_named_and_the_others_still_work(case, tmp_path):
    code, message = BROKEN[case]
    path = tmp_path / "broken.py"
    path.write_text(code)
    result = run("flops", *TINY, "--sizes", "224", "--format", "json", "--plugin", str(path))
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert message in line
    assert "plug-in" in line
    assert str(path) in line
    assert {row["selector"] for row in json.loads(result.stdout)} == {None, *set(selectors.names()) - {"norm"}}


def test_models_have_the_fields_of_the_contract_and_their_parts_when_asked_for():
    whole = flops_json("--models", "glsim", "--sizes", "224")
    assert [list(row) for row in whole] == [[*FLOPS_FIELDS, *ABOUT]] * 3
    assert [(row["model"], row["selector"], row["impl"]) for row in whole] == [
        (None, None, None),
        ("glsim", "gls", "published"),
        ("glsim", "gls", "fast"),
    ]
    parts = flops_json("--models", "glsim", "--sizes", "224", "--parts")
    assert [list(row) for row in parts] == [[*FLOPS_FIELDS, "part", "stage", *ABOUT]] * len(parts)
    assert [row["part"] for row in parts if row["impl"] == "fast"] == [
        None,
        "pass 1",
        "selector",
        "crop",
        "pass 2",
        "fusion",
    ]


def test_the_table_of_models_shows_every_part_beside_the_backbone():
    result = run("flops", *TINY, "--models", "transfg", "--sizes", "224")
    assert result.exit_code == 0
    for words in ("(backbone)", "transfg", "pass 1", "selector", "fusion", "published", "fast"):
        assert words in result.stdout
    for style, mark in (("markdown", "| part "), ("latex", "\\toprule"), ("csv", "num_tokens")):
        assert mark in run("flops", *TINY, "--models", "transfg", "--sizes", "224", "-f", style).stdout


@pytest.mark.parametrize("models", [(), ("--models", "transfg")])
def test_latex_of_a_count_has_rules_says_what_they_need_and_has_the_notes_of_the_table(models):
    words = ("flops", *TINY, *models, "--sizes", "224")
    latex = run(*words, "-f", "latex").stdout.splitlines()
    assert latex[0].startswith("% needs \\usepackage{booktabs}")
    rules = ["\\toprule", "\\midrule", "\\bottomrule"]
    assert [line for line in latex if line in rules] == rules
    notes = latex[latex.index("\\end{tabular}") + 1 :]
    assert notes
    assert all(note.startswith("% ") for note in notes)
    table = " ".join(run(*words).stdout.split())
    assert all(note.removeprefix("% ") in table for note in notes)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--models", "glsmi"], "did you mean glsim"),
        (["--models", "tpskg"], "cannot be reproduced yet"),
        (["--models", "glsim", "--patch-stride", "12"], "--patch-stride is for backbones"),
        (["--models", "glsim", "--cross-check"], "--cross-check is for backbones"),
        (["--parts"], "--parts goes with --models"),
        (["--models", "ffvt", "--selectors", "gls"], "choose a selector whose scores fit"),
        (["--models", "glsim", "--convention", "paper"], "none for whole models"),
    ],
)
def test_models_that_cannot_be_counted_are_one_line_and_exit_2(words, why):
    result = run("flops", *TINY, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_list_is_narrowed_by_parts_of_names():
    rows = json.loads(run("list", "models", "-f", "json").stdout)
    few = run("list", "models", "GLS", "trans", "-f", "json")
    assert json.loads(few.stdout) == [row for row in rows if "gls" in row["name"] or "trans" in row["name"]]
    printed = run("list", "models", "glsim", "vitnet").stdout
    assert "transfg" not in printed
    assert "glsim" in printed
    assert [row["name"] for row in json.loads(run("list", "selectors", "roll,sacm", "-f", "json").stdout)] == [
        "rollout",
        "sacm",
    ]
    result = run("list", "models", "vit", "nothing")
    assert (result.exit_code, result.stdout) == (2, "")
    told = "fgbench: no name in the list of models contains 'nothing'; 'fgbench list models' has all\n"
    assert result.stderr == told


def test_every_model_is_listed_and_those_that_cannot_be_built_say_why():
    rows = json.loads(run("list", "models", "-f", "json").stdout)
    groups = {}
    for row in rows:
        groups.setdefault(row["selects"], []).append(row["name"])
    assert list(groups) == [*GROUPS, "–"], "what each group selects, and what cannot be built"
    assert groups == {
        "none": ["resnet101", "vit"],
        "tokens": ["aatrans", "accvit", "dcal", "ffvt", "herbs", "ielt", "pim", "r2trans", "transfg"],
        "regions": ["aftrans", "cal", "ev", "falvit", "glsim", "ramstrans"],
        "parts": ["mpsa", "simtrans", "vitnet"],
        "–": ["tpskg", "dualtr", "deit-net"],
    }
    glsim = next(row for row in rows if row["name"] == "glsim")
    assert [glsim[name] for name in ("year", "backbone", "passes", "selector", "selects by")] == [
        *(2024, "vit_base_patch16_224", 2, "gls", "(batch, patches)")
    ]
    assert all(row["description"] for row in rows)
    cannot = [row for row in rows if "not reproducible yet" in row["description"]]
    assert [row["name"] for row in cannot] == ["tpskg", "dualtr", "deit-net"]
    assert all("not established" in row["description"] for row in cannot)
