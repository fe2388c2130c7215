"""Commands in reports: they have the models, sizes, backbones and device of the rows."""

from __future__ import annotations

import shlex

import pytest
from helpers.figure_rows import counted
from helpers.saved_rows import accuracy
from helpers.throughput_rows import CPU, VIT, row, timed, tried
from reports.test_conformance import check_command

from fgbench_reports.advice import (
    accuracy_command,
    accuracy_commands,
    flops_command,
    sweep_command,
    wanted,
    with_plugins,
)
from fgbench_reports.data import KINDS, Data
from fgbench_reports.measured.accuracy_vs_cost import AccuracyVsCost
from fgbench_reports.measured.flops import Flops
from fgbench_reports.measured.selector_quality import SelectorQuality
from fgbench_reports.plots.batch import Batch
from fgbench_reports.plots.cost import Cost
from fgbench_reports.plots.curves import Curves
from fgbench_reports.plots.energy import Energy
from fgbench_reports.plots.roofline import Roofline
from fgbench_reports.plots.tradeoff import Tradeoff
from fgbench_reports.report import Missing

SMALL = "vit_tiny_patch16_224"
SWEPT = [
    row(size=448, batch=4, backbone=SMALL, device="cpu", dtype="bfloat16", compiled=True, environment=CPU),
    row("mine rm", selector=None, impl=None, size=224, backbone=SMALL, device="cpu", dtype="bfloat16", compiled=True),
]


def missing(report, **kinds) -> list[Missing]:
    return [item for item in report().items(Data(**kinds)) if isinstance(item, Missing)]


def options(command: str) -> dict[str, list[str]]:
    """What is typed behind each option."""
    found: dict[str, list[str]] = {}
    for word in shlex.split(command)[2:]:
        if word.startswith("--"):
            found[word] = []
        else:
            found[list(found)[-1]].append(word)
    return found


def test_a_sweep_is_of_the_same_models_sizes_and_mode():
    command = sweep_command(timed(SWEPT), "--again")
    check_command(command)
    assert options(command) == {
        "--model": ["glsim", "mine rm"],
        "--sizes": ["224", "448"],
        "--batch-sizes": ["1", "4"],
        "--impl": ["fast"],
        "--dtype": ["bfloat16"],
        "--backbones": [SMALL],
        "--device": ["cpu"],
        "--compile": [],
        "--again": [],
    }


SEVERAL = timed(
    [row(), row("resnet101", selector=None, backbone="resnet101"), row("vit", selector=None, backbone=SMALL)]
)


def test_models_of_several_backbones_have_a_command_for_each():
    on_cub = accuracy_commands([wanted(one, dataset="cub") for one in SEVERAL])
    for command in (sweep_command(SEVERAL), "; ".join(on_cub)):
        check_command(command)
        usual, other = command.split("; ")
        assert options(usual)["--model"] == ["glsim", "resnet101"]
        assert not {"--backbone", "--backbones"} & set(options(usual))
        told = options(other)
        assert (told["--model"], told.get("--backbone") or told.get("--backbones")) == (["vit"], [SMALL])


@pytest.mark.parametrize("dataset", [None, "synthetic", "mine"])
def test_a_data_set_with_a_backbone_of_its_own_has_that_of_the_rows_named(dataset):
    commands = accuracy_commands([wanted(one, dataset=dataset) for one in SEVERAL])
    assert [options(command)["--backbone"] for command in commands] == [[VIT], ["resnet101"], [SMALL]]
    named = [] if dataset is None else [dataset]
    assert all(options(command).get("--dataset", []) == named for command in commands)


def test_published_backbones_and_selectors_are_not_named_and_others_are():
    usual = [row(), row("resnet101", selector=None, impl=None, backbone="resnet101")]
    assert not {"--backbones", "--selectors"} & set(options(sweep_command(timed(usual))))
    assert options(sweep_command(timed([row(selector="psm")])))["--selectors"] == ["psm"]


def test_without_rows_a_command_has_its_defaults():
    assert sweep_command([]) == KINDS["throughput"]
    assert accuracy_command([]) == KINDS["accuracy"]
    assert flops_command([], "full") == KINDS["flops"]


