"""Exported models compute what torch computes, in ONNX Runtime and in OpenVINO, with a batch of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import helpers.backbones  # noqa: F401  # timm knows them from now on
import onnx
import onnxruntime
import openvino
import pytest
import torch
from torch import nn

import fgbench
from fgbench.deploy.agreement import judge
from fgbench.deploy.onnx_export import INPUT, ExportError, export_onnx
from fgbench.deploy.openvino_model import read_openvino
from fgbench.deploy.pictures import drawn_pictures
from fgbench.deploy.translations import MOST_BLOCKS, row_blocks
from fgbench.models.outputs import Outputs, to_arrays
from fgbench_selectors import QK, Maps, Needs, Selector

SIZE = 64
BACKBONES = {  # a graph is exported and compiled in as long as it has blocks; some models have few
    "resnet101": "fgtest_resnet_basic",
    "cal": "fgtest_resnet",
    **dict.fromkeys(("vit", "transfg", "ffvt", "ielt", "aatrans"), "fgtest_vit"),
}
MODELS = (
    *("resnet101", "cal", "vit", "transfg", "ffvt", "ramstrans", "aftrans", "dcal", "ev", "glsim", "ielt"),
    *("r2trans", "r2trans, a fixed share", "simtrans", "aatrans", "accvit", "falvit"),
    *("pim", "pim, on a ViT", "pim, on a ResNet", "herbs"),
    *("mpsa", "mpsa, by the batch", "vitnet"),
)
# Asked every time: each has operators, or a kind of backbone, that the others before it have not.
OFTEN = ("resnet101", "cal", "transfg", "ramstrans", "ev", "glsim", "ielt", "r2trans", "pim", "mpsa", "vitnet")
OPTIONS = {
    "r2trans, a fixed share": {"predict": "mixture", "drop": 0.4},
    "pim, on a ResNet": {"backbone": "resnet26", "width": 32, "predict": "combiner"},
    "pim, on a ViT": {"backbone": "test_vit", "width": 32},
    **{name: {"backbone": "fgtest_swin"} for name in ("pim", "herbs")},
    "mpsa, by the batch": {"normalize": "batch"},
    "vitnet": {"backbone": "fgtest_swin", "window": 4},
}
PUBLISHED = (
    "glsim",
    "simtrans",
    "accvit",
    "falvit",
    "pim",
    "mpsa",
    "vitnet",
)  # what is exported by that implementation, too

SMALL_LOGITS = ("simtrans", "pim")  # where rounding is a larger share of them
# OpenVINO's attention is wrong by some percent in windows of 2 by 2 patches, as a Swin's last stage has at 64 pixels.
WRONG_IN_SMALL_WINDOWS = {"vitnet": 5e-3}


def built(name: str, **options) -> nn.Module:
    torch.manual_seed(0)
    options |= OPTIONS.get(name, {})
    name = name.partition(",")[0]
    backbone = options.pop("backbone", BACKBONES.get(name, "test_vit"))
    return fgbench.create_model(name, backbone, img_size=SIZE, num_classes=20, **options).eval()


def wanted(network: nn.Module, images: torch.Tensor) -> dict:
    with torch.inference_mode():
        return to_arrays(Outputs(network)(images))


Run = Callable[[torch.Tensor, Iterable[str]], dict]


def in_onnxruntime(path) -> Run:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(images: torch.Tensor, names) -> dict:
        return dict(zip(names, session.run(list(names), {INPUT: images.numpy()}), strict=True))

    return run


def in_openvino(path) -> Run:
    """Compiled once for every shape, as that takes longer than all else."""
    core, model, requests = openvino.Core(), read_openvino(path), {}

    def run(images: torch.Tensor, names) -> dict:
        if images.shape not in requests:
            model.reshape({INPUT: list(images.shape)})
            compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            requests[images.shape] = compiled.create_infer_request()
        request = requests[images.shape]
        request.infer({INPUT: images.numpy()})
        return {name: request.get_tensor(name).data.copy() for name in names}

    return run


@pytest.mark.parametrize(
    ("name", "impl"),
    [
        *(pytest.param(name, "fast", marks=() if name in OFTEN else pytest.mark.thorough) for name in MODELS),
        *(pytest.param(name, "published", marks=pytest.mark.thorough) for name in PUBLISHED),
    ],
)
def test_a_model_computes_and_selects_the_same(name, impl, tmp_path):
    network, pictures = built(name, impl=impl), drawn_pictures(3, SIZE, SIZE)
    exported = export_onnx(network, pictures[:2], tmp_path / "model.onnx")
    even = torch.zeros(1, 3, SIZE, SIZE)  # all scores of patches are nearly equal
    for engine in (in_onnxruntime, in_openvino):
        run = engine(tmp_path / "model.onnx")
        for images in (pictures, pictures[:1]):
            truth = wanted(network, images)
            assert exported.outputs == tuple(truth)
            agreement, wrong = judge(run(images, exported.outputs), truth, "float32")
            assert not wrong
            limit = 5e-5 if name.startswith(SMALL_LOGITS) else 1e-5
            limit = WRONG_IN_SMALL_WINDOWS.get(name, limit) if engine is in_openvino else limit
            assert agreement["relative_logit_difference"] < limit
            least = 99 if name.startswith("pim") else 100  # with random weights, confidences are nearly equal
            assert agreement["equal_selected_percent"] is None or agreement["equal_selected_percent"] >= least
            assert agreement["equal_boxes_percent"] in (None, 100.0)
        assert run(even, ["logits"])["logits"].shape == (1, 20)
    assert exported.file_bytes == (tmp_path / "model.onnx").stat().st_size
    dims = {dim.dim_param for dim in onnx.load(tmp_path / "model.onnx").graph.input[0].type.tensor_type.shape.dim}
    assert dims == {"batch", ""}


class Kernels(nn.Module):
    """The operators that torch's exporter does not know, of a sequence that is cut into blocks."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        q = images.flatten(2).unflatten(2, (-1, 8))  # (B, 3, N, 8)
        k = q.flip(2) * 0.5
        v = q.abs().mean(dim=-1)
        joint = QK(q, k)
        with_lse = QK(q, k, lse=joint.logsumexp())
        parts = [joint.left(v), with_lse.left(v), joint.logsumexp(), Maps(joint.probs_map()).left(v)]
        levels = (v * 4).round()  # with many equal ones
        for descending in (True, False):
            values, index = levels.sort(dim=-1, descending=descending, stable=True)
            parts += [values, index.to(values.dtype)]
        return torch.cat([part.flatten(1) for part in parts], dim=1)


