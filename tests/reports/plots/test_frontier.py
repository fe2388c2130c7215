"""Figures of accuracy against cost: the front, measured and published values, and data that is not mixed."""

from __future__ import annotations

import pytest
from helpers.figure_rows import figures_of, kept, sweep
from helpers.throughput_rows import CPU, GPU, VIT, row
from scipy import stats

from fgbench_reports.data import KINDS, Data
from fgbench_reports.plots.tradeoff import Memory, Tradeoff
from fgbench_reports.published import figure4
from fgbench_reports.report import Missing


def trained(model="glsim", selector="gls", top1=80.0, seed=1, size=224, dataset="mine", **fields) -> dict:
    recipe = {"model": model, "selector": selector, "backbone": VIT, "image_size": size, "dataset": dataset}
    result = {"top1_percent": top1, "seed": seed, "epochs": 10, "images": 100, "recipe": {}, "environment": {}}
    return {**recipe, **result, **fields}


def measured_figures(report, data):
    return [figure for figure in figures_of(report, data) if figure.name != "published-figure-4"]


def test_seeds_are_one_point_with_a_bar():
    data = Data(throughput=[row()], accuracy=[trained(top1=top1, seed=seed) for seed, top1 in enumerate((70, 80, 90))])
    figure = measured_figures(Tradeoff, data)[0]
    drawing = figure.draw()
    (point,) = drawing.points
    assert (point.x, point.y) == (100.0, 80.0)
    assert "80.00 % ± 10.00 top-1, measured, 3 runs of 10 epochs" in point.text
    across, along = (bars.get_segments()[0] for bars in drawing.canvas.axes[0].collections)
    half = stats.t.ppf(0.975, 2) * 10 / 3**0.5  # of the mean of three: wider than Wilson's of 100 images
    assert [list(end) for end in along] == [[100, pytest.approx(80 - half)], [100, 100]]
    assert [list(end) for end in across] == [[pytest.approx(100 / 1.002), 80], [pytest.approx(100 / 0.998), 80]]
    assert "Bars are 95 % intervals of accuracy and throughput." in below(drawing)


def test_published_accuracies_are_hollow_and_told():
    data = Data(throughput=[row(), row("vit", selector=None)], accuracy=[trained(dataset="cub", images=5794)])
    figure = measured_figures(Tradeoff, data)[0]
    assert figure.title.split(" · ")[1] == "cub"
    drawing = figure.draw()
    faces = {line.get_marker(): line.get_markerfacecolor() for line in drawing.canvas.axes[0].lines}
    assert faces["D"] == figure.looks[next(iter(figure.looks))].colour  # glsim was trained here
    assert faces["h"] != "#161718"  # vit was not
    assert any(note.startswith("Hollow points have the published accuracy") for note in figure.notes)
    assert sum("published" in point.text for point in drawing.points) == 1


def below(drawing) -> str:
    """The sentences below the legend, their lines put together."""
    return " ".join(reversed([text.get_text() for text in drawing.canvas.texts]))


def letters(drawing) -> set[str]:
    return {text.get_text() for legend in drawing.canvas.legends for text in legend.get_texts()}


HOME = {"device_name": GPU["device_name"]}
SOURCES = {
    "Accuracy": [trained(environment=HOME)],
    "Accuracy measured on Tesla V100": [trained(environment={"device_name": "Tesla V100"})],
    "Accuracy measured on Tesla V100 and here": [
        trained(environment=HOME),
        trained("vit", None, environment={"device_name": "Tesla V100"}),
    ],
    "Accuracy measured on several other machines": [
        trained(seed=seed, environment={"device_name": name}) for seed, name in enumerate(("A100", "Tesla V100"))
    ],
}


@pytest.mark.parametrize("words", SOURCES)
def test_the_title_says_where_accuracies_were_measured_if_not_where_times_were(words):
    figure = measured_figures(Tradeoff, Data(throughput=[row()], accuracy=SOURCES[words]))[0]
    assert figure.title.split(" · ")[0] == f"{words} against throughput"
    assert figure.draw().canvas.texts[0].get_text().startswith(words)


