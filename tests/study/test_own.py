"""Studies out of TOML files: what they become, and errors with the line and the key."""

from __future__ import annotations

import pytest

from fgbench.errors import FgbenchError
from fgbench.study.condition import Setting
from fgbench.study.own import read_study

PLAIN = '[[condition]]\nname = "a"\nmodel = "vit"\n'
GLSIM = '[[condition]]\nname = "a"\nmodel = "glsim"\n'
WRONG = {
    "no TOML": ('title = "x\n' + PLAIN, r"line 1: this is no TOML: Illegal character.*'title = \"x'"),
    "twice": ('[[condition]]\nname = "a"\nname = "b"\n', "line 3: this is no TOML: Cannot overwrite a value"),
    "cut off": (PLAIN + "options = { top_k = ", "line 4: this is no TOML"),
    "typing error": (
        PLAIN + '[[condition]]\nname = "b"\nmodle = "glsim"\n',
        "line 6, modle: unknown key; did you mean model",
    ),
    "typing error above": ('titel = "x"\n' + PLAIN, "line 1, titel: unknown key; did you mean title"),
    "typing error in the recipe": (
        PLAIN + "[condition.recipe]\nepoch = 3\n",
        "line 5, epoch: unknown key; did you mean epochs",
    ),
    "type": (PLAIN + 'size = "large"\n', "line 4, size: must be a whole number, got 'large'"),
    "low": (PLAIN + "size = 0\n", "line 4, size: must be a whole number from 1, got 0"),
    "high": (PLAIN + "size = 99999999\n", "line 4, size: must be a whole number up to 16384, got 99999999"),
    "word": (
        PLAIN + 'recipe = { augreg = "huge" }\n',
        "line 4, augreg: must be one of minimal, weak, medium, strong, got 'huge'",
    ),
    "epochs": ("[recipe]\nepochs = 0\n" + PLAIN, "line 2, epochs: must be a whole number from 1, got 0"),
    "optimizer": ('[recipe]\noptimizer = "sdg"\n' + PLAIN, "line 2, optimizer: timm has no optimizer 'sdg'"),
    "model": (
        PLAIN + '[[condition]]\nname = "b"\nmodel = "glsmi"\n',
        "line 6, model: unknown model 'glsmi'; did you mean glsim",
    ),
    "selector": (GLSIM + 'selector = "rolout"\n', "line 4, selector: unknown selector 'rolout'; did you mean rollout"),
    "backbone": (
        GLSIM + 'backbone = "vit_bse_patch16_224"\n',
        "line 4, backbone: unknown backbone 'vit_bse_patch16_224'",
    ),
    "option": (
        GLSIM + "options = { topk = 3 }\n",
        "line 4, topk: model 'glsim' has no option 'topk'; it has: aggregator",
    ),
    "option in a table": (
        GLSIM + "[condition.options]\ntop_k = 3\nruel = 1\n",
        "line 6, ruel: model 'glsim' has no option",
    ),
    "option of the command": (
        GLSIM + "options = { img_size = 3 }\n",
        "line 4, img_size: .*the command itself has an option for it",
    ),
    "name twice": (PLAIN + GLSIM, "line 5, name: two conditions have the name 'a'; rename one"),
    "no partner": (PLAIN + 'against = "b"\n', "line 4, against: must be another condition 'b'; another one of: a"),
    "itself": (PLAIN + 'against = "a"\n', "line 4, against: must be another condition 'a'"),
    "nothing": ("", r"line 1, condition: is missing; a study is a list of \[\[condition\]\]"),
    "an empty list": ("condition = []\n", "line 1, condition: must be a list that is not empty"),
    "one table": ('[condition]\nname = "a"\n', "line 1, condition: must be a list, got"),
    "no model": ('[[condition]]\nname = "a"\n', "line 1, model: is missing"),
    "a date": ('[[condition]]\nname = 2020-01-01\nmodel = "vit"\n', "line 2, name: must be text"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_an_error_has_one_line_with_the_line_and_the_key(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(FgbenchError, match=message) as error:
        read_study(path)
    assert str(error.value).startswith(f"{path}, line ")
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_a_file_becomes_a_study(tmp_path):
    path = tmp_path / "crops.toml"
    path.write_text(
        'title = "Crops"\n[recipe]\nepochs = 3\n' + PLAIN + "[[condition]]\n"
        'name = "b"  # with name = "c" in a remark\nmodel = "glsim"\nselector = "random"\nsize = 96\n'
        'options = { top_k = 3, aggregator = false }\nrecipe = { augreg = "weak" }\nagainst = "a"\n'
    )
    study = read_study(path)
    first, second = study.planned(Setting())
    assert (study.name, study.title, study.recipe) == ("crops", "Crops", {"epochs": 3})
    assert (first.name, first.model, first.against) == ("a", "vit", None)
    assert (second.selector, second.image_size, second.against) == ("random", 96, "a")
    assert second.options == {"top_k": 3, "aggregator": False}
    assert second.recipe == {"augreg": "weak"}


@pytest.mark.parametrize(("name", "message"), [("missing.toml", "No such file"), (".", "folder")])
def test_a_file_that_cannot_be_read(name, message, tmp_path):
    with pytest.raises(FgbenchError, match=f"cannot read the study .*{message}"):
        read_study(tmp_path / name)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FgbenchError, match="cannot read the study"):
        read_study(tmp_path / "a.toml")
