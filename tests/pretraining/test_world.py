"""The coarse world: families, pictures, and that it shares nothing with the birds of ``--dataset synthetic``."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from fgbench.pretraining.families import FAMILIES, family, family_names
from fgbench.pretraining.pictures import draw
from fgbench.pretraining.world import COVERED, NONE, patch_families, picture
from fgbench.results import shipped

ROOT = Path(__file__).parents[2]
DRAWING = {"world": "families outlines world pictures", "birds": "classes drawing scene"}
HOMES = {"world": "fgbench.pretraining", "birds": "fgbench.datasets.synthetic"}


def imported(module: str) -> set[str]:
    """Modules of fgbench that a module imports, and those that they import."""
    found, left = set(), [module]
    while left:
        name = left.pop()
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if name in found or not path.is_file():
            continue
        found.add(name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                left += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                left += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def drawing_code(which: str) -> set[str]:
    return set().union(*(imported(f"{HOMES[which]}.{name}") for name in DRAWING[which].split()))


def test_the_world_and_the_birds_share_no_code_that_draws():
    world, birds = drawing_code("world"), drawing_code("birds")
    assert {f"fgbench.pretraining.{name}" for name in DRAWING["world"].split()} <= world
    assert {f"fgbench.datasets.synthetic.{name}" for name in DRAWING["birds"].split()} <= birds
    shared = world & birds
    assert shared == set()
    assert not {name for name in world if name.startswith("fgbench.datasets")}
    assert not {name for name in birds if name.startswith("fgbench.pretraining")}


def test_a_hundred_families_and_more_no_two_alike():
    assert FAMILIES == shipped.FAMILIES >= 100
    assert len(set(family_names())) == FAMILIES
    assert len({family(number) for number in range(FAMILIES)}) == FAMILIES


def test_a_picture_depends_on_seed_and_index_alone():
    first, again = picture(3, 5), picture(3, 5)
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.pixels.shape == (96, 96, 3)
    assert picture(3, 6).pixels.tobytes() != first.pixels.tobytes()
    assert picture(4, 5).pixels.tobytes() != first.pixels.tobytes()


def test_most_pictures_show_their_object_and_some_others():
    pictures = [picture(0, index) for index in range(60)]
    seen = [np.mean(one.shown == one.family) for one in pictures]
    assert np.mean(np.asarray(seen) > 0.02) > 0.9
    assert 0.05 < np.mean(seen) < 0.5
    assert any(len(set(np.unique(one.shown)) - {NONE, one.family}) > 1 for one in pictures)
    assert len({one.family for one in pictures}) > 30


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_draw_the_same(processes, monkeypatch):
    monkeypatch.setattr("fgbench.pretraining.pictures.FEW", 1)
    drawn = draw(6, 10, 1, side=48, processes=processes)
    for place in range(6):
        one = picture(1, 10 + place, side=48)
        assert drawn.pixels[place].tobytes() == one.pixels.tobytes()
        assert (drawn.families[place], drawn.shown[place].tobytes()) == (one.family, one.shown.tobytes())


def test_families_of_patches_as_plain_loops_find_them():
    pictures = [picture(0, index) for index in range(8)]
    shown, mains = np.stack([one.shown for one in pictures]), np.array([one.family for one in pictures])
    found = patch_families(shown, mains, 12)
    for image, main in enumerate(mains):
        for place in range(64):
            y, x = 12 * (place // 8), 12 * (place % 8)
            cell = shown[image, y : y + 12, x : x + 12]
            counts = {int(number): int((cell == number).sum()) for number in np.unique(cell) if number != NONE}
            enough = {number: count for number, count in counts.items() if count >= COVERED * 144}
            wanted = NONE
            if main in enough:
                wanted = main
            elif enough:
                wanted = max(enough, key=lambda number: (enough[number], -number))
            assert found[image, place] == wanted
