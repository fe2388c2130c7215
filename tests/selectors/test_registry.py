from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from fgbench_selectors import BrokenPluginError, FgbenchError, UnknownNameError, get, selectors
from fgbench_selectors import registry as module
from fgbench_selectors.registry import Registry
from fgbench_selectors.selector import contract_breach

BUILT_IN = ["attention", "gls", "maws", "psm", "rollout", "sacm"]


def registry_of(monkeypatch, **points: str) -> Registry:
    found = [EntryPoint(name, value, "fgbench.selectors") for name, value in points.items()]
    monkeypatch.setattr(module, "entry_points", lambda group: found)
    return Registry("fgbench.selectors", "selector", contract_breach)


def test_the_built_ins_come_through_the_entry_points_of_the_distribution():
    assert set(BUILT_IN) <= set(selectors.names())
    assert {selectors.entries()[name].origin for name in BUILT_IN} == {"fgbench"}


def test_nothing_is_imported_before_it_is_asked_for(monkeypatch):
    registry = registry_of(monkeypatch, lost="no_such_module:Lost", psm="fgbench_selectors.psm:PSM")
    assert registry.names() == ["lost", "psm"]
    assert registry.load("psm").__name__ == "PSM"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module:Lost", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("fgbench_selectors.psm:Lost", "AttributeError"),
        ("fgbench_selectors.registry:get", "must be a class derived from"),
        ("fgbench_selectors.selector:Selector", "'needs' must be"),
    ],
)
def test_a_broken_entry_point_is_named(monkeypatch, target, reason):
    registry = registry_of(monkeypatch, mine=target)
    with pytest.raises(BrokenPluginError, match=reason) as caught:
        registry.load("mine")
    assert "plug-in 'mine'" in str(caught.value)


def test_a_taken_name_stays_with_its_first_owner(monkeypatch):
    class Distribution:
        def __init__(self, name: str) -> None:
            self.name = name

    points = []
    for owner, target in (("zebra", "no_such_module:PSM"), ("fgbench", "fgbench_selectors.psm:PSM")):
        point = EntryPoint("psm", target, "fgbench.selectors")
        vars(point).update(dist=Distribution(owner))
        points.append(point)
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    registry = Registry("fgbench.selectors", "selector", contract_breach)
    assert registry.names() == ["psm", "psm@zebra"]
    assert registry.load("psm").__name__ == "PSM"
    with pytest.raises(BrokenPluginError, match=r"'psm@zebra' from zebra is broken.*name 'psm' is taken"):
        registry.load("psm@zebra")


def test_unknown_names_show_the_nearest_and_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"unknown selector 'rolout'; did you mean rollout\?.*known selectors"):
        get("rolout")


def test_a_class_that_cannot_be_made_is_a_broken_plug_in(monkeypatch, tmp_path):
    path = tmp_path / "odd.py"
    path.write_text(
        "from fgbench_selectors import Needs, Selector\n"
        "class Odd(Selector):\n"
        "    name, needs, score_shape = 'strange', Needs(tokens=True), ('batch', 'patches')\n"
        "    def __init__(self): pass\n"
        "    def published(self, features): pass\n"
    )
    monkeypatch.setattr(selectors, "_from_files", {})
    assert selectors.add_file(path) == ["strange"]
    with pytest.raises(BrokenPluginError, match="unexpected keyword argument 'impl'"):
        get("strange")


def test_a_plug_in_file_that_is_not_there_is_an_error_of_its_own():
    with pytest.raises(FgbenchError, match="no plug-in file"):
        selectors.add_file("nowhere.py")
