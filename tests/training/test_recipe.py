"""Tables 10 and 11, and the priority of request, data set and paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.small_training import Colours, colours

from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.results.recipe import Recipe, published_recipe, published_seeds, resized_side, search_share
from fgbench.training.config import identify, run_key, training_configs
from fgbench.training.request import AccuracyRequest


def made(dataset=None, **request):
    reported = []
    found = training_configs(AccuracyRequest(**request), dataset or colours(), reported.append)
    return found, [str(problem) for problem in reported]


def test_by_default_it_is_table_10():
    (vit, cal), _ = made(models=["vit", "cal"])
    assert (vit.image_size, vit.lrs, vit.seeds) == (224, (0.03, 0.01, 0.003, 0.001), (1, 10, 100))
    assert vit.recipe == Recipe(
        epochs=50,
        batch_size=8,
        optimizer="momentum",
        weight_decay=0,
        warmup_steps=500,
        warmup_lr=1e-6,
        min_lr=1e-5,
        clip_norm=1,
        augreg="strong",
    )
    assert cal.recipe == replace(vit.recipe, epochs=160, weight_decay=1e-5, warmup_steps=1500)
    assert (resized_side(224), resized_side(448)) == (300, 600)
    assert [published_recipe("cal", name)["epochs"] for name in ("dafb", "food", "inat17", "cub")] == [50, 50, 50, 160]


def test_large_sets_have_two_seeds_and_are_searched_on_a_fifth():
    assert (published_seeds(50_000), published_seeds(50_001)) == ((1, 10, 100), (1, 10))
    assert (search_share(50_000), search_share(50_001)) == (0.8, 0.2)


def test_dogs_have_more_tokens():
    dogs = replace(colours(), name="dogs")
    options = [config.options for config in made(dogs, models=["glsim", "ffvt", "vit"], image_sizes=[448])[0]]
    assert options == [{"top_k": 32}, {"num_tokens": 24}, {}]
    ((glsim,), _) = made(dogs, models=["glsim"], model_options={"top_k": 4})
    assert (glsim.options, glsim.image_size) == ({"top_k": 4}, 224)


def test_label_smoothing_is_the_level_s_unless_a_model_is_to_have_its_own():
    ((own,), _) = made(models=["vit"], backbone="test_vit", image_sizes=[32], model_options={"label_smoothing": 0})
    ((level,), _) = made(models=["vit"], backbone="test_vit", image_sizes=[32])
    assert [config.build(3).label_smoothing for config in (own, level)] == [0, 0.1]
    assert own.recipe == level.recipe
    assert run_key(own, {}) != run_key(level, {})


def test_what_is_asked_for_comes_before_the_data_set_and_that_before_the_paper():
    own = replace(
        colours(),
        recipe={"epochs": 3, "batch_size": 4, "lr": 0.1, "seeds": (5,), "image_size": 64, "backbone": "test_vit"},
    )
    ((cal,), _) = made(own, models=["cal"], recipe={"batch_size": 2})
    assert (cal.recipe.epochs, cal.recipe.batch_size, cal.recipe.weight_decay) == (3, 2, 1e-5)
    assert (cal.lrs, cal.seeds, cal.image_size, cal.backbone) == ((0.1,), (5,), 64, None)  # no ViT is CAL's backbone
    ((vit,), _) = made(own, models=["vit"], lrs=[1, 2], seeds=[3, 4], image_sizes=[96])
    assert (vit.lrs, vit.seeds, vit.image_size, vit.backbone) == ((1, 2), (3, 4), 96, "test_vit")


def test_models_that_do_not_select_are_left_out_with_selectors_and_say_so():
    found, said = made(models=["vit", "glsim", "ffvt"], selectors=["rollout", "maws"])
    assert [(each.model, each.selector) for each in found] == [("glsim", "rollout"), ("ffvt", "maws")]
    assert said[0] == "vit has no selector, and was left out with 'rollout'"
    assert "glsim cannot select by the scores of 'maws'" in said
    with pytest.raises(FgbenchError, match="nothing is left to train"):
        made(models=["vit"], selectors=["gls"])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"models": ["glsm"]}, "unknown model 'glsm'; did you mean glsim"),
        ({"models": ["tpskg"]}, "cannot be reproduced yet: 'tpskg'"),
        ({"models": ["vit"], "model_options": {"top_k": 3}}, "model 'vit' has no option 'top_k'"),
        ({"models": ["vit"], "model_options": {"num_classes": 3}}, "has no option 'num_classes'"),
    ],
)
def test_unknown_names_and_options_are_errors(request_, message):
    with pytest.raises((FgbenchError, UnknownNameError), match=message):
        made(**request_)


def test_a_key_changes_with_all_that_changes_a_result_and_with_nothing_else():
    def key(dataset=None, around=(), **request):
        ((config, *_), _) = made(dataset, **{"models": ["vit"], "lrs": [0.1], **request})
        return run_key(config, {**identify(dataset or colours()), "options": {}, **dict(around)})

    same = key()
    assert same == key() == key(lrs=[0.2]) == key(seeds=[7])  # these are handed in with a run
    fewer = replace(colours(), train=Colours(4, 31, 1))
    renamed = replace(colours(), class_names=["a", "b", "c", "d"])
    others = [
        key(models=["glsim"]),
        key(image_sizes=[448]),
        key(backbone="test_vit"),
        key(recipe={"epochs": 3}),
        key(impl="published"),
        key(model_options={"overlap": 4}),
        key(around={"options": {"overlap": 4}}),
        key(fewer),
        key(renamed),
        key(around={"seed": 1}),
        key(around={"seed": 10}),
    ]
    assert len({same, *others}) == len(others) + 1
