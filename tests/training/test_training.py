"""Training: it learns, a continued run has the same weights, and the recipe is the given one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from helpers.ranking import assert_same_selection
from helpers.small_training import RECIPE, SIDE, Broken, Colours, accelerator, plan, quiet
from timm.layers.drop import DropPath

from fgbench.datasets.dataset import DataSet, DatasetError
from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.models.checkpoints.load import load_checkpoint
from fgbench.results.recipe import Recipe
from fgbench.training.state import Progress, load_state, save_state
from fgbench.training.training import BEST, LAST, STATE, Step, remove_files, train


class StopHereError(Exception): ...


def weights(folder):
    return safetensors.torch.load_file(folder / LAST)


def curve(a_plan, recipe: Recipe = RECIPE):
    kept = []
    predictions, progress = train(a_plan, accelerator(recipe), kept.append, quiet)
    return predictions, progress, kept


def test_a_small_model_learns_colours(tmp_path):
    recipe = replace(RECIPE, epochs=12, augreg="minimal")
    predictions, progress, kept = curve(plan(tmp_path, recipe=recipe), recipe)
    assert predictions.top1_percent > 60  # chance is 25
    assert kept[-1].train_loss < kept[0].train_loss
    assert progress.best_top1_percent == max(epoch.top1_percent for epoch in kept)
    assert kept[progress.best_epoch - 1].top1_percent == progress.best_top1_percent
    assert [epoch.epoch for epoch in kept] == list(range(1, 13))


@pytest.mark.parametrize("model", ["vit", "glsim", "transfg", "dcal", "cal"])
def test_a_run_that_was_stopped_goes_on_to_the_very_weights(model, tmp_path):
    how = {"backbone": "fgtest_resnet_basic", "image_size": 64} if model == "cal" else {}
    _, whole, straight = curve(plan(tmp_path / "straight", model, **how))

    def stop_in_epoch_two(step):
        if isinstance(step, Step) and (step.epoch, step.phase) == (2, "training") and step.done > 8:
            raise StopHereError

    kept = []
    with pytest.raises(StopHereError):
        train(plan(tmp_path / "stopped", model, **how), accelerator(), kept.append, stop_in_epoch_two)
    torch.manual_seed(99)  # another process has drawn other numbers
    _, resumed, rest = curve(plan(tmp_path / "stopped", model, **how))
    assert [epoch.epoch for epoch in rest] == [2, 3]

    def figures(epochs):
        return [replace(epoch, seconds=0) for epoch in epochs]

    assert figures(kept + rest) == figures(straight)
    assert replace(resumed, seconds=0) == replace(whole, seconds=0)
    expected, found = weights(tmp_path / "straight"), weights(tmp_path / "stopped")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_run_that_is_over_is_only_tested(tmp_path):
    first, _, _ = curve(plan(tmp_path))
    again, _, kept = curve(plan(tmp_path))
    assert kept == []
    assert (first.ranked == again.ranked).all()


def test_the_weights_that_are_kept_are_the_tested_ones(tmp_path):
    a_plan = plan(tmp_path, "glsim")
    predictions, _, _ = curve(a_plan)
    other = plan(tmp_path / "other", "glsim", seed=7)
    load_checkpoint(other.model, tmp_path / LAST, strict=True)
    assert all(torch.equal(a, b) for a, b in zip(a_plan.model.parameters(), other.model.parameters(), strict=True))
    assert (tmp_path / BEST).is_file()
    assert predictions.images == 20


def test_accumulated_gradients_take_the_step_of_the_whole_batch(tmp_path):
    recipe = replace(RECIPE, epochs=1, augreg="minimal", optimizer="momentum", warmup_steps=0)
    halves = replace(recipe, accumulate=2)
    curve(plan(tmp_path / "one", recipe=recipe), recipe)
    curve(plan(tmp_path / "two", recipe=halves), halves)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-6


def test_mixed_precision_trains_and_its_weights_stay_float32(tmp_path):
    recipe = replace(RECIPE, epochs=1, mixed_precision="bf16")
    _, _, kept = curve(plan(tmp_path, recipe=recipe), recipe)
    assert math.isfinite(kept[0].train_loss)
    assert {tensor.dtype for tensor in weights(tmp_path).values()} == {torch.float32}
    plain = replace(RECIPE, epochs=1)
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    _, _, float32 = curve(plan(tmp_path / "plain", recipe=plain), plain)
    assert kept[0].train_loss != float32[0].train_loss
    assert kept[0].train_loss == pytest.approx(float32[0].train_loss, rel=0.05)


def test_the_learning_rate_warms_up_and_follows_a_cosine(tmp_path):
    recipe = Recipe(epochs=5, batch_size=8, warmup_steps=4, augreg="minimal")
    seen, a_plan = [], plan(tmp_path, recipe=recipe, lr=0.01)
    from fgbench.training import training

    class Watched(training.CosineLRScheduler):
        def step_update(self, num_updates, metric=None):
            super().step_update(num_updates, metric)
            seen.append((num_updates, self.optimizer.param_groups[0]["lr"]))

    training.CosineLRScheduler, kept = Watched, training.CosineLRScheduler
    try:
        train(a_plan, accelerator(), quiet, quiet)
    finally:
        training.CosineLRScheduler = kept
    rates, total = dict(seen), 20
    for step in range(4):
        assert rates[step] == pytest.approx(1e-6 + step * (0.01 - 1e-6) / 4)
    for step in range(4, total):
        assert rates[step] == pytest.approx(1e-5 + (0.01 - 1e-5) / 2 * (1 + math.cos(math.pi * step / total)))


def test_no_step_is_taken_at_more_than_the_learning_rate(tmp_path):
    recipe = Recipe(epochs=3, batch_size=8, warmup_steps=4, augreg="minimal")
    _, _, kept = curve(plan(tmp_path, recipe=recipe, lr=1e-7), recipe)
    assert {epoch.lr for epoch in kept} == {1e-7}  # the published warm-up begins above, and the cosine ends above


def test_a_short_run_has_a_short_warm_up():
    assert Recipe().warmup(37_500) == 500
    assert Recipe().warmup(1000) == 200
    assert Recipe(warmup_steps=0).warmup(10) == 0


def test_stochastic_depth_is_the_same_in_every_block(tmp_path):
    a_plan = plan(tmp_path, "glsim", recipe=replace(RECIPE, epochs=1))
    curve(a_plan)
    drops = [module for module in a_plan.model.modules() if isinstance(module, DropPath)]
    assert {drop.drop_prob for drop in drops} == {0.1}
    assert len(drops) == 2 * (6 + 1)  # both branches of every block, the aggregator's as well
    a_plan.model.set_stochastic_depth(0)
    assert not [module for module in a_plan.model.modules() if isinstance(module, DropPath)]


def test_a_broken_image_is_replaced_counted_and_kept_count_of(tmp_path):
    dataset = DataSet(
        name="broken",
        class_names=["a", "b"],
        train=Broken(2, 200, 1, broken={7}),
        test=Broken(2, 100, 2, broken={3}),
    )
    recipe = replace(RECIPE, epochs=1, augreg="minimal")
    predictions, progress, _ = curve(plan(tmp_path, dataset=dataset, recipe=recipe), recipe)
    assert (predictions.images, predictions.unreadable, progress.unreadable) == (99, {3}, (7,))
    worse = replace(dataset, train=Broken(2, 200, 1, broken={7, 8, 9}))
    with pytest.raises(DatasetError, match="3 of 200 images cannot be read"):
        curve(plan(tmp_path / "worse", dataset=worse, recipe=recipe), recipe)


def test_a_loss_that_is_not_finite_stops_the_run_and_says_what_may_help(tmp_path):
    with pytest.raises(CannotMeasureError, match=r"not finite.*lower --lr"):
        curve(plan(tmp_path, lr=1e30, recipe=replace(RECIPE, warmup_steps=0, optimizer="momentum")))


def test_an_optimizer_whose_state_cannot_be_written_is_named(tmp_path):
    model = plan(tmp_path).model
    optimizer = torch.optim.SGD(model.parameters(), 1)
    optimizer.state[next(model.parameters())]["held"] = [torch.zeros(1)]
    with pytest.raises(FgbenchError, match="cannot be resumed with this optimizer: 'SGD'"):
        save_state(tmp_path / STATE, "a run", model, optimizer, None, Progress())


def test_what_a_kill_left_half_written_goes_with_the_state(tmp_path):
    curve(plan(tmp_path, recipe=replace(RECIPE, epochs=1)), replace(RECIPE, epochs=1))
    (tmp_path / ".fgbench-x1y2.safetensors").write_bytes(b"half")
    remove_files(tmp_path, weights=False)
    assert {path.name for path in tmp_path.iterdir()} == {BEST, LAST}


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FgbenchError, match=r"weights cannot be kept in '.*file/run'; (File exists|Not a directory)"):
        curve(plan(tmp_path / "file" / "run", recipe=replace(RECIPE, epochs=1)))


def test_a_state_that_is_damaged_or_another_runs_is_named(tmp_path):
    a_plan = plan(tmp_path)
    curve(a_plan)
    with pytest.raises(FgbenchError, match=r"another run's: '.*state.safetensors'; give another --checkpoints"):
        curve(replace(a_plan, run="another run"))
    (tmp_path / STATE).write_bytes(b"garbage")
    with pytest.raises(FgbenchError, match="cannot be read"):
        curve(plan(tmp_path))
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / STATE)
    with pytest.raises(FgbenchError, match="no training state in"):
        load_state(tmp_path / STATE, "a run", a_plan.model, torch.optim.SGD(a_plan.model.parameters(), 1), None)


def test_predictions_do_not_depend_on_how_many_workers_read(tmp_path):
    recipe = replace(RECIPE, epochs=1)
    curve(plan(tmp_path / "none", recipe=recipe), recipe)
    curve(plan(tmp_path / "two", recipe=recipe, workers=2), recipe)
    none, two = weights(tmp_path / "none"), weights(tmp_path / "two")
    assert all(torch.equal(none[name], two[name]) for name in none)


def test_the_mirror_image_can_be_tested_too(tmp_path):
    from fgbench.training.evaluation import evaluate

    a_plan = plan(tmp_path)
    model = a_plan.model.eval()
    plain = evaluate(model, a_plan.test, accelerator(), batch_size=8)
    both = evaluate(model, a_plan.test, accelerator(), batch_size=8, flip=True)
    images = torch.stack([a_plan.test[(0, index)][1] for index in range(20)])
    with torch.no_grad():
        expected = (model(images) + model(images.flip(3))) / 2
    assert_same_selection(expected, expected.argmax(1)[:, None], torch.from_numpy(both.ranked[:, :1]), 1e-5)
    assert plain.images == both.images == 20
    assert images.shape[-1] == SIDE
    assert Colours(4, 20, 2).targets == both.targets.tolist()
