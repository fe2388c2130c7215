"""Energy per image, and the curves of insertion and deletion."""

from __future__ import annotations

import pytest
from helpers.figure_rows import figures_of, kept, sweep
from helpers.throughput_rows import row, tried

from fgbench_reports.data import Data
from fgbench_reports.plots.curves import Curves
from fgbench_reports.plots.energy import Energy


def perturbed(selector="gls", seed=1, insertion=(0.0, 0.5, 1.0), deletion=(1.0, 0.5, 0.0), **fields):
    model = {"model": "glsim", "trained_with": "gls", "dataset": "mine", "image_size": 96}
    curves = {"insertion_curve": list(insertion), "deletion_curve": list(deletion)}
    areas = {"insertion_auc": sum(insertion) / 3, "deletion_auc": sum(deletion) / 3}
    return {
        **model,
        **curves,
        **areas,
        "selector": selector,
        "seed": seed,
        "perturbed_images": 8,
        "environment": {},
        **fields,
    }


def test_energy_is_of_the_batch_with_the_highest_throughput():
    rows = [row(batch=1, img_s=10.0, energy_j_per_image=9.0), row(batch=8, img_s=50.0, energy_j_per_image=2.0)]
    rows.append(row(size=448, energy_j_per_image=8.0))
    (figure,) = figures_of(Energy, Data(throughput=rows))
    drawing = figure.draw()
    assert [(point.x, point.y) for point in drawing.points] == [(224, 2.0), (448, 8.0)]
    assert drawing.canvas.axes[0].get_yscale() == "log"
    assert "2.00 J per image" in drawing.points[0].text


def test_energy_that_was_not_read_is_told_and_never_drawn():
    (missing,) = Energy().items(kept())
    assert missing.command.startswith("fgbench throughput --model vit glsim transfg ffvt ramstrans dcal --sizes 96 ")
    assert missing.command.endswith("--backbones test_vit --device cuda")
    (missing,) = Energy().items(Data())
    assert missing.why == "there are no rows for it"
    (figure,) = figures_of(Energy, Data(throughput=[row(), row(size=448, energy_j_per_image=1.0)]))
    assert len(figure.draw().points) == 1


def test_modes_of_energy_have_figures_of_their_own():
    figures = figures_of(Energy, Data(throughput=[*sweep(), *sweep(dtype="bfloat16")]))
    assert len({figure.title for figure in figures}) == 2


def test_curves_are_means_over_seeds():
    rows = [perturbed(), perturbed(seed=2, insertion=(0.2, 0.7, 1.0)), perturbed("random")]
    (figure,) = figures_of(Curves, Data(selection_quality=rows))
    drawing = figure.draw()
    rising = drawing.canvas.axes[0]
    risen = [point for point in drawing.points if point.axes is rising][:3]
    assert [point.x for point in risen] == [0, 50, 100]
    assert [point.y for point in risen] == pytest.approx([0.1, 0.6, 1.0])
    assert "insertion AUC 0.567, mean of 2 runs" in drawing.points[0].text
    assert "8 images and 2 trained models" in figure.notes[0]


def below(drawing) -> str:
    """The sentences below the legend, their lines put together."""
    return " ".join(reversed([text.get_text() for text in drawing.canvas.texts]))


def test_curves_have_bars_of_one_standard_deviation_and_those_of_one_run_say_that_they_have_none():
    rows = [perturbed(), perturbed(seed=2, insertion=(0.2, 0.7, 1.0)), perturbed("random")]
    (figure,) = figures_of(Curves, Data(selection_quality=rows))
    drawing = figure.draw()
    bars = [piece for some in drawing.canvas.axes[0].collections for piece in some.get_segments()]
    std = (0.02) ** 0.5  # of 0 and 0.2, and of 0.5 and 0.7, with n - 1
    found = [(float(low[0]), float(low[1]), float(high[1])) for low, high in bars]
    assert found == [
        (0, pytest.approx(0.1 - std), pytest.approx(0.1 + std)),
        (50, pytest.approx(0.6 - std), pytest.approx(0.6 + std)),
    ]
    assert "Bars are one standard deviation over trained models, up and down." in below(drawing)
    assert "random has no bars: there is one trained model." in below(drawing)
    assert f"50 % of the pixels: 0.600 ± {std:.3f}" in drawing.points[1].text
    (figure,) = figures_of(Curves, Data(selection_quality=[perturbed(), perturbed("random")]))
    assert "Curves have no bars: there is one trained model." in below(figure.draw())


def test_what_curves_leave_out_is_named_in_their_figure():
    rows = [perturbed(), perturbed(seed=2, insertion=(0.0, 1.0)), perturbed("random", insertion_curve=None)]
    (figure,) = figures_of(Curves, Data(selection_quality=rows))
    for note in (
        "Not drawn: 1 row (random): without curves.",
        "Not drawn: 1 curve (gls): not as many points as the first one of the same selector.",
    ):
        assert note in figure.notes
        assert note in below(figure.draw())


def test_curves_of_several_machines_say_so_in_their_title():
    rows = [perturbed(environment={"device_name": name}, seed=seed) for seed, name in enumerate(("here", "there"))]
    (figure,) = figures_of(Curves, Data(selection_quality=rows))
    assert figure.title.endswith(" · runs of several environments")
    assert "runs of several environments" in below(figure.draw())


def test_energy_has_no_bars_and_names_what_it_leaves_out():
    rows = [row(energy_j_per_image=1.0), row(size=448), tried("oom", "full", size=1024, batch=8)]
    (figure,) = figures_of(Energy, Data(throughput=rows))
    told = below(figure.draw())
    assert "Points have no bars: the energy of a point is one reading, without an interval." in told
    assert "Not drawn: 1 point (glsim at 448, batch 1): the device's energy was not read." in told
    assert "Not drawn: 1 point (glsim at 1024, batch 8): no batch has a time, status oom." in told


def test_every_trained_model_has_its_figure():
    figures = figures_of(Curves, kept())
    assert len(figures) == len({(row["model"], row["trained_with"]) for row in kept().selection_quality})
    selectors = {row["selector"] for row in kept().selection_quality}
    assert all(set(figure.curves) == selectors for figure in figures)


def test_the_curves_are_those_of_the_rows():
    (figure, *_) = figures_of(Curves, kept())
    rows = [row for row in kept().selection_quality if row["model"] == "vit" and row["selector"] == "gls"]
    means = [sum(values) / len(rows) for values in zip(*(row["deletion_curve"] for row in rows), strict=True)]
    assert figure.curves["gls"].deletion.values == pytest.approx(means)


def test_seeds_of_different_devices_are_told():
    rows = [perturbed(environment={"torch": "2.8"}), perturbed(seed=2, environment={"torch": "2.9"})]
    (figure,) = figures_of(Curves, Data(selection_quality=rows))
    assert any("torch: 2.8, 2.9" in note for note in figure.notes)


def test_rows_without_curves_are_told():
    (missing,) = Curves().items(Data(selection_quality=[perturbed(insertion_curve=None)]))
    assert missing.why == "no row has its curves"
    assert "--quality" in missing.command


def test_curves_of_other_lengths_are_not_mixed_in():
    rows = [perturbed(), perturbed(seed=2, insertion=(0.0, 1.0))]
    (figure,) = figures_of(Curves, Data(selection_quality=rows))
    assert figure.curves["gls"].insertion.values == [0.0, 0.5, 1.0]
