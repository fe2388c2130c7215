"""Pretrain the shipped backbone, and write its weights and their card: ``python -m fgbench.pretraining --help``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fgbench.pretraining.card import Learned, card
from fgbench.pretraining.pictures import draw
from fgbench.pretraining.train import (
    FIRST_HELD_OUT,
    HELD_OUT,
    Network,
    Pretraining,
    accuracy,
    export,
    pretrain,
    read_state,
)
from fgbench.results.shipped import IMAGE_SIZE, WEIGHTS

CARD = "README.md"  # beside the weights


def main(arguments: Sequence[str] | None = None) -> None:
    """Train in a folder, where a killed run goes on, and write the weights, by default those that are shipped."""
    usual = Pretraining()
    parser = argparse.ArgumentParser(prog="python -m fgbench.pretraining", description=main.__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("fgbench-pretraining"), help="for the state")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="file that is written")
    parser.add_argument("--as-it-is", action="store_true", help="write the last whole epoch, and train nothing")
    parser.add_argument("--images", type=int, default=usual.images, help="that are drawn, once")
    parser.add_argument("--epochs", type=int, default=usual.epochs, help="passes over them")
    parser.add_argument("--batch-size", type=int, default=usual.batch_size, help="images per step")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of images and weights")
    asked = parser.parse_args(arguments)
    if asked.as_it_is:
        try:
            session, recipe = read_state(asked.folder)
        except FileNotFoundError as error:
            parser.error(f"no epoch is finished in {asked.folder}: {error.filename} is not there")
        epochs, networks = session.epochs, [session.mean, session.network]
    else:
        given = {"images": asked.images, "epochs": asked.epochs, "batch_size": asked.batch_size, "seed": asked.seed}
        recipe = Pretraining(**given)
        epochs, networks = recipe.epochs, [pretrain(recipe, asked.folder, lambda line: print(line, flush=True))]
    write(networks, recipe, epochs, asked.weights)
    print(f"written: {asked.weights}, {CARD}")


def write(networks: Sequence[Network], recipe: Pretraining, epochs: int, path: Path) -> None:
    """Write weights and their card.

    Args:
        networks: Networks; that with the best accuracy on held-out images is written. Early in a run a moving mean of
            weights is behind the weights themselves.
        recipe: What they were trained by.
        epochs: How many are done.
        path: Of the weights; the card is written beside them.

    """
    held_out = draw(min(HELD_OUT, recipe.images), FIRST_HELD_OUT, recipe.seed, side=IMAGE_SIZE)
    figures = [accuracy(network, held_out) for network in networks]
    (top1, patches), network = max(zip(figures, networks, strict=True), key=lambda pair: pair[0])
    export(network, path, {"recipe": json.dumps(asdict(recipe)), "epochs": str(epochs), "license": "Apache-2.0"})
    learned = Learned(epochs=epochs, top1_percent=top1, patches_percent=patches)
    params = sum(weights.numel() for weights in network.backbone.parameters())
    path.with_name(CARD).write_text(card(recipe, learned, params), encoding="utf-8")


if __name__ == "__main__":
    main()
