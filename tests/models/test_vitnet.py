"""ViT-NeT against its restatement; orders of prototypes, weights beyond 1, hard decisions, the loss."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from helpers import randomness, restated_tree
from helpers.model_scenes import built, images
from torch import nn
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench.flops.count_models import count_model
from fgbench.models import tree
from fgbench.models.build import create_model
from fgbench.models.tree import Branch, Gate, PrototypeTree, branches_in_a_set, branches_of, similarity

CLASSES, WIDTH, TOKENS = 5, 64, 9
IMPLS = pytest.mark.parametrize("impl", ["fast", "published"])
SHUFFLED = [3, 0, 14, 7, 1, 9, 2, 13, 5, 11, 4, 12, 6, 10, 8]


def model_of(backbone: str = "fgtest_swin", size: int = 64, seed: int = 0, **options):
    model = create_model("vitnet", backbone, img_size=size, num_classes=CLASSES, **options).eval()
    weights = randomness.randomise(model.state_dict(), seed)
    model.load_state_dict(weights)
    return model, weights, randomness.images(3, size)


def drawn_tree(depth: int = 4, order="preorder", seed: int = 0):
    """A tree with random weights, their names as in a model, tokens (2, 9, 64) and logits (2, 5) of a backbone."""
    made = torch.Generator().manual_seed(seed)
    grown = PrototypeTree(WIDTH, CLASSES, depth, order)
    weights = randomness.randomise(grown.state_dict(), seed)
    weights["prototypes"] = 0.5 + 0.2 * torch.randn(weights["prototypes"].shape, generator=made)
    grown.load_state_dict(weights)
    tokens = torch.randn(2, TOKENS, WIDTH, generator=made)
    return grown, {f"tree.{name}": w for name, w in weights.items()}, tokens, torch.randn(2, CLASSES, generator=made)


def restated(weights, tokens, logits, order=None, **options):
    z = torch.sigmoid(tokens @ weights["tree.narrow.weight"].T)
    order = list(range(len(weights["tree.prototypes"]))) if order is None else order
    rows = [
        restated_tree.tree(weights, patches, own, restated_tree.OURS, order, **options)
        for patches, own in zip(z, logits, strict=True)
    ]
    return torch.stack(rows)


# The forward pass -----------------------------------------------------------------------------------------------------


@pytest.fixture
def no_gradients():
    with torch.no_grad():
        yield


@IMPLS
@pytest.mark.parametrize(
    ("backbone", "size", "options"),
    [
        ("fgtest_swin", 64, {}),
        ("fgtest_swin_deep", 96, {"tree_depth": 2}),
        ("fgtest_swin", 64, {"prototype_order": SHUFFLED}),
        ("fgtest_swin", 64, {"hard": True}),
    ],
)
def test_a_batch_equals_the_restatement_image_by_image(backbone, size, options, impl, no_gradients):
    model, weights, batch = model_of(backbone, size, impl=impl, **options)
    order, hard = options.get("prototype_order"), options.get("hard", False)
    expected = torch.stack([restated_tree.vitnet(weights, image, order=order, hard=hard) for image in batch])
    torch.testing.assert_close(model(batch), (expected + 1e-12).log(), rtol=0, atol=1e-4)
    torch.testing.assert_close(expected.sum(dim=1), torch.ones(3))
    assert (expected[0] - expected[1]).abs().max() > 1e-3


@IMPLS
@pytest.mark.parametrize("order", ["preorder", SHUFFLED])
@pytest.mark.parametrize("seed", range(3))
def test_a_tree_equals_the_restatement_whatever_the_order_of_its_prototypes(order, impl, seed, no_gradients):
    grown, weights, tokens, logits = drawn_tree(order=order, seed=seed)
    expected = restated(weights, tokens, logits, None if order == "preorder" else order)
    found = grown(tokens, logits, published=impl == "published")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    if order != "preorder":
        assert (expected - restated(weights, tokens, logits)).abs().max() > 1e-3, "the order changes nothing"


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_both_implementations_give_the_same_tree_of_any_depth(depth, no_gradients):
    grown, _, tokens, logits = drawn_tree(depth)
    assert len(list(branches_of(grown.root))) == 2**depth - 1
    fast, published = (grown(tokens, logits, published=published) for published in (False, True))
    torch.testing.assert_close(fast, published, rtol=0, atol=1e-6)


@IMPLS
def test_a_patch_that_is_a_prototype_weighs_more_than_one_and_the_other_side_less_than_nothing(impl, no_gradients):
    grown, weights, tokens, logits = drawn_tree(1)
    nearest = torch.sigmoid(tokens[0] @ weights["tree.narrow.weight"].T)[3]
    grown.prototypes.copy_(nearest.view(1, -1, 1, 1))
    weights["tree.prototypes"] = grown.prototypes.detach().clone()
    found = grown(tokens, logits, published=impl == "published")
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2), rtol=0, atol=1e-4)
    assert found[0].min() < -0.1, "no entry is negative"
    # the distance is 0 but for rounding, of whose root the similarity depends: up to ln 10⁴ = 9.2
    assert found[0].max() > 1
    model, _, batch = model_of(tree_depth=1, impl=impl)
    z = model.tree.narrow(model.last_tokens(batch)).sigmoid()
    model.tree.prototypes.copy_(z[0, 1].view(1, -1, 1, 1))
    logits = model(batch)
    assert logits.isfinite().all()
    mixture = model.tree(model.last_tokens(batch), model.classify(model.last_tokens(batch)), published=True)
    assert (mixture < 0).any()
    assert logits.argmax(dim=1).tolist() == mixture.argmax(dim=1).tolist()


@IMPLS
def test_a_hard_tree_follows_one_path_and_training_stays_soft(impl, no_gradients):
    grown, _, tokens, logits = drawn_tree(3)
    published = impl == "published"
    soft, hard = (grown(tokens, logits, published=published, hard=hard) for hard in (False, True))
    leaves = grown_leaves(grown, tokens, logits)
    for image in range(2):
        assert min((hard[image] - leaf[image]).abs().max() for leaf in leaves) < 1e-6
        assert min((soft[image] - leaf[image]).abs().max() for leaf in leaves) > 1e-4
    model = built("vitnet", hard=True, impl=impl).train()
    model.set_stochastic_depth(0)
    plain = built("vitnet", impl=impl)
    batch = images(2, 64)
    torch.testing.assert_close(model(batch), plain(batch))
    assert (model.eval()(batch) - plain(batch)).abs().max() > 1e-2


def test_the_path_of_an_image_is_explained_by_the_nearest_patches(no_gradients):
    model, weights, batch = model_of(prototype_order=SHUFFLED)
    found = model.explain(batch)
    assert torch.equal(found.logits, model(batch))
    branches = list(branches_of(model.tree.root))
    prototypes = weights["tree.prototypes"].flatten(1)
    for image in range(3):
        node, patches = model.tree.root, model.tree.narrow(model.last_tokens(batch[image : image + 1])).sigmoid()
        similarities, boxes = [], []
        while isinstance(node, Branch):
            distances = (patches[0] - prototypes[SHUFFLED[branches.index(node)]]).norm(dim=1)
            similarities.append(((distances + 1) / (distances + 1e-4)).log())
            r, c = divmod(int(distances.argmin()), 2)
            boxes.append([32 * r, 32 * c, 32 * r + 32, 32 * c + 32])
            goes_left = similarities[-1].max() > 0.5
            patches = (node.left_gate if goes_left else node.right_gate)(patches)
            node = node.left if goes_left else node.right
        torch.testing.assert_close(found.scores[image], torch.stack(similarities).amax(dim=0), rtol=0, atol=1e-5)
        assert found.boxes[image].tolist() == boxes


def grown_leaves(grown, tokens, logits) -> list[torch.Tensor]:
    """The distribution of every leaf."""
    found = []

    def walk(node, patches):
        if not isinstance(node, Branch):
            found.append(node(patches, logits))
            return
        walk(node.left, node.left_gate(patches))
        walk(node.right, node.right_gate(patches))

    walk(grown.root, grown.narrow(tokens).sigmoid())
    return found


def test_the_number_that_is_added_to_all_products_of_a_gate_changes_nothing(no_gradients):
    gate, patches = Gate(8), torch.randn(2, 5, 8)
    before = gate(patches)
    gate.attention.bias += 3
    torch.testing.assert_close(gate(patches), before)
    assert "attention.bias" in gate.state_dict()
    assert "attention.bias" not in dict(gate.named_parameters())


def test_the_largest_values_come_before_the_sigmoid_as_after_it(no_gradients):
    gates = [Gate(8) for _ in range(4)]
    patches = torch.randn(3, 2, 5, 8)
    opened = tree.open_gates(gates, patches, only_largest=False)
    assert opened.shape == (3, 4, 5, 8)
    torch.testing.assert_close(tree.open_gates(gates, patches, only_largest=True), opened.amax(dim=2), rtol=0, atol=0)
    for index, gate in enumerate(gates):
        torch.testing.assert_close(opened[:, index], gate(patches[:, index // 2]))


# Prototypes -----------------------------------------------------------------------------------------------------------


def test_prototypes_count_branches_in_pre_order_and_an_order_can_be_given(no_gradients):
    grown = PrototypeTree(WIDTH, 3, 2)
    assert grown.order == [0, 1, 2]
    root = grown.root
    assert list(branches_of(root)) == [root, root.left, root.right]
    assert PrototypeTree(WIDTH, 3, 2, [2, 0, 1]).order == [2, 0, 1]


def test_the_released_order_is_that_of_a_set_of_the_branches():
    found = set()
    for _ in range(10):
        grown = PrototypeTree(WIDTH, 3, 4, "released")
        assert sorted(grown.order) == list(range(15))
        branches = list(branches_of(grown.root))
        expected = [branches.index(branch) for branch in branches_in_a_set(grown.root)]
        assert [grown.order.index(prototype) for prototype in range(15)] == expected
        found.add(tuple(grown.order))
    assert len(found) > 1


PRINTS_ITS_ORDER = "from fgbench.models.tree import PrototypeTree; print(PrototypeTree(64, 3, 4, 'released').order)"


@pytest.mark.thorough
def test_the_released_order_is_another_one_in_other_processes():
    words = [sys.executable, "-c", PRINTS_ITS_ORDER]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = [process.communicate()[0] for process in running]
    assert all(process.returncode == 0 for process in running)
    assert len(set(found)) > 1, found


def test_an_order_by_addresses_is_in_no_file_and_one_that_was_given_is_an_option():
    model = built("vitnet", prototype_order="released")
    assert not [name for name in model.state_dict() if "order" in name]
    assert model.options["prototype_order"] == "released"
    assert built("vitnet", prototype_order=SHUFFLED).options["prototype_order"] == SHUFFLED


def test_at_a_distance_of_nothing_the_similarity_is_finite_and_has_a_derivative():
    squared = torch.tensor([-1e-7, 0.0, 1.0], requires_grad=True)
    found = similarity(squared)
    assert found.tolist() == pytest.approx([9.21034, 9.21034, 0.693097], abs=1e-4)
    found.sum().backward()
    assert squared.grad.tolist() == pytest.approx([0.0, 0.0, (1 / 2 - 1 / 1.0001) / 2], abs=1e-6)


# Training -------------------------------------------------------------------------------------------------------------


@IMPLS
def test_the_loss_is_the_negative_log_likelihood_of_the_mixture(impl):
    model, weights, batch = model_of(impl=impl, label_smoothing=0.1)
    model.set_stochastic_depth(0)
    targets = torch.tensor([4, 0, 2])
    mixture = torch.stack([restated_tree.vitnet(weights, image) for image in batch])
    logs = (mixture + 1e-12).log()
    own = [-(0.9 * row[target] + 0.1 * row.mean()) for row, target in zip(logs, targets, strict=True)]
    loss, logits = model.train()(batch, targets)
    assert loss.item() == pytest.approx((sum(own) / 3).item(), rel=1e-4)
    assert loss.item() == pytest.approx(functional.cross_entropy(logits, targets, label_smoothing=0.1).item(), rel=1e-4)
    loss.backward()
    assert model.tree.prototypes.grad.abs().amax(dim=(1, 2, 3)).min() > 0


def test_layers_begin_as_in_the_released_code():
    torch.manual_seed(0)
    model = create_model("vitnet", "fgtest_swin", img_size=64, num_classes=30)
    assert model.tree.prototypes.mean().item() == pytest.approx(0.5, abs=0.02)
    assert model.tree.prototypes.std().item() == pytest.approx(0.1, rel=0.1)
    assert model.tree.narrow.weight.std().item() == pytest.approx((2 / (128 + 32)) ** 0.5, rel=0.05)
    assert isinstance(model.tree.root.left_gate.hidden, nn.Linear)
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not create_model("vitnet", "fgtest_swin", img_size=64, head_init="zeros").head.weight.any()


# What it costs and refuses --------------------------------------------------------------------------------------------


def test_the_tree_costs_little_beside_its_swin_in_both_implementations():
    classes, tokens, width = 200, 196, 256
    with torch.device("meta"):
        model = create_model("vitnet", img_size=448, num_classes=classes).eval()
        counts = {}
        for model.impl in ("fast", "published"):
            counts[model.impl] = count_model(model, 448).by_label
    gates = 30 * (2 * tokens * width + 2 * width**2)
    nodes = tokens * 4 * width * width + gates + 16 * width * classes
    assert counts["fast"]["tree"].macs == nodes + 15 * tokens * width
    assert counts["published"]["tree"].macs == nodes + 15 * 2 * tokens * width  # squared lengths are a product, too
    for stages in counts.values():
        assert stages["fusion"].macs == 4 * width * classes
        assert stages["tree"].macs < 0.002 * stages["pass 1"].macs


@pytest.mark.parametrize(
    ("backbone", "options", "said"),
    [
        ("fgtest_vit", {}, "ViT-NeT is published on a Swin"),
        ("fgtest_resnet", {}, "ViT-NeT is published on a Swin"),
        ("fgtest_swin", {"tree_depth": 0}, "tree_depth"),
        ("fgtest_swin", {"tree_depth": 9}, "tree_depth"),
        ("fgtest_swin", {"prototype_order": "sorted"}, "unknown order of prototypes 'sorted'"),
        ("fgtest_swin", {"prototype_order": [0, 1]}, "each number from 0 to 14 once"),
        ("fgtest_swin", {"prototype_order": [0] * 15}, "each number from 0 to 14 once"),
        ("fgtest_swin", {"prototype_order": ["a"] * 15}, "each number from 0 to 14 once"),
        ("fgtest_swin", {"prototype_order": None}, "each number from 0 to 14 once"),
        ("fgtest_swin", {"hard": 1}, "hard must be True or False"),
        ("fgtest_swin", {"img_size": (64, 96)}, "needs square images"),
        ("fgtest_swin", {"head_init": "ones"}, "head_init"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(backbone, options, said):
    with pytest.raises(FgbenchError, match=said) as caught:
        create_model("vitnet", backbone, **{"img_size": 64, **options})
    assert "\n" not in str(caught.value)
