from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench.datasets.synthetic.classes import COLOURS, PATTERNS, SHAPES, Kind, Marking
from fgbench.datasets.synthetic.drawing import OUTLINES, draw, part_boxes, parts
from fgbench.datasets.synthetic.scene import SPAN, draw_scene

markings = st.builds(Marking, st.sampled_from(SHAPES), st.sampled_from(list(COLOURS)), st.sampled_from(PATTERNS))
all_kinds = st.builds(Kind, markings, markings)
scenes = st.integers(0, 2**32).map(lambda seed: draw_scene(np.random.default_rng(seed)))
sides = st.sampled_from([32, 77, 128, 200])


def quiet(scene):
    """The scene with even light, so that pixels differ where something else is drawn and nowhere else."""
    return replace(scene, gain=(1.0, 1.0, 1.0), shading=(0.0, 0.0))


def bounds(changed):
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


@settings(max_examples=60, deadline=None)
@given(scene=scenes, kind=all_kinds, side=sides)
def test_pixels_differ_inside_the_boxes_and_up_to_their_edges(scene, kind, side):
    bare = quiet(scene)
    changed = (draw(bare, kind, side) != draw(bare, None, side)).any(axis=2)
    for box in part_boxes(bare, kind, side):
        y0, x0, y1, x1 = map(int, box)
        inside = changed[y0:y1, x0:x1]
        assert np.abs(np.subtract(bounds(inside), (0, 0, y1 - y0, x1 - x0))).max() <= 1
        changed[y0:y1, x0:x1] = False
    assert not changed.any()


@settings(max_examples=200, deadline=None)
@given(scene=scenes, kind=all_kinds)
def test_both_parts_lie_in_the_middle_three_quarters_that_the_recipe_crops(scene, kind):
    for y0, x0, y1, x1 in part_boxes(scene, kind, 128):
        assert 16 <= (y0 + y1) / 2 <= 112
        assert 16 <= (x0 + x1) / 2 <= 112


@settings(max_examples=200, deadline=None)
@given(scene=scenes, kind=all_kinds)
def test_parts_are_small_and_their_boxes_hardly_overlap(scene, kind):
    for placed in parts(scene, kind):
        frame = placed.frame
        share = math.pi * abs(frame.xx * frame.yy - frame.xy * frame.yx) / SPAN**2
        assert 0.01 <= share <= 0.025
    first, second = part_boxes(scene, kind, 128)
    height, width = (min(first[i + 2], second[i + 2]) - max(first[i], second[i]) for i in (0, 1))
    smaller = min((y1 - y0) * (x1 - x0) for y0, x0, y1, x1 in (first, second))
    assert max(height, 0) * max(width, 0) <= 0.05 * smaller  # at their corners, where neither has a pixel


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_have_one_area(shape):
    points = OUTLINES[shape]
    turned = [*points[1:], points[0]]
    area = abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, turned, strict=True))) / 2
    assert area == pytest.approx(math.pi)


def test_an_image_that_is_flipped_left_to_right_shows_the_same_class():
    """The same bird in a mirrored pose looks like the flipped image, but for a pixel's rounding at edges."""
    scene = replace(quiet(draw_scene(np.random.default_rng(7))), ground=np.full((4, 4, 3), 120.0))
    scene = replace(scene, behind=(), distractors=(), before=())
    frame = scene.frame
    mirrored = replace(frame, xx=-frame.xx, xy=-frame.xy, x=SPAN - frame.x)
    for shape, pattern in product(SHAPES, PATTERNS):
        kind = Kind(Marking(shape, "red", pattern), Marking(shape, "blue", pattern))
        place = scene.decoy.frame
        decoy = replace(scene.decoy, frame=replace(place, xx=-place.xx, xy=-place.xy, x=SPAN - place.x))
        one, other = draw(scene, kind, 128), draw(replace(scene, frame=mirrored, decoy=decoy), kind, 128)
        unlike = np.abs(one[:, ::-1].astype(int) - other).max(axis=2) > 90
        assert unlike.mean() < 0.002


def test_every_marking_looks_different_on_wing_and_head():
    scene = draw_scene(np.random.default_rng(3))
    every = [Marking(*words) for words in product(SHAPES, COLOURS, PATTERNS)]
    looks = {draw(scene, Kind(marking, marking), 64).tobytes() for marking in every}
    assert len(looks) == len(every)


@settings(max_examples=30, deadline=None)
@given(scene=scenes, kind=all_kinds)
def test_patterns_take_up_much_the_same_ink(scene, kind):
    """Else a glance from afar could tell a pattern by its darkness."""
    bare = quiet(scene)
    means = []
    for pattern in PATTERNS:
        shown = replace(kind, wing=replace(kind.wing, shape="disc", pattern=pattern))
        y0, x0, y1, x1 = map(int, part_boxes(bare, shown, 128)[0])
        means.append(draw(bare, shown, 128)[y0:y1, x0:x1].mean())
    assert max(means) - min(means) < 16


@settings(max_examples=100, deadline=None)
@given(scene=scenes, kind=all_kinds)
def test_nothing_in_front_of_the_bird_touches_its_parts(scene, kind):
    bare = quiet(scene)
    hidden, shown = draw(replace(bare, before=()), kind, 128), draw(bare, kind, 128)
    without = draw(bare, None, 128), draw(replace(bare, before=()), None, 128)
    blades = (without[0] != without[1]).any(axis=2)
    assert ((hidden != shown).any(axis=2) == blades).all()


def test_poses_light_and_clutter_vary():
    shown = [draw_scene(np.random.default_rng(seed)) for seed in range(200)]
    turns = np.degrees([math.atan2(scene.frame.yx, abs(scene.frame.xx)) for scene in shown])
    mirrored = np.mean([scene.frame.xx < 0 for scene in shown])
    assert 0.35 < mirrored < 0.65
    assert np.ptp([scene.frame.x for scene in shown]) > 10
    assert np.abs(turns).max() > 35
    assert np.ptp([scene.gain[0] for scene in shown]) > 0.25
    assert len({len(scene.before) for scene in shown}) > 2
