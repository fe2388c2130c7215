"""Every model, both implementations, against the plain restatement: a batch of three, image by image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from helpers import randomness, restatement
from helpers.plain_models import Decision, decisions, patch_box
from helpers.ranking import assert_same_selection, defined
from torch import Tensor

from fgbench.models.build import create_model

TINY, REGISTERS, DEIT3 = "vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "deit3_small_patch16_224"
SHAPES = {
    TINY: {"patch": 16, "heads": 3},
    REGISTERS: {"patch": 14, "heads": 6, "num_prefix": 5},  # LayerScale; positions for patches alone
    DEIT3: {"patch": 16, "heads": 6},  # the same without registers
    "resnet26": {},
    "resnet50": {},
}
TRANSFORMERS = ("vit", "transfg", "ffvt", "ramstrans", "aftrans", "dcal", "ev", "glsim")
TRANSFORMERS += ("ielt", "r2trans", "simtrans", "aatrans", "accvit", "falvit")
CONVOLUTIONS = ("resnet101", "cal")
SELECT_TOKENS = ("transfg", "ffvt", "dcal", "aatrans", "accvit", "falvit")  # the best by their scores, in this order
TOKENS_OVERLAP = ("transfg", "aatrans")
CLASSES = 10
# Of scores. Rounding moves them by up to 8e-6 of their value, and on every processor by something else.
ROUNDING = 2e-5
# Columns are nearly even: the last digits of their values tell them apart.
ROUNDING_OF = {"aatrans": 1e-3}


SEEDS = {("r2trans", TINY, 224): 1}  # where seed 0 has two nearly equal values at the edge of what is selected


def case(name: str, backbone: str, size: int = 224, seed: int | None = None, **options: Any) -> Any:
    seed = SEEDS.get((name, backbone, size), 0) if seed is None else seed
    words = [name, backbone.split("_patch")[0], str(size), *(f"{k} {v}" for k, v in options.items())]
    return pytest.param((name, backbone, size, seed, options), id=", ".join(words))


CASES = [
    *(case(name, TINY) for name in TRANSFORMERS),
    *(case(name, REGISTERS, 182) for name in TRANSFORMERS),
    *(case(name, TINY, 230) for name in TRANSFORMERS),  # 16 leaves six pixels at the border, 12 leaves ten
    *(case(name, "resnet26") for name in CONVOLUTIONS),
    *(case(name, "resnet50", 160) for name in CONVOLUTIONS),
    case("resnet101", "resnet26", 200),
    case("cal", "resnet26", 200, passes=8),
    case("glsim", DEIT3),
    case("glsim", TINY, 448, seed=1),
    *(case(name, TINY, rule=rule) for name, rule in (("ramstrans", "enclosing"), ("aftrans", "released"))),
    *(case(name, TINY, threshold=2.5) for name in ("ramstrans", "aftrans")),
    *(case("ramstrans", TINY, fusion=fusion) for fusion in ("probabilities", "first", "last")),
    case("aftrans", TINY, fusion="probabilities"),
    case("ffvt", TINY, num_tokens=24),
    case("dcal", TINY, readout="class_token"),
    case("ev", TINY, seed=2, max_iou=0.3),
    case("ev", TINY, seed=1, part_size=200),  # no two such windows of 224 pixels are apart
    case("ev", TINY, part_size=90),
    case("ev", TINY, search="pixels", part_size=90),
    case("ev", TINY, seed=2, search="pixels", min_area=4000, max_iou=0.3),
    case("ielt", TINY, num_tokens=11),
    case("ielt", TINY, num_tokens=[1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1], votes=5, num_key_tokens=7),
    case("accvit", TINY, ratio=0.05, head_weights=[0.5, 0, 1, 2]),
    case("falvit", TINY, ratio=0.1),
    case("r2trans", TINY, predict="mixture"),
    case("r2trans", TINY, seed=2, predict="mixture", drop=0.3),
    case("r2trans", REGISTERS, 182, predict="mixture"),
    case("r2trans", TINY, seed=0, drop=0.9),
    case("glsim", TINY, rule="enclosing"),
    case("glsim", TINY, 230, rule="enclosing", crop_class_token=True),
    case("glsim", REGISTERS, 182, rule="enclosing", crop_class_token=True, top_k=3),
    case("glsim", TINY, top_k=1),
]


@dataclass
class Run:
    """A model with random weights, three images, and what the restatement makes of each."""

    name: str
    backbone: str
    size: int
    options: dict[str, Any]
    seed: int = 0
    model: Any = None
    images: Tensor = field(init=False)
    logits: Tensor = field(init=False)
    boxes: list[list[restatement.Box]] = field(init=False)
    decisions: list[list[Decision]] = field(init=False)

    def __post_init__(self) -> None:
        self.model = create_model(
            self.name, self.backbone, img_size=self.size, num_classes=CLASSES, **self.options
        ).eval()
        self.images = randomness.images(3, self.size)
        self.weights = randomness.randomise(self.model.state_dict(), self.seed)
        if self.name == "cal":
            seen = [restatement.resnet_features(image, self.weights, "features.", 1) for image in self.images]
            randomness.attend_to_objects(self.weights, self.images, torch.stack(seen))
        self.model.load_state_dict(self.weights)
        self.logits, self.boxes, self.decisions = self.restate(torch.float32)

    def restate(self, dtype: torch.dtype) -> tuple[Tensor, list[list[restatement.Box]], list[list[Decision]]]:
        """Logits, boxes and decisions of every image."""
        weights = {name: w.to(dtype) for name, w in self.weights.items()}
        images, options = self.images.to(dtype), dict(self.options)
        if self.name == "r2trans" and "drop" not in options:  # what depends on the whole batch
            options["dropped"] = restatement.r2trans_dropped(weights, images, **SHAPES[self.backbone])
        answers, decided = [], []
        for image in images:
            with decisions() as made:
                answers.append(
                    restatement.MODELS[self.name](
                        weights, image, img_size=self.size, **SHAPES[self.backbone], **options
                    )
                )
            decided.append(made)
        return torch.stack([logits for logits, _ in answers]), [boxes for _, boxes in answers], decided

    @property
    def rounding(self) -> float:
        """By how much of their value rounding can move the scores, at most."""
        return ROUNDING_OF.get(self.name, ROUNDING)

    @property
    def is_first(self) -> bool:
        """Whether it is the first case of a model on a ViT, or of EV's other search."""
        searched = {"search": "pixels", "part_size": 90}
        return (self.backbone, self.size) == (TINY, 224) and self.options in ({}, searched)

    def boxes_of(self, tokens: list[int]) -> list[restatement.Box]:
        """The boxes of selected tokens; FFVT's number includes those before the patches, whose box is the image."""
        patch, prefix = SHAPES[self.backbone]["patch"], SHAPES[self.backbone].get("num_prefix", 1)
        stride, prefix = patch - 4 if self.name in TOKENS_OVERLAP else patch, prefix if self.name == "ffvt" else 0
        columns, whole = (self.size - patch) // stride + 1, [0, 0, self.size, self.size]
        return [whole if j < prefix else patch_box(j - prefix, columns, patch, stride) for j in tokens]


