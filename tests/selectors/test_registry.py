"""The registry of selectors, with real distributions on the path and real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgbench_selectors import BrokenPluginError, FgbenchError, UnknownNameError, get, selectors
from fgbench_selectors.registry import Registry
from fgbench_selectors.selector import contract_breach

BUILT_IN = [
    *("attention", "attention_sum", "column_entropy", "column_mass", "confidence"),
    *("gls", "maws", "mhv", "psm", "rollout", "sacm"),
]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution's metadata on the path; return the registry that then finds it."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(
        name: str, entry_points: str, metadata: str = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\n"
    ) -> Registry:
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(metadata.format(name))
        (folder / "entry_points.txt").write_text(entry_points)
        return Registry("fgbench.selectors", "selector", contract_breach)

    return put


def test_the_built_ins_come_through_the_entry_points_of_the_distribution():
    assert set(BUILT_IN) <= set(selectors.names())
    assert {selectors.entries()[name].origin for name in BUILT_IN} == {"fgbench"}


def test_nothing_is_imported_before_it_is_asked_for(install):
    registry = install("zebra", "[fgbench.selectors]\nlost = no_such_module:Lost\nparts = fgbench_selectors.psm:PSM\n")
    assert {"lost", "parts", *BUILT_IN} <= set(registry.names())
    assert registry.load("parts").__name__ == "PSM"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module:Lost", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("fgbench_selectors.psm:Lost", "AttributeError"),
        ("fgbench_selectors.registry:get", "must be a class derived from"),
        ("fgbench_selectors.selector:Selector", "'needs' must be"),
        ("", "its entry point is empty"),
    ],
)
def test_a_broken_entry_point_is_named(install, target, reason):
    registry = install("zebra", f"[fgbench.selectors]\nmine = {target}\n")
    with pytest.raises(BrokenPluginError, match=reason) as caught:
        registry.load("mine")
    assert "plug-in 'mine' from zebra" in str(caught.value)


def test_entry_points_that_cannot_be_read_hide_no_others(install):
    registry = install("zebra", "[fgbench.selectors]\nmine\n")
    assert registry.load("psm").__name__ == "PSM"
    with pytest.raises(BrokenPluginError, match=r"plug-in 'entry_points.txt@zebra' from zebra is broken"):
        registry.load("entry_points.txt@zebra")


def test_entry_points_of_others_that_cannot_be_read_are_nobodys_business(install):
    registry = install("zebra", "[console_scripts]\nzebra\n")
    assert registry.names() == selectors.names()


def test_a_distribution_without_a_name_is_one(install):
    registry = install("zebra", "[fgbench.selectors]\nmine = no_such_module:Lost\n", metadata="Summary: nothing\n")
    assert registry.entries()["mine"].origin == "an unnamed distribution"


def test_a_taken_name_stays_with_its_first_owner(install):
    registry = install("aardvark", "[fgbench.selectors]\npsm = no_such_module:PSM\n")
    assert {"psm", "psm@aardvark"} <= set(registry.names())
    assert registry.load("psm").__name__ == "PSM"
    with pytest.raises(BrokenPluginError, match=r"'psm@aardvark' from aardvark is broken.*name 'psm' is taken"):
        registry.load("psm@aardvark")


def test_unknown_names_show_the_nearest_and_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"unknown selector 'rolout'; did you mean rollout\?.*known selectors"):
        get("rolout")


IMPORTS = "from abc import ABC, abstractmethod\nfrom fgbench_selectors import Needs, Selector\n"
NORM = """
class {}:
    needs, score_shape = Needs(tokens=True), ("batch", "patches")
    def published(self, features):
        return features.read_tokens()[:, features.num_prefix_tokens:].norm(dim=-1)