def test_operators_of_our_own_and_equal_elements_are_in_the_same_order(tmp_path):
    images = drawn_pictures(2, 72, 64)  # 576 tokens: more than are computed at once
    export_onnx(Kernels(), images, tmp_path / "kernels.onnx")
    truth = wanted(Kernels(), images)["logits"]
    for engine in (in_onnxruntime, in_openvino):
        found = engine(tmp_path / "kernels.onnx")(images, ["logits"])["logits"]
        assert abs(found - truth).max() < 1e-4 * abs(truth).max()
        order = slice(4 * 3 * 576, None)
        assert (found[:, order] == truth[:, order]).all()


@pytest.mark.parametrize("tokens", [1, 512, 513, 785, 4097])
def test_blocks_cover_all_rows_and_are_few(tokens):
    blocks = row_blocks(tokens)
    assert [row for begin, end in blocks for row in range(begin, end)] == list(range(tokens))
    assert len(blocks) <= MOST_BLOCKS
    assert tokens <= 512 or len(blocks) >= 4


class Bessel(Selector):
    """Uses an operator that ONNX does not have."""

    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def fast(self, features):
        return torch.special.bessel_j0(features.tokens[:, 1:].mean(dim=-1))

    published = fast


class Counting(Bessel):
    """Reads a value on the host, which a graph cannot."""

    def fast(self, features):
        scores = features.tokens[:, 1:].mean(dim=-1)
        return scores if scores.max().item() > 0 else -scores

    published = fast


@pytest.mark.parametrize(
    ("selector", "words"),
    [(Bessel(), "selector Bessel has the operator aten.special_bessel_j0"), (Counting(), "selector Counting, line ")],
)
def test_what_cannot_be_exported_is_named(selector, words, tmp_path):
    network = built("glsim", selector=selector)
    with pytest.raises(ExportError) as caught:
        export_onnx(network, drawn_pictures(2, SIZE, SIZE), tmp_path / "model.onnx")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.onnx").exists()


def test_what_was_made_in_inference_mode_is_exported(tmp_path):
    drawn_pictures.cache_clear()
    with torch.inference_mode():
        network = built("vit")
        images = drawn_pictures(2, SIZE, SIZE)
        export_onnx(network, images.clone(), tmp_path / "model.onnx")
    assert not images.is_inference()  # they are kept for callers that trace
    assert network.head.weight.is_inference()  # a copy was traced
    assert (tmp_path / "model.onnx").exists()
