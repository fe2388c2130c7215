"""Files of MPSA and ViT-NeT: logits of the authors' weights, buffers without a use, files of backbones, of others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import randomness, released_parts, restated_parts, restated_swin, restated_tree
from torch import Tensor

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model

CLASSES, SIZE, WINDOW = 5, 64, 2
IMAGES = randomness.images(2, SIZE)
IMPLS = pytest.mark.parametrize("impl", ["fast", "published"])
SWIN, VIT = "fgtest_swin", "fgtest_vit"
ON_SWIN = released_parts.mpsa(
    released_parts.swin("backbone.", WINDOW, merges_at_the_end=False), released_parts.WIDTHS, (256, 64, 16, 4), CLASSES
)
ON_VIT = released_parts.mpsa(released_parts.vit("backbone.", 16), (64,) * 4, (16,) * 4, CLASSES)
NET = released_parts.vit_net(CLASSES, WINDOW)


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def drawn(shapes: released_parts.Shapes, seed: int = 0) -> dict[str, Tensor]:
    return randomness.randomise({name: torch.empty(shape) for name, shape in shapes.items()}, seed)


def save(weights: dict[str, Tensor], path: Path, buffers: dict[str, torch.Size] | None = None) -> Path:
    """As both codes do: weights under ``model`` beside the states of training."""
    others = {name: torch.zeros(shape) for name, shape in (buffers or {}).items()}
    torch.save({"model": weights | others, "max_accuracy": 91.5, "epoch": 49}, path)
    return path


def tokens_of_the_net(weights: dict[str, Tensor], image: Tensor) -> Tensor:
    """The tokens of the Swin of a ViT-NeT, whose merging belongs to the stage before."""
    earlier = {f"layers.{stage}.downsample": f"layers.{stage + 1}.downsample" for stage in range(3)}
    moved = {}
    for name, w in weights.items():
        found = [old for old in earlier if name.startswith(f"patch_embedding.{old}.")]
        moved[name.replace(found[0], earlier[found[0]]) if found else name] = w
    return restated_swin.normed_stages(moved, image, "patch_embedding.")[-1]


@IMPLS
@pytest.mark.parametrize("backbone", [SWIN, VIT])
def test_a_file_of_mpsa_gives_the_logits_of_its_weights(backbone, impl, tmp_path):
    weights = drawn(ON_SWIN if backbone == SWIN else ON_VIT)
    buffers = released_parts.swin_buffers("backbone.", WINDOW) if backbone == SWIN else {}
    model = create_model("mpsa", backbone, img_size=SIZE, num_classes=CLASSES, impl=impl).eval()
    report = fgbench.load_checkpoint(model, save(weights, tmp_path / "checkpoint.bin", buffers), strict=True)
    vit = {"patch": 16, "heads": 2} if backbone == VIT else None
    expected = [restated_parts.mpsa(weights, image, names=restated_parts.RELEASED, vit=vit) for image in IMAGES]
    assert torch.stack(expected).std() > 0.1
    torch.testing.assert_close(model(IMAGES), torch.stack(expected), rtol=0, atol=1e-4)
    assert (report.format, report.complete, set(report.ignored)) == ("mpsa", True, set(buffers))


@IMPLS
def test_a_file_of_mpsa_predicts_as_its_authors_do_with_both_released_options(impl, tmp_path):
    weights, released = drawn(ON_SWIN), {"test_dropout": True, "normalize": "batch", "impl": impl}
    model = create_model("mpsa", SWIN, img_size=SIZE, num_classes=CLASSES, **released).eval()
    fgbench.load_checkpoint(model, save(weights, tmp_path / "checkpoint.bin"), strict=True)
    torch.manual_seed(7)
    kept = [torch.randperm(width // 2)[int(0.4 * (width // 2)) :].tolist() for width in released_parts.WIDTHS]
    expected = restated_parts.mpsa_in_a_batch(weights, IMAGES, restated_parts.RELEASED, kept)
    torch.manual_seed(7)
    torch.testing.assert_close(model(IMAGES), expected, rtol=0, atol=1e-4)


@IMPLS
@pytest.mark.parametrize("order", ["preorder", [14, *range(14)]])
def test_a_file_of_vit_net_gives_the_logits_of_its_weights(order, impl, tmp_path):
    weights, buffers = drawn(NET), released_parts.swin_buffers("patch_embedding.", WINDOW)
    options = {"prototype_order": order, "impl": impl}
    model = create_model("vitnet", SWIN, img_size=SIZE, num_classes=CLASSES, **options).eval()
    report = fgbench.load_checkpoint(model, save(weights, tmp_path / "ckpt_epoch_29.pth", buffers), strict=True)
    given = None if order == "preorder" else order
    expected = torch.stack(
        [
            restated_tree.vitnet(
                weights, image, restated_tree.RELEASED, given, tokens=tokens_of_the_net(weights, image)
            )
            for image in IMAGES
        ]
    )
    torch.testing.assert_close(model(IMAGES), expected.log(), rtol=0, atol=1e-4)
    assert (report.format, report.complete, set(report.ignored)) == ("vit-net", True, set(buffers))


@pytest.mark.parametrize(("name", "shapes"), [("mpsa", ON_SWIN), ("vitnet", NET)])
def test_every_weight_of_a_file_has_its_own_place_and_comes_back_in_a_file_of_ours(name, shapes, tmp_path):
    weights = drawn(shapes)
    model = create_model(name, SWIN, img_size=SIZE, num_classes=CLASSES).eval()
    report = fgbench.load_checkpoint(model, save(weights, tmp_path / "released.pth"))
    assert len(report.loaded) == len(weights) == len(model.state_dict())
    values = sorted(float(w.double().sum()) for w in model.state_dict().values())
    assert values == pytest.approx(sorted(float(w.double().sum()) for w in weights.values()))
    fgbench.save_checkpoint(model, tmp_path / "own.safetensors")
    again = create_model(name, SWIN, img_size=SIZE, num_classes=CLASSES).eval()
    assert fgbench.load_checkpoint(again, tmp_path / "own.safetensors").complete
    assert torch.equal(again(IMAGES), model(IMAGES))


@pytest.mark.parametrize(("name", "shapes"), [("mpsa", ON_SWIN), ("vitnet", NET)])
@pytest.mark.parametrize("prefix", ["module.", "net."])
def test_a_file_of_several_processes_is_read_without_its_prefix(name, shapes, prefix, tmp_path):
    weights = {f"{prefix}{own}": w for own, w in drawn(shapes).items()}
    model = create_model(name, SWIN, img_size=SIZE, num_classes=CLASSES)
    assert fgbench.load_checkpoint(model, save(weights, tmp_path / "released.pth")).complete


@pytest.mark.parametrize(("name", "shapes"), [("mpsa", ON_SWIN), ("vitnet", NET)])
def test_files_for_other_classes_sizes_and_models_are_refused(name, shapes, tmp_path):
    path = save(drawn(shapes), tmp_path / "released.pth")
    with pytest.raises(FgbenchError, match=f"has a head for {CLASSES} classes, the model for {CLASSES + 3}"):
        fgbench.load_checkpoint(create_model(name, SWIN, img_size=SIZE, num_classes=CLASSES + 3), path)
    with pytest.raises(FgbenchError, match="do not fit"):
        fgbench.load_checkpoint(create_model(name, SWIN, img_size=96, num_classes=CLASSES), path)
    other = {"mpsa": "vitnet", "vitnet": "mpsa"}[name]
    with pytest.raises(FgbenchError, match=r"head\.weight .* in the file"):
        fgbench.load_checkpoint(create_model(other, SWIN, img_size=SIZE, num_classes=CLASSES), path)


@pytest.mark.parametrize("name", ["mpsa", "vitnet"])
@pytest.mark.parametrize("is_earlier", [True, False])
def test_training_begins_from_a_file_of_a_swin_and_a_head_of_zeros(name, is_earlier, tmp_path):
    shapes = released_parts.swin("", WINDOW, merges_at_the_end=is_earlier)
    shapes |= released_parts.linear("head" if is_earlier else "head.fc", 128, 21)
    model = create_model(name, SWIN, img_size=SIZE, num_classes=CLASSES)
    report = fgbench.load_checkpoint(model, save(drawn(shapes), tmp_path / "swin.pth"))
    assert report.backbone_only
    assert len(report.loaded) == len(shapes) - 2
    assert not model.head.weight.any()
    assert all(missing.startswith(("stages.", "pooling", "norm.", "head.", "tree.")) for missing in report.missing)


def test_options_of_a_file_of_ours_that_differ_are_named(tmp_path):
    trained = create_model("vitnet", SWIN, img_size=SIZE, num_classes=CLASSES, prototype_order=[14, *range(14)])
    fgbench.save_checkpoint(trained, tmp_path / "own.safetensors")
    model = create_model("vitnet", SWIN, img_size=SIZE, num_classes=CLASSES)
    report = fgbench.load_checkpoint(model, tmp_path / "own.safetensors")
    assert any("prototype_order" in difference for difference in report.differences)