def test_the_title_says_that_published_accuracies_stand_beside_measured_times():
    (figure,) = measured_figures(Tradeoff, Data(throughput=[row()]))
    assert figure.title.startswith("Published accuracy against measured throughput · cub · ")
    assert figure.draw().canvas.texts[0].get_text().startswith("Published accuracy against measured throughput")
    rows, accuracy = [row(), row("vit", selector=None)], [trained(dataset="cub", images=5794, environment=HOME)]
    figure = measured_figures(Tradeoff, Data(throughput=rows, accuracy=accuracy))[0]
    assert figure.title.startswith("Published and measured accuracy against measured throughput · cub · ")
    (memory,) = figures_of(Memory, Data(throughput=[row()]))
    assert memory.title.startswith("Published accuracy against measured memory · cub · ")


def test_the_best_model_without_a_throughput_is_named_in_the_figure():
    accuracy = [trained(), trained("vit", None, 91.0), trained("transfg", "psm", 60.0)]
    accuracy += [trained(top1=95.5, recipe={"top_k": 16})]
    figure = measured_figures(Tradeoff, Data(throughput=[row()], accuracy=accuracy))[0]
    lacking = "no throughput of that model, size and backbone was measured on this machine"
    assert f"Not drawn: 2 accuracies (vit at 224, 91.0 % and transfg at 224, 60.0 %): {lacking}." in figure.left_out
    other = "Not drawn: 1 accuracy (glsim, top_k=16 at 224, 95.5 %): throughput was measured with the published options"
    assert any(note.startswith(other) for note in figure.left_out)
    assert set(figure.left_out) <= set(figure.notes)
    for note in figure.left_out:
        assert note in below(figure.draw())


def test_points_without_an_accuracy_or_a_cost_are_named_in_the_figure():
    rows = [row(), row("transfg", selector="psm"), {**row(size=448), "peak_memory_allocated_bytes": None}]
    data = Data(throughput=rows, accuracy=[trained(), trained(size=448)])
    (figure,) = [one for one in figures_of(Memory, data) if " mine " in one.title]
    assert figure.left_out == [
        "Not drawn: 1 accuracy (glsim at 448, 80.0 %): memory is not known.",
        "Not drawn: 1 point (transfg at 224, batch 1): no accuracy on mine is known.",
        "Not drawn: 1 point (glsim at 448, batch 1): memory is not known.",
    ]


def test_of_published_accuracies_those_without_a_time_are_named():
    (figure,) = measured_figures(Tradeoff, Data(throughput=[row()]))
    (note,) = figure.left_out
    assert note.startswith("Not drawn: ")
    assert "published accuracies (" in note
    assert note.endswith("): no throughput was measured here.")
    assert "resnet101" not in note or "more" in note or "vit at" in note


def test_an_accuracy_of_one_run_has_the_interval_of_its_test_images():
    data = Data(throughput=[row("vit", selector=None)], accuracy=[trained("vit", None, 60.0, images=30)])
    drawing = measured_figures(Tradeoff, data)[0].draw()
    (along,) = drawing.canvas.axes[0].collections[1].get_segments()
    wilson = stats.binomtest(18, 30).proportion_ci(method="wilson")
    assert [end[1] for end in along] == [pytest.approx(100 * wilson.low), pytest.approx(100 * wilson.high)]
    low, high = drawing.canvas.axes[0].get_ylim()
    assert low < 100 * wilson.low < 100 * wilson.high < high
    assert "An accuracy of one run has that of its test images alone." in below(drawing)
    assert "no interval is known" not in letters(drawing)


def test_a_point_has_a_question_mark_where_either_interval_is_not_known():
    times = {"latency_ci95_low_s": None, "latency_ci95_high_s": None}
    for timed, images, unsure in (({}, 100, 0), (times, 100, 1), ({}, 0, 1)):
        rows = [row(), row("vit", selector=None, **timed)]
        accuracy = [trained(), trained("vit", None, images=images)]
        drawing = measured_figures(Tradeoff, Data(throughput=rows, accuracy=accuracy))[0].draw()
        assert ("no interval is known" in letters(drawing)) == bool(unsure)


def test_repeats_have_a_bar_from_the_lowest_to_the_highest_of_their_intervals():
    rows = [row(img_s=speed, repeat=number) for number, speed in ((1, 100.0), (2, 160.0), (3, 60.0))]
    drawing = measured_figures(Tradeoff, Data(throughput=rows, accuracy=[trained()]))[0].draw()
    (across,) = drawing.canvas.axes[0].collections[0].get_segments()
    assert [end[0] for end in across] == [pytest.approx(60 / 1.002), pytest.approx(160 / 0.998)]