"""


@pytest.fixture
def plugin(tmp_path):
    def write(code: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.write_text(IMPORTS + code)
        return path

    return write


@pytest.mark.parametrize(
    ("init", "reason"),
    [
        ("def __init__(self): pass", "unexpected keyword argument 'impl'"),
        ("def __new__(cls, impl): return 'odd'", "must make a Selector"),
        ("def __init__(self, impl): super().__init__(impl); self.needs = 'all'", "whose 'needs' is a"),
        ("def __init__(self, impl): raise BaseException('odd')", "BaseException: odd"),
    ],
)
def test_a_class_that_cannot_be_made_is_a_broken_plug_in(plugin, init, reason):
    assert selectors.add_file(plugin(NORM.format("Odd(Selector)") + f"    {init}\n")) == ["odd"]
    with pytest.raises(BrokenPluginError, match=reason):
        get("odd")


def test_a_wrong_option_is_not_the_plug_ins_fault(plugin):
    code = "    def __init__(self, impl, power=1):\n        super().__init__(impl)\n        Needs(blocks=power)\n"
    selectors.add_file(plugin(NORM.format("Odd(Selector)") + code))
    with pytest.raises(FgbenchError, match="has no option 'force'") as caught:
        get("odd", force=2)
    assert not isinstance(caught.value, BrokenPluginError)
    with pytest.raises(FgbenchError, match="must be a slice, got 2") as caught:
        get("odd", power=2)
    assert not isinstance(caught.value, BrokenPluginError)


def test_a_base_class_that_others_in_the_file_derive_from_is_no_selector_of_its_own(plugin):
    code = "class Base(Selector, ABC):\n    @abstractmethod\n    def power(self): ...\n"
    code += NORM.format("One(Base)") + "    def power(self): return 1\n"
    assert selectors.add_file(plugin(code + "class Two(One):\n    name = 'second'\nAlso = Two\n")) == ["second"]
    assert isinstance(get("second"), selectors.load("second"))


def test_a_base_class_with_a_name_is_one(plugin):
    code = NORM.format("One(Selector)") + "    name = 'one'\nclass Two(One):\n    pass\n"
    assert selectors.add_file(plugin(code)) == ["one", "two"]


def test_a_class_that_stays_abstract_says_so(plugin):
    code = NORM.format("Mine(Selector, ABC)") + "    @abstractmethod\n    def power(self): ...\n"
    selectors.add_file(plugin(code))
    with pytest.raises(BrokenPluginError, match="it is abstract, without power"):
        selectors.load("mine")


def test_two_classes_of_one_name_are_not_mixed_up(plugin):
    path = plugin(NORM.format("Mine(Selector)") + NORM.format("MINE(Selector)"))
    with pytest.raises(BrokenPluginError, match=r"plug-in 'mine' .* two classes have this name"):
        selectors.add_file(path)
    assert "mine" not in selectors.names()


def test_a_file_that_is_given_twice_is_read_once(plugin, monkeypatch):
    path = plugin("print('read')" + NORM.format("Mine(Selector)"))
    monkeypatch.chdir(path.parent)
    loaded = [selectors.add_file(spelling) and selectors.load("mine") for spelling in (path, "mine.py", "./mine.py")]
    assert loaded[0] is loaded[1] is loaded[2]


@pytest.mark.parametrize("neighbour", ["helper.py", "helper/__init__.py"])
def test_a_file_that_imports_its_neighbour_is_told_what_to_do(plugin, tmp_path, neighbour):
    (tmp_path / neighbour).parent.mkdir(exist_ok=True)
    (tmp_path / neighbour).write_text("")
    with pytest.raises(BrokenPluginError, match=r"it imports its neighbour 'helper'; .* install both as a package"):
        selectors.add_file(plugin("import helper"))


def test_a_plug_in_file_that_is_not_there_is_an_error_of_its_own():
    with pytest.raises(FgbenchError, match="no plug-in file"):
        selectors.add_file("nowhere.py")


def test_a_path_that_cannot_be_looked_up_is_one_line():
    with pytest.raises(FgbenchError, match=r"cannot read plug-in file 'a{300}.py'; File name too long$"):
        selectors.add_file("a" * 300 + ".py")


def test_a_file_that_may_not_be_read_is_a_broken_plug_in(plugin, monkeypatch):
    def refuse(self, path):
        raise PermissionError(13, "Permission denied", path)

    path = plugin("")
    monkeypatch.setattr("importlib.machinery.SourceFileLoader.get_data", refuse)
    with pytest.raises(BrokenPluginError, match=r"PermissionError: .*Permission denied"):
        selectors.add_file(path)


SILENT = "class Silent(Exception):\n    def __str__(self): raise ValueError('no')\n"
EVIL = "class Evil(type(Selector)):\n    def __getattribute__(cls, name): raise ValueError('no ' + name)\n"
AT_IMPORT = {
    "leaves": ("raise SystemExit(0)", r"it calls sys.exit\(0\)"),
    "leaves without a word": ("raise SystemExit", r"is broken: it calls sys.exit\(\)$"),
    "raises the base of all exceptions": ("raise BaseException('x')", "BaseException: x"),
    "ends a generator": ("raise GeneratorExit", "GeneratorExit"),
    "raises what cannot be shown": (SILENT + "raise Silent", "an exception that cannot be shown"),
    "reads a block instead of a slice": ("Needs(blocks=3)", "must be a slice, got 3"),
    "reads a list of blocks": ("Needs(blocks=[1, 2])", r"must be a slice, got \[1, 2\]"),
    "reads blocks by name": ("Needs(blocks=slice('a'))", "slice of whole numbers"),
    "reads blocks in steps of nothing": ("Needs(blocks=slice(0, 4, 0))", "slice of whole numbers"),
    "has tokens instead of a flag": ("Needs(tokens=3)", "must be True or False, got 3"),
    "has a list for a name": (NORM.format("Mine(Selector)") + "    name = ['a']\n", r"no plain word: \['a'\]"),
    "has a class that cannot be looked at": (EVIL + NORM.format("Mine(Selector, metaclass=Evil)"), "no __m"),
    "is no Python by its name": ("", "must end in .py"),
}


@pytest.mark.parametrize("case", AT_IMPORT)
def test_whatever_a_file_does_when_it_is_read_is_one_line(plugin, case):
    code, reason = AT_IMPORT[case]
    path = plugin(code, "mine.txt" if "by its name" in case else "mine.py")
    with pytest.raises(BrokenPluginError, match=reason) as caught:
        selectors.add_file(path)
    assert "\n" not in str(caught.value)
    assert "mine" not in selectors.names()


AT_LOAD = {
    "has axes that are no words": ("    score_shape = ('batch', ['patches'])\n", "'score_shape' must be a tuple"),
    "has a property for a shape": ("    score_shape = property()\n", "'score_shape' must be a tuple"),
}


@pytest.mark.parametrize("case", AT_LOAD)
def test_a_class_that_breaks_the_contract_is_one_line(plugin, case):
    code, reason = AT_LOAD[case]
    selectors.add_file(plugin(NORM.format("Mine(Selector)") + code))
    with pytest.raises(BrokenPluginError, match=reason):
        selectors.load("mine")


def test_needs_that_raise_when_they_are_looked_up_are_a_broken_plug_in(plugin):
    code = "class Meta(type(Selector)):\n    @property\n    def needs(cls): raise ValueError('lost')\n"
    code += "class Mine(Selector, metaclass=Meta):\n    def published(self, features): ...\n"
    selectors.add_file(plugin(code))
    with pytest.raises(BrokenPluginError, match=r"plug-in 'mine' .*ValueError: lost"):
        selectors.load("mine")


def test_ctrl_c_is_ctrl_c(plugin):
    with pytest.raises(KeyboardInterrupt):
        selectors.add_file(plugin("raise KeyboardInterrupt"))
