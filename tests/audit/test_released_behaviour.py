"""What the released codes of MPSA and ViT-NeT do differently from time to time is found, by the question that asks."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fgbench.cli import app

# A ViT-NeT on a Swin of a few thousand weights, which a fresh process can build as well.
FILE = """
from timm.models import register_model
from timm.models.swin_transformer import SwinTransformer

from fgbench.models.vitnet import ViTNeT

@register_model
def audited_swin(pretrained=False, pretrained_cfg=None, pretrained_cfg_overlay=None, cache_dir=None, **options):
    shape = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
    return SwinTransformer(**shape, **options)

class SmallNet(ViTNeT):
    '''ViT-NeT on a small Swin.'''

    name = "smallnet"
    default_backbone = "audited_swin"
"""
SMALL = ("--size", "64", "--pictures", "4", "--format", "json", "--device", "cpu")


def broken(*words: str) -> tuple[int, dict[str, bool | None]]:
    """The exit code, and whether each promise is kept."""
    result = CliRunner().invoke(app, ["audit", *words, *SMALL])
    assert result.stdout, result.stderr
    return result.exit_code, {row["question"]: row["kept"] for row in json.loads(result.stdout)}


def test_mpsa_keeps_its_promises_unless_its_released_behaviour_is_asked_for():
    on_vit = ("mpsa", "--backbones", "test_vit", "--questions", "repeat", "batch", "order", "impl")
    every = dict.fromkeys(("repeat", "batch", "order", "impl"), True)
    assert broken(*on_vit) == (0, every)
    assert broken(*on_vit, "--model-options", "test_dropout=true") == (1, every | {"repeat": False})
    assert broken(*on_vit, "--model-options", "normalize=batch") == (1, every | {"batch": False})
    both = ("--model-options", "test_dropout=true", "normalize=batch")
    assert broken(*on_vit, *both) == (1, every | {"repeat": False, "batch": False})


def test_simtrans_drops_at_test_however_little_its_random_structure_changes_the_logits():
    words = ("simtrans", "--backbones", "test_vit", "--questions", "repeat", "batch")
    assert broken(*words) == (0, {"repeat": True, "batch": True})
    assert broken(*words, "--model-options", "test_dropout=true") == (1, {"repeat": False, "batch": True})


def test_r2trans_depends_on_its_batch_where_it_drops_as_many_patches_as_the_mean_of_the_batch():
    words = ("r2trans", "--backbones", "test_vit", "--questions", "repeat", "batch")
    assert broken(*words) == (0, {"repeat": True, "batch": True})
    assert broken(*words, "--model-options", "predict=mixture") == (1, {"repeat": True, "batch": False})


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.py").write_text(FILE)
    return "smallnet", "--plugin", str(tmp_path / "net.py")


def test_vitnet_keeps_its_promises_unless_its_prototypes_have_the_released_order(net):
    assert broken(*net) == (0, dict.fromkeys(("repeat", "batch", "order", "process", "impl", "half"), True))
    released = ("--model-options", "prototype_order=released", "--questions", "repeat", "batch", "process", "impl")
    expected = {"repeat": True, "batch": True, "process": False, "impl": True}
    assert broken(*net, *released) == (1, expected)