def test_published_accuracies_have_the_intervals_of_their_test_images():
    (figure,) = [one for one in figures_of(Tradeoff, Data()) if one.name == "published-figure-4"]
    drawing = figure.draw()
    assert "Bars are 95 % intervals of accuracy. The publication gives none of a throughput." in below(drawing)
    wilson = stats.binomtest(round(0.9209 * 5794), 5794).proportion_ci(method="wilson")
    ends = [sorted(segment[:, 1]) for bars in drawing.canvas.axes[0].collections for segment in bars.get_segments()]
    assert any(found == pytest.approx([100 * wilson.low, 100 * wilson.high], abs=0.02) for found in ends)


def test_throughputs_that_were_disturbed_have_a_ring():
    rows = [row(), row("vit", selector=None, status="contended", reason="others")]
    figure = measured_figures(Tradeoff, Data(throughput=rows, accuracy=[trained(), trained("vit", None)]))[0]
    drawing = figure.draw()
    assert "contended" in letters(drawing)
    assert any("contended: others" in point.text for point in drawing.points)


def test_the_front_bounds_what_is_dominated():
    rows = [
        row("vit", selector=None, img_s=1000.0),
        row("glsim", img_s=500.0),
        row("transfg", selector="psm", img_s=400.0),
    ]
    accuracy = [trained("vit", None, 60.0), trained("glsim", "gls", 70.0), trained("transfg", "psm", 65.0)]
    figure = measured_figures(Tradeoff, Data(throughput=rows, accuracy=accuracy))[0]
    axes = figure.draw().canvas.axes[0]
    front = next(line for line in axes.lines if line.get_linestyle() == "--" and len(line.get_xdata()) > 2)
    corners = [tuple(map(float, corner)) for corner in front.get_xydata()]
    assert corners[1:4] == [(500.0, 70.0), (500.0, 60.0), (1000.0, 60.0)]
    assert corners[0] == (axes.get_xlim()[0], 70.0)
    assert corners[-1] == (1000.0, axes.get_ylim()[0])
    assert (
        "On the Pareto front: glsim at 224 (70.0 %, 500 images/s) and vit at 224 (60.0 %, 1000 images/s)." in figure.alt
    )


def notes_of_the_front(*tops: tuple[str, float], images: int) -> list[str]:
    speeds = {"vit": 1000.0, "glsim": 500.0, "transfg": 400.0}
    selectors = {"vit": None, "glsim": "gls", "transfg": "psm"}
    rows = [row(model, selector=selectors[model], img_s=speeds[model]) for model, _ in tops]
    accuracy = [trained(model, selectors[model], top1, images=images) for model, top1 in tops]
    figure = measured_figures(Tradeoff, Data(throughput=rows, accuracy=accuracy))[0]
    return [note for note in figure.notes if note.startswith("Below the front")]


def test_what_noise_does_not_tell_from_the_front_is_named():
    tops = [("vit", 60.0), ("glsim", 70.0), ("transfg", 65.0)]  # transfg is slower than glsim, and less accurate
    assert notes_of_the_front(*tops, images=100) == [
        "Below the front, and by the 95 % intervals is not certainly dominated: transfg at 224."
    ]
    assert notes_of_the_front(*tops, images=100_000) == []


def test_the_published_front_names_what_its_test_images_do_not_tell_apart():
    (figure,) = [figure for figure in figures_of(Tradeoff, Data()) if figure.name == "published-figure-4"]
    (note,) = [note for note in figure.notes if note.startswith("Below the front")]
    assert note.endswith("are not certainly dominated: cal at 448, transfg at 448, ffvt at 224 and ffvt at 448.")
    assert "On the Pareto front: glsim at 448" in figure.alt