def rankings(decided: list[list[Decision]]) -> tuple[Tensor, Tensor]:
    """Logarithms of the scores (B, rows, N) by which tokens are selected, and the tokens (B, rows, K)."""
    scores = [torch.stack([decision.scores for decision in made]) for made in decided]
    return torch.stack(scores).log(), torch.tensor([[decision.chosen for decision in made] for made in decided])


@pytest.fixture(autouse=True, scope="module")
def without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(params=CASES, scope="module")
def run(request, without_gradients) -> Run:
    name, backbone, size, seed, options = request.param
    return Run(name, backbone, size, options, seed)


# Published and fast are compared with each other in test_conformance.py.
@pytest.mark.parametrize("impl", ["fast", pytest.param("published", marks=pytest.mark.thorough)])
def test_a_batch_equals_the_restatement_image_by_image(run, impl):
    run.model.impl = impl
    # The restatement's boxes are those that are cut: parts lie in the object's crop, some of CAL's in the mirror image.
    explanation = run.model.flow(run.images) if run.name in ("ev", "cal") else run.model.explain(run.images)
    torch.testing.assert_close(explanation.logits, run.logits, rtol=0, atol=1e-4)
    if run.is_first and impl == "fast":
        torch.testing.assert_close(run.model(run.images), run.logits, rtol=0, atol=1e-4)
    boxes = [[], [], []] if explanation.boxes is None else explanation.boxes.tolist()
    if run.name == "r2trans":
        boxes = [sorted(own) for own in boxes]
    if run.name not in SELECT_TOKENS:
        assert run.boxes == boxes
        return
    scores, chosen = rankings(run.decisions)
    assert_same_selection(scores, chosen, explanation.selected.reshape(chosen.shape), 3 * run.rounding)
    assert boxes == [run.boxes_of(tokens) for tokens in explanation.selected.flatten(1).tolist()]


