"""Accuracy against throughput of models that reduce tokens, beside those that select: what costs, and what saves."""

from __future__ import annotations

from helpers.figure_rows import figures_of
from helpers.throughput_rows import VIT, row

from fgbench_reports.data import Data
from fgbench_reports.measured.accuracy_vs_cost import AccuracyVsCost
from fgbench_reports.plots.tradeoff import Tradeoff

MODELS = {"vit": (None, 100.0), "vit+evit@0.7": (None, 150.0), "vit+tome@0.5": (None, 190.0), "glsim": ("gls", 50.0)}


def trained(model, selector, top1, seed=1) -> dict:
    names = {"model": model, "selector": selector, "backbone": VIT, "image_size": 224, "dataset": "mine"}
    result = {"top1_percent": top1, "seed": seed, "epochs": 10, "images": 100, "recipe": {}, "environment": {}}
    return {**names, **result}


def data(models) -> Data:
    throughput = []
    for name in models:
        selector, img_s = MODELS[name]
        latency = {"latency_s": 8 / img_s, "latency_ci95_low_s": 8 / img_s, "latency_ci95_high_s": 8 / img_s}
        throughput.append(row(name, selector=selector, throughput_img_s=img_s, batch_size=8, **latency))
    accuracy = [trained(name, MODELS[name][0], 80.0 - index) for index, name in enumerate(models)]
    return Data(throughput=throughput, accuracy=accuracy)


def figure_of(models):
    return next(figure for figure in figures_of(Tradeoff, data(models)) if figure.name != "published-figure-4")


def carets(drawing) -> list[str]:
    lines = drawing.canvas.axes[0].lines
    return sorted(str(line.get_marker()) for line in lines if line.get_marker() in ("<", ">"))


def test_what_costs_and_what_saves_is_marked_on_the_same_axes():
    figure = figure_of(MODELS)
    drawing = figure.draw()
    assert carets(drawing) == ["<", ">", ">"]
    texts = {point.text.split("\n")[0]: point.text for point in drawing.points}
    assert set(texts) == {"vit", "vit evit 0.7", "vit tome 0.5", "glsim"}
    assert "1.50 × the throughput of vit" in texts["vit evit 0.7"]
    assert "0.50 × the throughput of vit" in texts["glsim"]
    assert "the throughput of vit" not in texts["vit"]
    told = "vit tome 0.5 at 224 1.90 ×, vit evit 0.7 at 224 1.50 × and glsim at 224 0.50 ×."
    assert f"Throughput beside the plain vit: {told}" in figure.notes
    words = {text.get_text() for legend in drawing.canvas.legends for text in legend.get_texts()}
    assert {"saves: faster than the plain vit", "costs: slower than it"} <= words


def test_figures_without_reduced_models_stay_as_they_were():
    figure = figure_of(["vit", "glsim"])
    assert carets(figure.draw()) == []
    assert not any("plain vit" in note for note in figure.notes)


def test_reduced_models_have_a_line_of_their_own_beside_their_cost():
    (table,) = [item for item in AccuracyVsCost().items(data(MODELS)) if hasattr(item, "frame")]
    assert list(table.frame["model"]) == list(MODELS)