def test_the_front_of_memory_turns_the_other_way():
    memory = "peak_memory_allocated_bytes"
    rows = [row("vit", selector=None, **{memory: 10**9}), row("glsim", **{memory: 2 * 10**9})]
    accuracy = [trained("vit", None, 60.0), trained("glsim", "gls", 70.0)]
    axes = figures_of(Memory, Data(throughput=rows, accuracy=accuracy))[0].draw().canvas.axes[0]
    front = next(line for line in axes.lines if line.get_linestyle() == "--" and len(line.get_xdata()) > 2)
    corners = [tuple(map(float, corner)) for corner in front.get_xydata()]
    edges = (axes.get_xlim()[1], 70.0), (1.0, axes.get_ylim()[0])
    assert corners == [edges[0], (2.0, 70.0), (2.0, 60.0), (1.0, 60.0), edges[1]]


def test_memory_is_of_tensors_on_a_gpu_and_of_the_process_on_a_cpu():
    gpu = figures_of(Memory, Data(throughput=sweep()))[0]
    cpu = figures_of(Memory, kept())[0]
    assert gpu.draw().canvas.axes[0].get_xlabel() == "peak VRAM of tensors (GB)"
    assert cpu.draw().canvas.axes[0].get_xlabel() == "peak resident set of the process (GB)"
    assert "VRAM" not in cpu.alt


@pytest.mark.parametrize(
    "other", [{"environment": CPU, "device": "cpu"}, {"dtype": "bfloat16"}, {"environment": {**GPU, "torch": "2.8"}}]
)
def test_modes_never_share_a_figure(other):
    data = Data(throughput=[row(), row(img_s=50.0, **other)], accuracy=[trained()])
    figures = [figure for figure in measured_figures(Tradeoff, data) if " mine " in figure.title]
    assert len(figures) == 2
    assert [len(figure.draw().points) for figure in figures] == [1, 1]
    assert figures[0].title != figures[1].title


def test_accuracies_of_several_devices_are_told():
    places = [{"device_name": "one", "torch": "2.8"}, {"device_name": "two", "torch": "2.9"}]
    accuracy = [trained(seed=seed, environment=place) for seed, place in enumerate(places)]
    notes = measured_figures(Tradeoff, Data(throughput=[row()], accuracy=accuracy))[0].notes
    assert any("several environments" in note for note in notes)
    assert "Accuracies were measured on two, torch 2.9." in notes


def test_data_sets_that_were_trained_on_come_first_and_the_rest_is_named():
    trained_on = [trained(dataset=f"zoo {number}") for number in range(10)]
    figures = measured_figures(Tradeoff, Data(throughput=[row(), row(dtype="bfloat16")], accuracy=trained_on))
    assert {figure.title.split(" · ")[1] for figure in figures} == {f"zoo {number}" for number in range(10)}
    assert any("draws 10 figures of 22" in note for note in figures[-1].notes)


def test_the_published_figure_needs_no_rows():
    missing, figure = Tradeoff().items(Data())
    assert missing == Missing(what="accuracy against throughput", command=KINDS["throughput"])
    assert {(point.x, point.y) for point in figure.draw().points} == {
        (one["throughput_img_s"], one["top1_percent"]) for one in figure4()
    }
    assert "V100" in figure.title
    assert "bar heights in the published plot" in figure.notes[0]


def test_sweeps_without_accuracies_say_so():
    missing = next(iter(Tradeoff().items(Data(throughput=[row("mine")]))))
    assert (
        missing.command
        == f"{KINDS['accuracy']} --model mine --sizes 224 --backbone vit_base_patch16_224 --selectors gls"
    )
    missing = next(iter(Memory().items(Data(throughput=[row(img_s=None)]))))
    assert missing.command.startswith(f"{KINDS['throughput']} --model glsim --sizes 224")


def test_variants_at_a_single_size_are_told_apart_by_their_lines():
    rows = [
        row("transfg", selector="psm", impl=impl, img_s=img_s) for impl, img_s in (("fast", 90.0), ("published", 50.0))
    ]
    figure = measured_figures(Tradeoff, Data(throughput=rows, accuracy=[trained("transfg", "psm")]))[0]
    axes = figure.draw().canvas.axes[0]
    stubs = [line for line in axes.lines if line.get_color() == figure.looks[next(iter(figure.looks))].colour]
    stubs = [line for line in stubs if len(line.get_xdata()) == 2]
    assert [line.get_linestyle() for line in stubs] == ["--"]
    middle = axes.transAxes.transform(stubs[0].get_xydata()).mean(axis=0)
    assert middle == pytest.approx(axes.transData.transform((50.0, 80.0)))