@pytest.mark.parametrize("report", [Roofline, Energy, Tradeoff, AccuracyVsCost])
def test_what_a_report_of_a_sweep_misses_is_measured_for_its_models_at_its_sizes(report):
    first = next(one for one in missing(report, throughput=SWEPT) if one.command.startswith("fgbench"))
    check_command(first.command)
    told = options(first.command)
    assert told["--model"] == ["glsim", "mine rm"]
    assert told["--sizes"] == ["224", "448"]
    assert (told.get("--backbone") or told.get("--backbones")) == [SMALL]
    assert ("--again" in told) == (report is Roofline)
    if report in (Roofline, Energy):
        assert told["--device"] == ["cuda" if report is Energy else "cpu"]


def test_energy_that_a_gpu_did_not_tell_is_read_by_measuring_again():
    (one,) = missing(Energy, throughput=[row()])
    assert "--again" in options(one.command)


def test_a_batch_that_did_not_fit_is_followed_by_a_smaller_one():
    rows = [row(), *(tried("oom", "full", size=1024, batch=batch) for batch in (8, 16))]
    (one,) = missing(Batch, throughput=rows)
    assert (options(one.command)["--sizes"], options(one.command)["--batch-sizes"]) == (["1024"], ["1"])
    (one,) = missing(Batch, throughput=[row(), tried("crashed", "why", size=1024, batch=1)])
    assert "--retry" in options(one.command)


def test_a_count_is_of_the_same_backbone_sizes_selectors_and_grid():
    (one,) = missing(Cost, flops=counted("paper", backbone=SMALL, patch_stride=12, num_classes=7))
    check_command(one.command)
    assert options(one.command) == {
        "--convention": ["full"],
        "--sizes": ["224", "448", "1024"],
        "--backbones": [SMALL],
        "--selectors": ["psm", "maws", "rollout", "sacm", "gls"],
        "--patch-stride": ["12"],
        "--num-classes": ["7"],
    }


def test_models_that_were_swept_are_the_ones_that_are_counted():
    told = {one.what: options(one.command) for one in missing(Flops, throughput=SWEPT)}
    assert told["FLOPs of whole models"]["--models"] == ["glsim", "mine rm"]
    assert told["FLOPs of whole models"]["--sizes"] == ["224", "448"]


def test_training_names_the_data_set_and_where_it_lies():
    (one,) = timed([row(size=448)])
    told = options(*accuracy_commands([wanted(one, dataset="cub")]))
    assert told == {"--model": ["glsim"], "--sizes": ["448"], "--dataset": ["cub"], "--data-dir": ["DIR"]}
    assert "--dataset" not in options(accuracy_command([one]))


def test_the_quality_of_what_was_trained_is_asked_of_the_same_training():
    recipe = {"epochs": 10, "batch_size": 16, "warmup_lr": 1e-6, "top_k": 16}
    runs = [accuracy(seed=seed, lr=0.003, recipe=recipe, begun_from="pretrained", flip=True) for seed in (1, 10)]
    runs.append(accuracy("vit", None, selector=None, lr=None, recipe={"norm": "half"}, checkpoint="my vit.pth"))
    for report in (Curves, SelectorQuality):
        (item,) = missing(report, accuracy=runs)
        check_command(item.command)
        trained, tested = item.command.split("; ")
        assert trained.endswith(
            "--pretrained --lr 0.003 --epochs 10 --batch-size 16 --model-options top_k=16 --flip --seeds 1 10 --quality"
        )
        assert tested.endswith("--test-only --checkpoint 'my vit.pth' --model-options norm=half --quality")


def test_a_network_of_a_function_or_of_timm_has_no_backbone_besides_itself():
    rows = [
        row("net.py:mine", selector=None, impl=None, backbone="net.py:mine"),
        row("resnet18", selector=None, backbone="resnet18"),
    ]
    told = options(accuracy_command(timed(rows)))
    assert told["--model"] == ["net.py:mine", "resnet18"]
    assert "--backbone" not in told


def test_plug_in_files_stand_in_every_command_of_fgbench():
    both = "fgbench throughput --model 'a; b'; fgbench accuracy --model mine"
    assert with_plugins(both, ()) == both
    assert with_plugins(both, ["m.py", "a b.py"]) == (
        "fgbench throughput --model 'a; b' --plugin m.py 'a b.py'; fgbench accuracy --model mine --plugin m.py 'a b.py'"
    )
    assert with_plugins("make rows", ["m.py"]) == "make rows"
