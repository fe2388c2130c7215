"""Limits and intervals: a limit is certainly met, certainly missed, or uncertain."""

from __future__ import annotations

import pytest
from helpers.choices import chosen
from helpers.saved_rows import accuracy
from helpers.throughput_rows import CPU, row
from reports.test_conformance import check_command

from fgbench_reports.choose.choice import KEEPS, MISSES, UNCERTAIN
from fgbench_reports.choose.choice_table import choice_notes
from fgbench_reports.choose.limits import Limits, top1_of


def listed(choice) -> list:
    return [(one.configuration.row["model"], one.configuration.row["batch_size"]) for one in choice.chosen]


def test_a_latency_of_21_9_ms_and_138_percent_tells_nothing_of_a_limit_of_50_ms():
    noisy = row(img_s=1 / 0.0219, width=1.38, status="unconverged", reason="after 10 s the interval is ±138 %")
    choice = chosen([noisy, row("vit", selector=None, img_s=50.0)], Limits(max_latency_s=0.05))
    assert listed(choice) == [("vit", 1)]
    (one,) = choice.uncertain
    assert (one.word, one.breaches) == (UNCERTAIN, ())
    assert one.doubts[0].told == "latency 21.90 ms, 95 % interval from 0 ms to 52.12 ms: 50.00 ms lies inside"
    assert chosen([noisy], Limits(max_latency_s=0.053)).chosen, "its high end is below the limit"


def test_what_misses_one_limit_is_not_uncertain_about_another():
    limits = Limits(max_latency_s=0.05, max_memory_bytes=10)
    (one,) = chosen([row(img_s=20.0, width=0.5)], limits).verdicts
    assert (one.word, len(one.breaches), len(one.doubts)) == (MISSES, 1, 1)


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        (Limits(max_latency_s=0.0111), KEEPS),
        (Limits(max_latency_s=0.0109), UNCERTAIN),
        (Limits(max_latency_s=0.0089), MISSES),
        (Limits(min_throughput_img_s=90.0), KEEPS),
        (Limits(min_throughput_img_s=92.0), UNCERTAIN),
        (Limits(min_throughput_img_s=110.0), UNCERTAIN),
        (Limits(min_throughput_img_s=112.0), MISSES),
        (Limits(max_cost=3.06), KEEPS),  # 1e6 images of 11 ms at 1.00 an hour cost 3.056
        (Limits(max_cost=3.05), UNCERTAIN),
        (Limits(max_cost=2.51), UNCERTAIN),
        (Limits(max_cost=2.49), MISSES),
    ],
)
def test_latency_throughput_and_cost_are_judged_by_the_end_that_hurts(limits, word):
    (one,) = chosen([row(img_s=100.0, width=0.1)], limits, price=1.0).verdicts
    assert one.word == word


@pytest.mark.parametrize(("at_least", "word"), [(82.0, KEEPS), (85.0, UNCERTAIN), (95.0, UNCERTAIN), (96.0, MISSES)])
def test_an_accuracy_on_a_hundred_images_is_judged_by_its_low_end(at_least, word):
    runs = [accuracy(top1=91.0, images=100, dataset="moths")]  # Wilson: 83.8 to 95.2
    (one,) = chosen([row()], Limits(min_accuracy_percent=at_least), runs=runs, dataset="moths").verdicts
    assert one.word == word


def test_a_row_without_an_interval_tells_nothing_certain():
    old = row(img_s=100.0, latency_ci95_low_s=None, latency_ci95_high_s=None)
    for limit in (Limits(max_latency_s=0.5), Limits(max_latency_s=0.001), Limits(min_throughput_img_s=1.0)):
        (one,) = chosen([old], limit).verdicts
        assert one.word == UNCERTAIN
        assert "no interval: it cannot be held against" in one.doubts[0].told
    notes = choice_notes(chosen([old, row("vit", selector=None, img_s=90.0)]))
    assert "No interval of the latency, so nothing certain is told of it: glsim at 224, batch 1." in notes
    assert len(chosen([old, row(batch=2, img_s=1.0)]).chosen) == 2, "it dominates nothing"


