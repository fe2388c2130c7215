"""Costs beside the published accuracies of Tables 2, 3 and 6: of which rows they are, at one size, on one device."""

from __future__ import annotations

import pytest
from helpers.paper_rows import GPU, VIT, flops_row, timed
from helpers.throughput_rows import row

from fgbench.results.paper import MODEL_SELECTORS
from fgbench_reports.data import Data
from fgbench_reports.paper.costs import costs_of
from fgbench_reports.paper.literature import Table2, Table3
from fgbench_reports.paper.table6 import Table6
from fgbench_reports.plots.literature import Literature
from fgbench_reports.report import Figure, Missing, Table


def whole(model: str, flops: int, impl: str | None, size: int = 448, backbone: str = VIT, **fields) -> dict:
    return flops_row("full", backbone, MODEL_SELECTORS.get(model), size, 785, flops, impl=impl, model=model, **fields)


COUNTED = [
    whole("vit", 150 * 10**9, None),
    whole("glsim", 500 * 10**9, "published"),
    whole("glsim", 320 * 10**9, "fast"),
    whole("ielt", 170 * 10**9, "fast"),
    whole("simtrans", 300 * 10**9, "published"),
    whole("resnet152", 92 * 10**9, None, backbone="resnet152"),
    whole("glsim", 80 * 10**9, "fast", size=224),
    whole("transfg", 1, "fast", backbone="vit_tiny_patch16_224"),
    whole("transfg", 1, "published", stage="selector"),
]


def only(report, data: Data, kind: type = Table):
    return next(item for item in report.items(data) if isinstance(item, kind))


def test_work_is_that_of_whole_models_on_the_papers_backbones_at_one_size():
    table = only(Table2(), Data(flops=COUNTED)).printed.set_index("Method")
    assert list(table.columns[-2:]) == ["FLOPs", "fast FLOPs"]
    cells = {name: tuple(table.loc[name, ["FLOPs", "fast FLOPs"]]) for name in table.index}
    assert cells["GLSim (Ours)"] == ("500 G", "320 G")
    assert (cells["ViT B-16"], cells["IELT"]) == (("150 G", "–"), ("–", "170 G"))
    assert {name for name, texts in cells.items() if texts != ("–", "–")} == {"ViT B-16", "IELT", "GLSim (Ours)"}
    other = only(Table3(), Data(flops=COUNTED)).printed.set_index("Method")
    assert (other.loc["ResNet-152", "FLOPs"], other.loc["SIM-Trans", "FLOPs"]) == ("92.0 G", "300 G")
    sixth = only(Table6(), Data(flops=COUNTED)).printed.set_index("Model")
    assert sixth.loc["GLSim", "fast FLOPs"] == "320 G"


def test_work_with_a_head_of_other_classes_is_left_out():
    rows = [whole("vit", 10, None), whole("vit", 99, None, environment={"num_classes": 1000})]
    assert costs_of(Data(flops=rows), ["vit"]).by_model["vit"].published_flops == 10


def test_without_448_pixels_the_size_of_most_models_counts():
    rows = [whole("vit", 10, None, size=224), whole("ielt", 12, "fast", size=224), whole("vit", 99, None, size=768)]
    costs = costs_of(Data(flops=rows), ["vit", "ielt"])
    assert (costs.image_size, costs.by_model["vit"].published_flops, costs.by_model["ielt"].fast_flops) == (224, 10, 12)
    assert costs_of(Data(flops=rows), ["transfg"]).columns == []


def test_speed_and_memory_are_of_the_device_with_most_models_and_of_its_best_batch():
    other = row("vit", 448, 1, 9000.0, selector=None, impl=None, device="cuda", environment={**GPU, "device_name": "B"})
    data = Data(throughput=[other, *timed()])
    costs = costs_of(data, ["vit", "glsim"])
    assert (costs.by_model["vit"].img_s, costs.by_model["glsim"].img_s) == (800.0, 1200.0)
    assert costs.by_model["vit"].memory_bytes == int(1e9 / 400 * 100) * 8
    assert GPU["device_name"] in costs.place
    (note,) = [note for note in only(Table2(), data).notes if note.startswith("img/s")]
    assert "448 pixels" in note


def test_one_figure_has_a_panel_for_each_data_set():
    figure = only(Literature(), Data(flops=COUNTED), Figure)
    drawing = figure.draw()
    told = [point.text for point in drawing.points]
    assert "GLSim (Ours) (92.0 %, 500 GFLOPs)" in told
    assert "GLSim (Ours) (75.5 %, 500 GFLOPs)" in told
    assert len({id(point.axes) for point in drawing.points}) == 2
    assert [axes.get_title(loc="left") or axes.get_title() for axes in drawing.canvas.axes] == ["NABirds", "iNat17"]
    assert all(text in figure.alt for text in ("NABirds", "iNat17", "448"))


@pytest.mark.parametrize("report", [Table2(), Table3(), Literature()])
def test_what_was_not_counted_has_a_command(report):
    commands = [item.command for item in report.items(Data()) if isinstance(item, Missing)]
    (command,) = [command for command in commands if command.startswith("fgbench flops")]
    assert "--models" in command
    assert "--sizes 448" in command
    assert ("vit" in command.split(), "glsim" in command.split()) == (True, True)
