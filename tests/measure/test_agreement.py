"""The agreement of an engine with torch in float32, and what is a wrong output."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import fgbench
from fgbench.deploy.agreement import AUDIT, judge
from fgbench.measure.agreement import Reference, compare, make_reference, pictures_of
from fgbench.measure.engine_registry import open_engine
from fgbench.measure.engines.torch_cpu import TorchCpu
from fgbench.measure.point import LoadedSubject
from fgbench.measure.points import RunMode
from fgbench.measure.subjects.module import ModuleSubject

LOGITS = np.random.default_rng(0).normal(size=(20, 7))


def judged(logits=LOGITS, dtype="float32", **more):
    found = {"logits": logits} | {name: value[0] for name, value in more.items()}
    return judge(found, {"logits": LOGITS} | {name: value[1] for name, value in more.items()}, dtype)


def test_the_same_output_agrees():
    agreement, wrong = judged()
    assert not wrong
    assert agreement == {
        "pictures": 20,
        "largest_logit_difference": 0.0,
        "relative_logit_difference": 0.0,
        "equal_top1_percent": 100.0,
        "equal_selected_percent": None,
        "equal_boxes_percent": None,
    }


def test_a_small_difference_is_a_figure():
    agreement, wrong = judged(LOGITS + 1e-4)
    assert not wrong
    assert agreement["largest_logit_difference"] == pytest.approx(1e-4)
    assert agreement["relative_logit_difference"] == pytest.approx(1e-4 / abs(LOGITS).max())


@pytest.mark.parametrize("logits", [-LOGITS, LOGITS[::-1], LOGITS * 1.5, np.zeros_like(LOGITS), LOGITS + np.nan])
def test_another_output_is_wrong(logits):
    agreement, wrong = judged(logits)
    assert wrong.startswith("wrong output: ")
    assert np.isnan(logits).any() or wrong.endswith(f"; {AUDIT}")
    assert agreement["pictures"] == 20


COMMON = 50 * np.random.default_rng(1).normal(size=(1, 7))  # logits that all pictures have, nearly


@pytest.mark.parametrize(
    "logits", [COMMON + 0 * LOGITS, COMMON + LOGITS[::-1], COMMON + 0 * LOGITS + LOGITS[:1], COMMON - LOGITS]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_does_not_follow_the_pictures_is_wrong_however_near_it_is(logits, dtype):
    wrong = judge({"logits": logits}, {"logits": COMMON + LOGITS}, dtype)[1]
    assert wrong.endswith(f"as those of torch in float32 do; {AUDIT}")
    assert judge({"logits": COMMON + 0.9 * LOGITS}, {"logits": COMMON + LOGITS}, dtype)[1] == ""


def test_where_pictures_cannot_be_told_apart_nothing_is_said():
    assert judge({"logits": COMMON + 1e-6 * LOGITS}, {"logits": COMMON - 1e-6 * LOGITS}, "float32")[1] == ""


def test_every_picture_of_a_large_batch_is_judged():
    pictures = torch.randn(4, 3, 8, 8)
    reference = Reference(pictures, {"logits": pictures.flatten(1)[:, :5].numpy()})

    def outputs(images):
        logits = images.flatten(1)[:, :5].numpy().copy()
        logits[4:] = 0
        return {"logits": logits}

    agreement, wrong = compare(outputs, 12, reference, "float32")
    assert wrong
    assert agreement["pictures"] == 4


def test_one_picture_that_selects_otherwise_is_a_figure():
    logits = LOGITS.copy()
    logits[3] = logits[4]
    agreement, wrong = judged(logits)
    assert not wrong
    assert agreement["equal_top1_percent"] < 100 or agreement["largest_logit_difference"] > 0.1


def test_int8_is_a_figure_but_for_what_is_no_number():
    assert not judged(-LOGITS, "int8")[1]
    assert judged(LOGITS + np.inf, "int8")[1]


def test_another_number_of_classes_is_wrong():
    assert judged(LOGITS[:, :5]) == ({}, "its logits have the shape (20, 5), and those of torch have (20, 7)")


def test_selected_tokens_count_whatever_their_order():
    truth = np.array([[1, 2, 3, 3], [4, 5, 6, 7]])
    found = np.array([[3, 3, 2, 1], [4, 5, 6, 8]])
    assert judge({"logits": LOGITS[:2], "selected": found}, {"logits": LOGITS[:2], "selected": truth}, "float32")[0][
        "equal_selected_percent"
    ] == pytest.approx(87.5)
    twice = np.array([[3, 3, 3, 3], [4, 5, 6, 7]])
    assert judge({"logits": LOGITS[:2], "selected": twice}, {"logits": LOGITS[:2], "selected": truth}, "float32")[0][
        "equal_selected_percent"
    ] == pytest.approx(75)


def test_boxes_are_equal_in_all_four_sides():
    truth = np.array([[[0, 0, 8, 8], [1, 1, 5, 5]]] * 2)
    found = truth.copy()
    found[1, 0, 3] = 9
    both = ({"logits": LOGITS[:2], "boxes": found}, {"logits": LOGITS[:2], "boxes": truth})
    assert judge(*both, "float32")[0]["equal_boxes_percent"] == 75.0


@pytest.mark.parametrize("batch_size", [1, 3, 4, 5, 9])
def test_every_picture_is_compared_once_whatever_the_batch(batch_size):
    pictures = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    seen = []

    def outputs_of(images):
        assert len(images) == batch_size
        seen.append(images)
        return {"logits": images[:, 0, 0].numpy()}

    reference = Reference(pictures, {"logits": pictures[:, 0, 0].numpy()})
    agreement, wrong = compare(outputs_of, batch_size, reference, "float32")
    assert not wrong
    assert (agreement["pictures"], agreement["largest_logit_difference"]) == (5, 0.0)
    assert len(seen) == -(-5 // batch_size)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def test_the_reference_is_torch_picture_by_picture():
    subject = ModuleSubject(network(), 32)
    reference = make_reference(subject)
    assert reference.outputs["logits"].shape == (16, 5)
    again = Reference.of_message(pictures_of(subject), reference.message())
    assert np.array_equal(again.outputs["logits"], reference.outputs["logits"].astype(float))
    assert again.not_finite == reference.not_finite == ""


@pytest.mark.parametrize(("value", "kind"), [(float("nan"), "NaN"), (float("-inf"), "infinity")])
def test_nothing_agrees_with_a_reference_that_is_not_finite(value, kind):
    broken = network()
    broken[3].bias.data[2] = value
    reference = make_reference(ModuleSubject(broken, 32))
    again = Reference.of_message(reference.pictures, json.loads(json.dumps(reference.message(), allow_nan=False)))
    agreement, wrong = compare(lambda images: {}, 2, again, "float32")
    assert agreement == {}
    assert wrong == f"no output can be compared: the logits of torch in float32 are not finite ({kind})"


WRONG = """
from fgbench.measure.engine import Batch, Engine