def test_repeats_widen_what_is_known_of_a_point():
    rows = [row(img_s=speed, repeat=number, energy_j_per_image=energy) for number, speed, energy in
            ((1, 100.0, 1.0), (2, 110.0, 0.9), (3, 90.0, 1.2))]  # fmt: skip
    assert chosen(rows, Limits(max_latency_s=0.0105)).uncertain
    assert chosen(rows, Limits(max_latency_s=1.002 / 90)).chosen
    assert chosen(rows, Limits(max_energy_j=1.1)).uncertain
    assert chosen(rows, Limits(max_energy_j=1.2)).chosen
    (note,) = (note for note in choice_notes(chosen(rows, Limits(max_energy_j=1.1))) if "Repeats" in note)
    assert note == "Repeats of one point lie on both sides of --max-energy: only other limits tell."


def test_a_latency_alone_decides_between_two_batches_of_one_model():
    rows = [row(batch=1, img_s=100.0), row(batch=2, img_s=100.5), row(batch=4, img_s=90.0)]
    assert [batch for _, batch in listed(chosen(rows))] == [2, 1]  # the accuracy is the same, however wide its interval


def test_the_notes_name_the_command_that_narrows_an_interval():
    noisy = {"device": "cpu", "environment": CPU, "dtype": "bfloat16", "compiled": True, "width": 0.4}
    rows = [row(img_s=20.0, **noisy), row(img_s=20.0, impl="published", selector="psm", width=0.3)]
    notes = choice_notes(chosen(rows, Limits(max_latency_s=0.05)))
    (note,) = (note for note in notes if note.startswith("Latency, throughput and cost"))
    assert (
        "'fgbench throughput --models glsim --sizes 224 --batch-sizes 1 --device cpu --dtype bfloat16 --compile "
        "--threads 2 --max-time 60s --again'" in note
    )
    assert "--batch-sizes 1 --impl published --selectors psm --max-time 60s --again'" in note
    notes = choice_notes(chosen([row()], Limits(min_accuracy_percent=91)))
    assert any(
        note.endswith("'fgbench accuracy --model glsim --sizes 224 --dataset cub --data-dir DIR'.") for note in notes
    )


def test_more_seeds_are_trained_as_those_that_are_there_were():
    recipe = {"epochs": 10, "batch_size": 16, "optimizer": "adamw", "warmup_lr": 1e-6}
    trained = {"top1": 91.2, "epochs": 10, "lr": 0.003, "recipe": recipe}
    for begun_from, words in (
        ("pretrained", "--pretrained "),
        ("random", ""),
        ("a b.npz (ema)", "--checkpoint 'a b.npz' --weights ema "),
    ):
        runs = [accuracy(seed=seed, begun_from=begun_from, **trained) for seed in (1, 2)]
        notes = choice_notes(chosen([row()], Limits(min_accuracy_percent=91), runs=runs))
        (note,) = (note for note in notes if note.startswith("Accuracies that are too uncertain"))
        command = note.partition("'")[2].rpartition("'")[0]
        check_command(command)
        told = f"--data-dir DIR {words}--lr 0.003 --epochs 10 --batch-size 16 --optimizer adamw"
        assert command == f"fgbench accuracy --model glsim --sizes 224 --dataset cub {told}"
        assert note.endswith("with more --seeds.")


def test_a_file_that_was_only_tested_has_no_other_seeds():
    file = accuracy(top1=91.2, seed=None, lr=None, epochs=None, recipe={})
    notes = choice_notes(chosen([row()], Limits(min_accuracy_percent=91), runs=[file]))
    (note,) = (note for note in notes if note.startswith("Accuracies that are too uncertain"))
    assert note.endswith("seeds never below that of the test images.")


def test_of_several_trainings_the_one_with_the_higher_low_end_counts():
    runs = [accuracy(top1=92.0, images=50, dataset="moths")]
    runs += [accuracy(top1=91.0, images=5000, dataset="moths", epochs=100)]
    (one,) = chosen([row()], Limits(min_accuracy_percent=90), runs=runs, dataset="moths").chosen
    assert top1_of(one.configuration) == 91.0


def test_what_several_accuracies_and_repeats_stand_for_is_said():
    files = [accuracy(top1=top1, seed=None, checkpoint=name) for top1, name in ((91.0, "a"), (20.0, "b"))]
    choice = chosen([row(), row(img_s=90.0, repeat=2)], runs=files)
    assert [top1_of(one.configuration) for one in choice.verdicts] == [91.0]
    notes = choice_notes(choice)
    assert "Of several trainings or files of a model, the accuracy with the highest low end counts." in notes
    assert "A latency that was measured repeatedly has the outermost ends of the intervals of its repeats." in notes
    plain = " ".join(choice_notes(chosen([row()], runs=files[:1])))
    assert "several trainings" not in plain
    assert "repeatedly" not in plain
