"""Pretraining of the shipped backbone: what the image shows, and what every patch of it shows.

Supervised on the class token (the family of the main object), and on every patch token by the same head with one more
class for the ground, as in token labelling (Jiang et al., arXiv 2104.10858): so patches of an object become like the
class token of its images. Every token is also asked for the colour of what it stands for, since colours say nothing
about families here, and something about finer classes. In most epochs the network sees half of the patches alone, which
takes less than half the time. The weights that are written are a moving mean. A run that is killed goes on after its
last whole epoch, to the same weights.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from fgbench.models.shipped import vit_fgbench_patch12_96
from fgbench.pretraining.pictures import DRAWN, Pictures, draw
from fgbench.pretraining.world import NONE, patch_families
from fgbench.results.shipped import FAMILIES, IMAGE_SIZE, MEAN, PATCH, STD

STATE = "state.safetensors"
HELD_OUT = 2_000  # images that nothing is trained on
FIRST_HELD_OUT = 10**9  # index of the first of them
GROUND_WEIGHT = 0.3  # of a patch of the ground in the loss: most patches are
COLOURS = 3
NETWORK, MEAN_NETWORK, OPTIMIZER = "network.", "mean.", "optimizer."  # of names in the state


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretraining:
    """The recipe. Images are drawn once; they are seen again cut out, mirrored, with other colours and light."""

    images: int = 40_000
    epochs: int = 12
    batch_size: int = 64
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 500
    label_smoothing: float = 0.1
    patch_weight: float = 1.0  # of the loss of patches beside that of the class token
    colour_weight: float = 0.5
    kept: float = 0.5  # share of the patches that the network sees
    whole_epochs: int = 3  # the last ones, in which it sees all
    mean_decay: float = 0.999  # of the moving mean of weights, per step
    seed: int = 0


class Batch(NamedTuple):
    """Images (B, 3, S, S), families (B,) and those of patches (B, G²), colours of tokens (B, 1 + G², 3)."""

    images: Tensor
    families: Tensor
    patches: Tensor
    colours: Tensor


class Network(nn.Module):
    """The backbone with a head for families, which patches share, and outputs of tokens for the ground and colours."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone: Any = vit_fgbench_patch12_96(num_classes=FAMILIES)
        self.ground = nn.Linear(self.backbone.embed_dim, 1)
        self.colour = nn.Linear(self.backbone.embed_dim, COLOURS)

    def forward(self, images: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits and colours of the class token and of patches.

        Args:
            images: (B, 3, S, S).
            kept: Indices (B, K) of the patches that are seen; None for all.

        Returns:
            (B, 1 + K, families + 1) and (B, 1 + K, 3).

        """
        backbone = self.backbone
        tokens = backbone._pos_embed(backbone.patch_embed(images))
        if kept is not None:
            index = torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], dim=1)
            tokens = tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))
        tokens = backbone.norm(backbone.blocks(tokens))
        return torch.cat([backbone.head(tokens), self.ground(tokens)], dim=-1), self.colour(tokens)


@dataclass(slots=True)
class Session:
    """What a run goes on with."""

    network: Network
    mean: Network  # its weights are a moving mean of the network's
    optimizer: torch.optim.Optimizer
    epochs: int = 0  # that are done

    @classmethod
    def new(cls, recipe: Pretraining) -> Session:
        """Weights as the seed of the recipe draws them."""
        torch.manual_seed(recipe.seed)
        network = Network()
        optimizer = torch.optim.AdamW(_groups(network, recipe.weight_decay), lr=recipe.lr, betas=(0.9, 0.98))
        return cls(network, copy.deepcopy(network).requires_grad_(False), optimizer)

    def step(self, batch: Batch, kept: Tensor | None, recipe: Pretraining, lr: float) -> float:
        """One step; the loss of its batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = _loss(self.network(batch.images, kept), batch, kept, recipe)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            for mean, weights in zip(self.mean.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(weights, 1 - recipe.mean_decay)
        return float(loss.detach())


def pretrain(recipe: Pretraining, folder: Path, say: Callable[[str], None] = lambda _: None) -> Network:
    """Train the backbone, or go on with it.

    Args:
        recipe: The recipe.
        folder: Where the state is kept.
        say: Receives a line per epoch and per hundred steps.

    Returns:
        The network with the moving mean of the weights.

    """
    say(f"drawing {recipe.images} images")
    shown = draw(recipe.images, 0, recipe.seed)
    held_out = draw(min(HELD_OUT, recipe.images), FIRST_HELD_OUT, recipe.seed, side=IMAGE_SIZE)
    session = _load(folder, recipe) or Session.new(recipe)
    steps = len(shown.families) // recipe.batch_size
    patches = (IMAGE_SIZE // PATCH) ** 2
    for epoch in range(session.epochs, recipe.epochs):
        rng = np.random.default_rng([recipe.seed, epoch])
        began, total = time.monotonic(), 0.0
        count = patches if epoch >= recipe.epochs - recipe.whole_epochs else round(recipe.kept * patches)
        for step, batch in enumerate(_batches(shown, recipe.batch_size, rng)):
            kept = None
            if count < patches:
                kept = torch.from_numpy(rng.random((recipe.batch_size, patches)).argsort(axis=1)[:, :count])
            lr = recipe.lr * _schedule(epoch * steps + step, recipe.epochs * steps, recipe.warmup_steps)
            total += session.step(batch, kept, recipe, lr)
            if step % 100 == 99:
                say(f"epoch {epoch + 1}: step {step + 1} of {steps}, loss {total / (step + 1):.3f}")
        session.epochs = epoch + 1
        _save(folder, recipe, session)
        top1, of_patches = accuracy(session.mean, held_out)
        say(
            f"epoch {epoch + 1} of {recipe.epochs}: loss {total / max(1, steps):.3f}; of held-out images {top1:.1f} %, "
            f"of their patches of objects {of_patches:.1f} %; {time.monotonic() - began:.0f} s"
        )
    return session.mean


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights of matrices decay; biases, norms, the class token and positions do not."""
    matrices = [
        p for name, p in network.named_parameters() if p.ndim > 1 and "embed" not in name and "token" not in name
    ]
    kept = {id(p) for p in matrices}
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": [p for p in network.parameters() if id(p) not in kept], "weight_decay": 0.0},
    ]


def _schedule(step: int, steps: int, warmup: int) -> float:
    """A rise, then half a cosine down to a hundredth."""
    rise = min(1.0, (step + 1) / max(1, min(warmup, steps // 5)))
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / max(1, steps))))


def _batches(pictures: Pictures, size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Batches in a new order; images cut out, half of them mirrored, all with channels in another order and gain."""
    order = rng.permutation(len(pictures.families))
    for start in range(0, len(order) - size + 1, size):
        places = order[start : start + size]
        corners = rng.integers(0, DRAWN - IMAGE_SIZE + 1, (size, 2))
        mirrored = rng.random(size) < 0.5
        gains = rng.uniform(0.75, 1.25, (size, 3)).astype(np.float32)
        pixels = np.empty((size, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        shown = np.empty((size, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        for i, (place, (y, x)) in enumerate(zip(places, corners, strict=True)):
            rows, columns = slice(y, y + IMAGE_SIZE), slice(x, x + IMAGE_SIZE)
            turn = -1 if mirrored[i] else 1
            pixels[i] = pictures.pixels[place, rows, columns, rng.permutation(3)].transpose(1, 2, 0)[:, ::turn]
            shown[i] = pictures.shown[place, rows, columns][:, ::turn]
        yield _batch(pixels, shown, pictures.families[places], gains)


def _batch(pixels: np.ndarray, shown: np.ndarray, families: np.ndarray, gains: np.ndarray) -> Batch:
    """Images with a gain of their channels, and what their tokens are asked for."""
    images = (normalized(pixels) + 1) * torch.from_numpy(gains)[:, :, None, None] - 1
    patches = patch_families(shown, families, PATCH)
    of_patches = functional.avg_pool2d(images, PATCH).flatten(2)
    mains = torch.from_numpy((shown == families[:, None, None]).astype(np.float32))
    of_main = torch.einsum("bchw,bhw->bc", images, mains) / mains.sum((1, 2)).clamp_min(1)[:, None]
    colours = torch.cat([of_main[:, :, None], of_patches], dim=2).transpose(1, 2)
    return Batch(images, torch.from_numpy(families), torch.from_numpy(patches), colours)


def normalized(pixels: np.ndarray) -> Tensor:
    """Images (n, side, side, 3) of uint8 → (n, 3, side, side), as the network takes them."""
    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((images - mean) / std).contiguous()


def _loss(found: tuple[Tensor, Tensor], batch: Batch, kept: Tensor | None, recipe: Pretraining) -> Tensor:
    logits, colours = found
    patches, wanted = batch.patches, batch.colours
    if kept is not None:
        patches = patches.gather(1, kept)
        index = torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], dim=1)
        wanted = wanted.gather(1, index[..., None].expand(-1, -1, COLOURS))
    smoothing = recipe.label_smoothing
    whole = functional.cross_entropy(logits[:, 0, :FAMILIES], batch.families, label_smoothing=smoothing)
    weights = torch.ones(FAMILIES + 1)
    weights[NONE] = GROUND_WEIGHT
    local = functional.cross_entropy(
        logits[:, 1:].flatten(0, 1), patches.flatten(), weight=weights, label_smoothing=smoothing
    )
    return whole + recipe.patch_weight * local + recipe.colour_weight * functional.mse_loss(colours, wanted)


@torch.no_grad()
def accuracy(network: Network, pictures: Pictures, size: int = 250) -> tuple[float, float]:
    """Top-1 of images, and of their patches that show an object, in percent."""
    right, right_patches, seen_patches = 0, 0, 0
    for start in range(0, len(pictures.families), size):
        families, shown = pictures.families[start : start + size], pictures.shown[start : start + size]
        logits, _ = network(normalized(pictures.pixels[start : start + size]))
        right += int((logits[:, 0, :FAMILIES].argmax(1) == torch.from_numpy(families)).sum())
        wanted = torch.from_numpy(patch_families(shown, families, PATCH))
        objects = wanted != NONE
        right_patches += int((logits[:, 1:].argmax(-1) == wanted)[objects].sum())
        seen_patches += int(objects.sum())
    return 100 * right / max(1, len(pictures.families)), 100 * right_patches / max(1, seen_patches)


def _save(folder: Path, recipe: Pretraining, session: Session) -> None:
    """Write the state after an epoch, whole or not at all."""
    tensors = {f"{NETWORK}{name}": tensor.contiguous() for name, tensor in session.network.state_dict().items()}
    tensors |= {f"{MEAN_NETWORK}{name}": tensor.contiguous() for name, tensor in session.mean.state_dict().items()}
    for index, values in session.optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{index}.{name}": value.contiguous() for name, value in values.items()}
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{STATE}.unfinished"
    save_file(tensors, unfinished, {"epochs": str(session.epochs), "recipe": json.dumps(asdict(recipe))})
    unfinished.replace(folder / STATE)


def _load(folder: Path, recipe: Pretraining) -> Session | None:
    """The state of an earlier session of this recipe; None without one."""
    path = folder / STATE
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    if json.loads(metadata["recipe"]) != asdict(recipe):
        return None
    session, tensors = Session.new(recipe), load_file(path)
    for prefix, network in ((NETWORK, session.network), (MEAN_NETWORK, session.mean)):
        network.load_state_dict(
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        )
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(OPTIMIZER):
            index, _, what = name.removeprefix(OPTIMIZER).partition(".")
            state.setdefault(int(index), {})[what] = value
    session.optimizer.load_state_dict({"state": state, "param_groups": session.optimizer.state_dict()["param_groups"]})
    session.epochs = int(metadata["epochs"])
    return session


def read_state(folder: Path) -> tuple[Session, Pretraining]:
    """What a run would go on with after the last whole epoch in a folder, and its recipe.

    Raises:
        FileNotFoundError: No epoch is finished.

    """
    path = folder / STATE
    if not path.is_file():
        raise FileNotFoundError(2, "no state", str(path))
    with safe_open(path, framework="pt") as file:
        recipe = Pretraining(**json.loads(file.metadata()["recipe"]))
    session = _load(folder, recipe)
    assert session is not None
    return session, recipe


def export(network: Network, path: Path, facts: dict[str, str]) -> None:
    """Write the weights of the backbone and of its head, in float16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.half().contiguous() for name, tensor in network.backbone.state_dict().items()}
    save_file(tensors, path, {"format": "pt", **facts})
    path.chmod(0o644)  # a package is read by others, too
