"""How a model is trained: GLSim's Tables 10 and 11 by default. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fgbench.results.reduced_name import base_model

LEARNING_RATES = (0.03, 0.01, 0.003, 0.001)  # what the paper searches
SEEDS = (1, 10, 100)
RESIZE = 1.34  # images are resized to a square of int(1.34 · S) pixels, then cropped to S: 300 for 224, 600 for 448
LARGE = 50_000  # train-val images beyond which a fifth is searched on, and two seeds are run
LARGE_SEEDS = (1, 10)
SHORT_CAL = ("dafb", "food", "inat17")  # CAL is trained for 160 epochs but on these
EVEN_SETS = ("dogs", "flowers", "pets")  # those of its paper on which IELT selects as many tokens of every block
EVEN_IELT = 11  # of every block there: 126 / 11, rounded down
MPSA_ON_NABIRDS = 0.2  # share of the parts that are dropped there
EVEN_ACCVIT = 1.0  # weight of every head, but on CUB
EARLY_ACCVIT_ON_DOGS = 0.01  # weight of the losses of its first two heads there
MAX_WARMUP = 0.2  # of all steps, where a run is too short for the published warm-up


@dataclass(frozen=True, slots=True, kw_only=True)
class AugReg:
    """Augmentation and regularisation beyond random crop and flip."""

    label_smoothing: float = 0.0
    stochastic_depth: float = 0.0  # of transformer blocks
    random_erasing: float = 0.0  # probability
    trivial_augment: bool = False


# GLSim, Table 11: each level adds to the one before.
AUGREG: Mapping[str, AugReg] = {
    "minimal": AugReg(),
    "weak": AugReg(label_smoothing=0.1),
    "medium": AugReg(label_smoothing=0.1, stochastic_depth=0.1),
    "strong": AugReg(label_smoothing=0.1, stochastic_depth=0.1, random_erasing=0.3, trivial_augment=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything about training but the model, the data, the learning rate and the seed. GLSim, Table 10."""

    epochs: int = 50
    batch_size: int = 8  # images per step, over all processes and accumulated gradients
    accumulate: int = 1  # backward passes per step
    optimizer: str = "momentum"  # timm's name: SGD with momentum .9, without Nesterov's
    weight_decay: float = 0.0
    warmup_steps: int = 500
    warmup_lr: float = 1e-6  # where the warm-up begins
    min_lr: float = 1e-5  # where the cosine ends
    clip_norm: float = 1.0
    augreg: str = "strong"
    mixed_precision: str = "no"  # no, fp16 or bf16

    @property
    def level(self) -> AugReg:
        """The augmentation and regularisation that ``augreg`` names."""
        return AUGREG[self.augreg]

    def warmup(self, steps: int) -> int:
        """Warm-up steps of a run of so many: the published ones, or a fifth of a run that is too short for them."""
        return min(self.warmup_steps, int(MAX_WARMUP * steps))


# Of a recipe in a row of accuracy; everything else there is an option of the model.
RECIPE_FIELDS = frozenset(field.name for field in fields(Recipe))


def published_recipe(model: str, dataset: str) -> dict[str, Any]:
    """What the paper changes of :class:`Recipe` for a model on a data set. GLSim, appendix C."""
    if base_model(model) != "cal":
        return {}
    return {"epochs": 50 if dataset in SHORT_CAL else 160, "weight_decay": 1e-5, "warmup_steps": 1500}


def published_model_options(model: str, dataset: str, image_size: int) -> dict[str, Any]:
    """What the papers change of a model for a data set.

    More tokens on Dogs: GLSim, section 4; FFVT, section 4.1. As many tokens of every block: IELT, released code. Fewer
    parts dropped on NABirds: MPSA, released code. Equal weights of heads, and small ones of the losses of two of them
    on Dogs: ACC-ViT, released code.
    """
    model = base_model(model)
    if model == "ielt":
        return {"num_tokens": EVEN_IELT} if dataset in EVEN_SETS else {}
    if model == "mpsa":
        return {"parts_drop": MPSA_ON_NABIRDS} if dataset == "nabirds" else {}
    if model == "accvit" and dataset != "cub":
        early = {"early_weight": EARLY_ACCVIT_ON_DOGS} if dataset == "dogs" else {}
        return {"head_weights": EVEN_ACCVIT, **early}
    if dataset != "dogs":
        return {}
    return {"glsim": {"top_k": round(16 * image_size / 224)}, "ffvt": {"num_tokens": 24}}.get(model, {})


def published_seeds(train_images: int) -> tuple[int, ...]:
    """Seeds 1, 10, 100; two of them for the sets of more than 50,000 images. GLSim, appendix C."""
    return SEEDS if train_images <= LARGE else LARGE_SEEDS


def search_share(train_images: int) -> float:
    """The share of train-val that a learning rate is searched on; the rest validates. GLSim, appendix C."""
    return 0.8 if train_images <= LARGE else 0.2


def resized_side(image_size: int) -> int:
    """The square that an image is resized to before it is cropped to ``image_size``, in pixels."""
    return int(RESIZE * image_size)
