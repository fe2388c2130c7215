"""Data sets by name: options as text, readers of plug-ins, and the list of data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
from helpers.dataset_layouts import LAYOUTS, TEN, draw, write
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.cli.listing import dataset_rows
from fgbench.datasets.build import datasets, open_dataset
from fgbench.datasets.dataset import DataSet, DatasetError, FileSplit
from fgbench.errors import BrokenPluginError, FgbenchError, UnknownNameError
from fgbench_selectors.registry import Entry

SPLIT = FileSplit(Path(), ["a.jpg"], [0])
HAD: dict[str, object] = {}


def theirs(
    data_dir: Path | None,
    *,
    classes: int = 3,
    share: float | None = None,
    flat: bool = False,
    where: Path = Path(),
    style: Literal["a", "b"] = "a",
    note="",
) -> DataSet:
    """Somebody else's data set."""
    HAD.update(classes=classes, share=share, flat=flat, where=where, style=style, note=note)
    return DataSet(name="theirs", class_names=["a"], train=SPLIT, test=SPLIT)


def fails(data_dir: Path | None) -> DataSet:
    raise RuntimeError("out of\nluck")


def complains(data_dir: Path | None) -> DataSet:
    raise DatasetError("nothing here")


def returns_nothing(data_dir: Path | None): ...


def takes_anything(data_dir: Path | None, **options: str) -> DataSet:
    HAD.update(options)
    return DataSet(name="any", class_names=["a"], train=SPLIT, test=SPLIT)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    readers = (theirs, fails, complains, returns_nothing, takes_anything)
    entries = {r.__name__: Entry(r.__name__, "their package", lambda r=r: r) for r in readers}
    monkeypatch.setattr(datasets, "_from_files", {**entries, "no_reader": Entry("no_reader", "theirs", lambda: 3)})
    HAD.clear()


def test_options_have_the_types_of_the_reader():
    typed = {"classes": "24", "share": ".5", "flat": "Yes", "where": "a/b", "style": "b", "note": "1"}
    assert open_dataset("theirs", None, typed).name == "theirs"
    wanted = {"classes": 24, "share": 0.5, "flat": True, "where": Path("a/b"), "style": "b", "note": "1"}
    assert wanted == HAD
    open_dataset("takes_anything", None, {"x": "1"})
    assert HAD["x"] == "1"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("classes", "many"), "option classes of theirs must be a whole number, got 'many'"),
        (("share", "half"), "option share of theirs must be a number, got 'half'"),
        (("flat", "perhaps"), "option flat of theirs must be true or false, got 'perhaps'"),
        (("style", "c"), "option style of theirs cannot be 'c'; it is one of a, b"),
        (("clases", "2"), "data set 'theirs' has no option 'clases'; it has: classes, flat, note, share, style, where"),
        (("data_dir", "x"), "data set 'theirs' has no option 'data_dir'"),
    ],
)
def test_an_option_that_does_not_fit_is_one_line(option, said):
    with pytest.raises(FgbenchError) as raised:
        open_dataset("theirs", None, dict([option]))
    assert said in str(raised.value)
    assert raised.value.exit_code == 2


def test_options_of_a_set_are_known_before_its_folder_is_read():
    with pytest.raises(FgbenchError, match="has no option 'part_sise'; it has: layout, part_size"):
        open_dataset("cub", Path("nowhere"), {"part_sise": "1"})
    with pytest.raises(FgbenchError, match="cannot be 'other'; it is one of auto, official, manifest"):
        open_dataset("cub", Path("nowhere"), {"layout": "other"})
    with pytest.raises(FgbenchError, match="data set 'complains' has no option 'x'; it has none"):
        open_dataset("complains", None, {"x": "1"})


