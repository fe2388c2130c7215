"""The model card beside the shipped weights: what they learned, how well, and what they are not for."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from fgbench.pretraining.families import FAMILIES, KINDS, PER_KIND
from fgbench.pretraining.train import HELD_OUT, Pretraining
from fgbench.results.shipped import DEPTH, HEADS, IMAGE_SIZE, MEAN, PATCH, SHIPPED, STD, TAG, WIDTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """How far a pretraining has come: whole epochs, and accuracy on held-out images in percent."""

    epochs: int
    top1_percent: float
    patches_percent: float  # of patches that show an object


def card(recipe: Pretraining, learned: Learned, params: int) -> str:
    """The card in Markdown.

    Args:
        recipe: The recipe.
        learned: How far it has come.
        params: Number of parameters, with those of the head.

    """
    kinds = ", ".join(kind.__name__ for kind in KINDS)
    settings = "\n".join(f"| `{name}` | {value} |" for name, value in asdict(recipe).items())
    early = "" if learned.epochs == recipe.epochs else f" The run of {recipe.epochs} epochs was not finished."
    return f"""---
license: apache-2.0
library_name: timm
---

# {SHIPPED}.{TAG}

A vision transformer with a class token: width {WIDTH}, {DEPTH} blocks, {HEADS} heads, patches of {PATCH} pixels,
{params / 1e6:.2f} million parameters, for images of {IMAGE_SIZE} pixels that are normalised by mean {MEAN[0]} and
deviation {STD[0]}. It is for trying out fine-tuning and selection where no weights can be downloaded.

```
import fgbench.models, timm
timm.create_model("{SHIPPED}", pretrained=True, num_classes=20)
```

## Data

Images that `fgbench/pretraining/` draws by a seed; nothing was downloaded or photographed. {FAMILIES} families of
objects: {PER_KIND} of each of {len(KINDS)} kinds ({kinds}).
A family is a blueprint of outlines and textures; its objects differ in colours, size, pose, proportions and light.
Other objects and clutter lie around and before the main one. Nothing that draws the birds of `--dataset synthetic`
has a part in it.

## Recipe

`nox -s pretrain`, AdamW with a cosine. The class token is asked for the family of the main object. Every patch token
is asked by the same head for the family that it shows, or the ground (token labelling, Jiang et al., arXiv
2104.10858), and all tokens for colours. Images are cut out of larger ones, mirrored, and their channels exchanged and
weighed anew each time. At first the network sees a part of the patches. The weights are a moving mean.

| setting | value |
|:--|:--|
{settings}

## How well

After {learned.epochs} epochs, on {min(HELD_OUT, recipe.images)} held-out images of the same world: the family of the
main object {learned.top1_percent:.1f} % (chance {100 / FAMILIES:.1f} %), the family of a patch that shows an object
{learned.patches_percent:.1f} %.{early}

## Limits

- It has never seen a photograph. On photographs its features are those of drawn outlines and flat textures.
- Colours were random in training and say nothing about families.
- Accuracies of models on it compare models with each other, on small drawn images. They do not stand for the paper's,
  which began from ImageNet-21k.
- Weights are float16 in the file, and float32 once they are loaded.

Licence: Apache-2.0, as that of fgbench.
"""