def test_the_restatement_selects_nothing_by_rounding(run):
    """Otherwise a box, or which tokens are selected, would hang on the last bit, and on the machine."""
    for decision in (decision for made in run.decisions for decision in made):
        for other in decision.others(run.rounding):
            if run.name in SELECT_TOKENS:  # in which order is compared as far as it is defined
                assert set(other) == set(decision.chosen)
            else:
                assert other == decision.chosen
    if run.name in SELECT_TOKENS:
        scores, chosen = rankings(run.decisions)
        assert defined(scores, chosen.shape[-1], 3 * run.rounding) > 0.95 * chosen.numel()
        assert run.boxes == [run.boxes_of(tokens) for tokens in chosen.flatten(1).tolist()]
    if run.is_first:
        check_in_double_precision(run)


def test_the_restatement_tells_images_and_classes_apart(run):
    """Otherwise the test above says little: everything selected alike, or logits lost under the tolerance."""
    assert 0.2 < run.logits.std() < 5
    assert (run.logits[0] - run.logits[1]).abs().max() > 0.01
    if run.boxes[0]:
        assert len({str(boxes) for boxes in run.boxes}) == len(run.images)


def check_in_double_precision(run: Run) -> None:
    """The restatement selects the same in double precision."""
    logits, boxes, decided = run.restate(torch.float64)
    if run.name in SELECT_TOKENS:
        scores, exact = rankings(decided)
        assert_same_selection(scores, exact, rankings(run.decisions)[1], 3 * run.rounding)
    else:
        assert boxes == run.boxes
    torch.testing.assert_close(run.logits.double(), logits, rtol=0, atol=3e-5)


@pytest.mark.parametrize("name", ["ramstrans", "aftrans"])
def test_a_mask_that_holds_nothing_keeps_the_whole_image(name):
    run = Run(name, TINY, 224, {"threshold": 1e4})
    assert run.boxes == [[[0, 0, 224, 224]]] * 3
    assert run.model.explain(run.images).boxes.tolist() == run.boxes
    torch.testing.assert_close(run.model(run.images), run.logits, rtol=0, atol=1e-4)


def test_attention_that_is_zero_everywhere_keeps_the_whole_image():
    run = Run("cal", "resnet26", 200, {})
    run.weights["attentions.bn.bias"] -= 100
    run.model.load_state_dict(run.weights)
    logits, boxes, _ = run.restate(torch.float32)
    assert boxes == [[[0, 0, 200, 200]]] * 3
    assert run.model.explain(run.images).boxes.tolist() == boxes
    torch.testing.assert_close(run.model(run.images), logits, rtol=0, atol=1e-4)


def test_untrained_excitation_weighs_every_block_alike():
    run = Run("aftrans", TINY, 224, {})
    for name in ("selector.excitation.2.weight", "selector.excitation.2.bias"):
        run.weights[name].zero_()
    run.model.load_state_dict(run.weights)
    logits, boxes, _ = run.restate(torch.float32)
    assert run.model.explain(run.images).boxes.tolist() == boxes
    torch.testing.assert_close(run.model(run.images), logits, rtol=0, atol=1e-4)