def test_an_unknown_name_shows_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown dataset 'cup'; did you mean cub"):
        open_dataset("cup", None)
    with pytest.raises(UnknownNameError, match="unknown dataset 'hf/food'"):
        open_dataset("hf/food", None)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("fails", "RuntimeError: out of luck"),
        ("returns_nothing", "its reader returned NoneType, not a DataSet"),
        ("no_reader", "it must be a function"),
    ],
)
def test_a_broken_reader_of_others_is_blamed_by_name(name, why):
    with pytest.raises(BrokenPluginError, match=why) as raised:
        open_dataset(name, None)
    assert str(raised.value).startswith(f"plug-in {name!r} from their")


def test_what_a_reader_says_of_its_data_is_no_breakage():
    with pytest.raises(DatasetError, match=r"^nothing here$"):
        open_dataset("complains", None)


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    LAYOUTS["folder"](tmp_path)
    monkeypatch.setattr("os.walk", lambda top, **_: refuse(top))
    with pytest.raises(DatasetError, match=r"cannot read data set 'folder': .*train'; Permission denied"):
        open_dataset("folder", tmp_path)


def test_data_sets_are_listed_with_what_the_paper_says_and_what_they_need():
    problems: list[FgbenchError] = []
    rows = {row["name"]: row for row in dataset_rows(problems.append)}
    assert {*TEN, "folder", "manifest", "hfds/…", "tfds/…", "wds/…"} <= set(rows)
    assert (rows["vegfru"]["classes"], rows["vegfru"]["test"], rows["nabirds"]["classes"]) == (292, 116_931, 555)
    assert rows["cub"]["layout"].startswith("CUB_200_2011/ with images/")
    assert (rows["theirs"]["from"], rows["theirs"]["description"]) == ("their package", "Somebody else's data set")
    assert (rows["theirs"]["classes"], rows["theirs"]["layout"]) == ("", "")
    assert all(rows[name]["description"] for name in (*TEN, "hfds/…", "tfds/…", "wds/…"))
    assert "it must be a function" in rows["no_reader"]["description"]
    assert "no_reader" in {getattr(problem, "name", "") for problem in problems}
    assert len({tuple(row) for row in rows.values()}) == 1  # the same columns


def test_the_command_lists_data_sets():
    result = CliRunner().invoke(app, ["list", "datasets", "--format", "json"])
    assert set(TEN) <= {row["name"] for row in json.loads(result.stdout)}


def test_the_data_set_that_contributing_shows_works(tmp_path):
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = text[text.index("# mushrooms.py") :].partition("```")[0]
    namespace: dict = {"__name__": "mushrooms"}
    exec(compile(code, "mushrooms.py", "exec"), namespace)
    for split in ("train", "test"):
        draw(tmp_path / f"mushrooms/images/{split}.jpg")
        write(tmp_path / f"mushrooms/{split}.txt", [f"images/{split}.jpg 4"])
    dataset = namespace["mushrooms"](tmp_path)
    assert ([*dataset.train.targets], dataset.test.missing()) == ([0], [])
    with pytest.raises(DatasetError, match=r"not the layout of mushrooms: .*it lacks train\.txt, test\.txt"):
        namespace["mushrooms"](tmp_path / "mushrooms/images")


def test_a_data_set_is_opened_in_python_with_values_or_with_text():
    import fgbench

    for options in ({"classes": 4, "train_images": 8}, {"classes": "4", "train_images": "8"}):
        dataset = fgbench.open_dataset("synthetic", test_images=4, **options)
        assert (dataset.num_classes, len(dataset.train), len(dataset.test)) == (4, 8, 4)
    with pytest.raises(FgbenchError, match=r"classes of synthetic must be a whole number, got 2\.5"):
        fgbench.open_dataset("synthetic", classes=2.5)
    with pytest.raises(FgbenchError, match="has no option 'clases'"):
        fgbench.open_dataset("synthetic", clases=4)


def test_a_folder_is_a_path_or_its_text(tmp_path):
    from helpers.dataset_layouts import LAYOUTS

    import fgbench

    LAYOUTS["cub"](tmp_path)
    by_path, by_text = (fgbench.open_dataset("cub", place, part_size=0.5) for place in (tmp_path, str(tmp_path)))
    assert by_path.class_names == by_text.class_names
    assert by_path.train.parts(0) == by_text.train.parts(0)