class Mirror(Engine):
    '''Computes something else.'''

    def load(self, subject):
        network = subject.build("cpu")
        outputs = lambda images: {"logits": -network(images).detach().numpy()}
        return lambda batch_size: Batch(lambda: None, outputs=outputs)
"""


def test_a_wrong_engine_has_no_time(tmp_path):
    (tmp_path / "mirror.py").write_text(WRONG)
    row = fgbench.measure(network(), 32, engine="mirror", threads=1, plugins=[tmp_path / "mirror.py"], max_time_s=0.05)
    assert row.status == "error"
    assert row.reason.startswith("wrong output: ")
    assert row.latency_s is None is row.throughput_img_s
    assert row.agreement["equal_top1_percent"] < 90


@pytest.mark.parametrize(
    "options", [{"dtype": name} for name in ("bfloat16", "amp", "int8")] + [{"channels_last": True}]
)
def test_torch_in_other_modes_agrees(options):
    subject, mode = ModuleSubject(network(), 32), TorchCpu.settle(RunMode(device="cpu", threads=1, **options))
    engine = open_engine(mode)
    try:
        loaded = LoadedSubject(subject, engine, 0.05, count=False, reference=make_reference(subject))
        agreement = loaded.measure(2)["agreement"]
    finally:
        engine.close()
    assert agreement["largest_logit_difference"] < 0.1
    assert agreement["largest_logit_difference"] > 0 or "dtype" not in options


def test_torch_in_float32_is_what_others_are_compared_with():
    row = fgbench.measure(network(), 32, device="cpu", max_time_s=0.05)
    assert row.agreement is None


def test_an_engine_without_outputs_is_measured_and_says_so(tmp_path):
    text = WRONG.replace(", outputs=outputs", "").replace("lambda: None", "lambda: network(*subject.inputs(1))")
    (tmp_path / "silent.py").write_text(text.replace("Mirror", "Silent"))
    row = fgbench.measure(network(), 32, engine="silent", threads=1, plugins=[tmp_path / "silent.py"], max_time_s=0.05)
    assert row.latency_s > 0
    assert row.agreement is None
    assert row.environment["missing"]["agreement"] == "engine 'silent' gives no outputs to compare"
