"""The tree of ViT-NeT: branches weigh their children by the patch nearest to a prototype, leaves have classes.

Branches are numbered in pre-order: a branch, those of its left side, those of its right side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench_selectors.backends.precision import accurate, without_autocast

NARROWING = 4  # tokens of the backbone are as many times as wide as those of the tree
NEARNESS = 1e-4  # what keeps the similarity of a patch that is the prototype finite
FIRST_PROTOTYPE, FIRST_SPREAD = 0.5, 0.1  # mean and standard deviation of prototypes when they are drawn
ORDERS = ("preorder", "released")


class PatchAttention(nn.Module):
    """A weight for every patch: the softmax over patches of a product with one vector.

    The released code adds a trained number to all products. It changes no weight, and no loss depends on it: it is a
    buffer here, which a loaded file sets.

    Args:
        width: C, width of the patches.

    """

    bias: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        drawn = nn.Linear(width, 1)
        self.weight = nn.Parameter(drawn.weight.detach().clone())
        self.register_buffer("bias", drawn.bias.detach().clone())

    def forward(self, patches: Tensor) -> Tensor:
        """(B, S, C) → (B, S, 1)."""
        return functional.linear(patches, self.weight, self.bias).softmax(dim=1)


class Gate(nn.Module):
    """What a branch hands on to one child: all patches, with the same context added to each, between 0 and 1.

    v = Σ softmax(z c) z over the patches z; sigmoid(LN(z + W₂ GELU(LN(W₁ v)))).
    Source: ViT-NeT, released code.

    Args:
        width: C, width of the patches.

    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = PatchAttention(width)
        self.hidden, self.hidden_norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.out, self.norm = nn.Linear(width, width), nn.LayerNorm(width)

    def forward(self, patches: Tensor) -> Tensor:
        """(B, S, C) → (B, S, C)."""
        weights = self.attention(patches)
        context = (weights.transpose(1, 2) @ patches).squeeze(1)
        context = self.out(functional.gelu(self.hidden_norm(self.hidden(context))))
        gated: Tensor = self.norm(patches + context.unsqueeze(1)).sigmoid()
        return gated


class Leaf(nn.Module):
    """A distribution over classes, by the largest value of every channel and the logits of the backbone.

    Args:
        width: C, width of the patches.
        classes: Number of classes.

    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.predict, self.class_norm = nn.Linear(width, classes), nn.LayerNorm(classes)

    def forward(self, patches: Tensor, logits: Tensor) -> Tensor:
        """Patches (B, S, C) and logits (B, classes) → (B, classes), which sum to 1."""
        found: Tensor = self.class_norm(self.predict(patches.amax(dim=1)) + logits)
        return accurate(found).softmax(dim=-1)


class Branch(nn.Module):
    """Two children, and a gate before each."""

    def __init__(self, left: Node, right: Node, width: int) -> None:
        super().__init__()
        self.left, self.right = left, right
        self.left_gate, self.right_gate = Gate(width), Gate(width)


Node = Branch | Leaf


class PrototypeTree(nn.Module):
    """A complete binary tree with a prototype for every branch.

    The similarity of a patch at the distance d from the prototype is log((d + 1)/(d + 10⁻⁴)). The largest one of all
    patches is the weight of the left child, and 1 minus it that of the right one: it can exceed 1, and the other weight
    is negative then. The prediction is the sum of the leaves' distributions, weighed by the products of the weights on
    their paths. It sums to 1.
    Source: ViT-NeT (Kim et al., ICML 2022); released code.

    Args:
        width: D, width of the backbone's tokens; a quarter of it is that of the tree.
        classes: Number of classes.
        depth: Branches on the path to a leaf.
        order: The prototype of every branch in pre-order; ``preorder``, the same numbers; or ``released``, the order
            of a set of modules as the released code makes it, which is another one in every process.

    Raises:
        FgbenchError: If the order is none of the prototypes.

    """

    def __init__(self, width: int, classes: int, depth: int, order: str | Sequence[int] = "preorder") -> None:
        super().__init__()
        own = width // NARROWING
        self.depth = depth
        self.narrow = nn.Linear(width, own, bias=False)
        self.root = _grown(own, classes, depth)
        self.prototypes = nn.Parameter(torch.empty(2**depth - 1, own, 1, 1))
        self.order = prototype_order(order, self.root)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw prototypes and the first layer as the released code does; the other layers are torch's own."""
        nn.init.normal_(self.prototypes, FIRST_PROTOTYPE, FIRST_SPREAD)
        nn.init.xavier_normal_(self.narrow.weight)

    def forward(self, tokens: Tensor, logits: Tensor, *, published: bool, hard: bool = False) -> Tensor:
        """The prediction of the tree.

        Args:
            tokens: (B, S, D), normalised.
            logits: Logits of the backbone (B, classes).
            published: Whether the nodes are run one by one; otherwise all nodes of a level together.
            hard: Whether the heavier child of every branch gets all the weight.

        Returns:
            (B, classes), which sum to 1, in float32 or better; entries can be negative.

        """
        patches = self.narrow(tokens).sigmoid()
        if published or not isinstance(self.narrow.weight, Tensor):  # weights of quantized layers are packed
            return self._walk(self.root, patches, logits, iter(self.order), hard)
        return self._by_levels(patches, logits, hard)

    def _walk(self, node: Node, patches: Tensor, logits: Tensor, order: Iterator[int], hard: bool) -> Tensor:
        """The distribution (B, classes) of a node and all below it."""
        if isinstance(node, Leaf):
            leaf: Tensor = node(patches, logits)
            return leaf
        similarities = similarity(convolved_distances(patches, self.prototypes[next(order)]))
        weight = _decided(similarities.amax(dim=-1, keepdim=True), hard)
        left = self._walk(node.left, node.left_gate(patches), logits, order, hard)
        right = self._walk(node.right, node.right_gate(patches), logits, order, hard)
        return weight * left + (1 - weight) * right

    def path(self, tokens: Tensor) -> Tensor:
        """What an image is decided by: the branches on its path, which leads to the heavier child of each.

        Args:
            tokens: (B, S, D), normalised.

        Returns:
            Similarities (B, depth, S) of all patches to the prototypes of these branches, from the root on.

        """
        found: list[Tensor] = []
        node = torch.zeros(tokens.shape[0], 1, 1, dtype=torch.long, device=tokens.device)  # in its level
        for squared in self._descend(self.narrow(tokens).sigmoid())[0]:
            own = similarity(squared.gather(1, node.expand(-1, 1, squared.shape[2])))
            found.append(own)
            node = 2 * node + (own.amax(dim=2, keepdim=True) <= 0.5)
        return torch.cat(found, dim=1)

    def _by_levels(self, patches: Tensor, logits: Tensor, hard: bool) -> Tensor:
        """The distribution (B, classes) of the root, level by level."""
        distances, leaves, largest = self._descend(patches)
        weights = accurate(patches).new_ones(patches.shape[0], 1)
        for squared in distances:
            left = _decided(similarity(squared.amin(dim=2)), hard)
            weights = torch.stack((weights * left, weights * (1 - left)), dim=2).flatten(1)
        return (weights.unsqueeze(2) * classify_at_leaves(leaves, largest, logits)).sum(dim=1)

    def _descend(self, patches: Tensor) -> tuple[list[Tensor], list[Leaf], Tensor]:
        """Run the gates level by level.

        Args:
            patches: (B, S, C).

        Returns:
            Of each level the squared distances (B, n, S) of the patches from the prototypes of its branches; the
            leaves; and the largest values (B, leaves, C) of the channels that they see.

        """
        patches, distances = patches.unsqueeze(1), list[Tensor]()
        prototypes = self.prototypes.flatten(1).unbind()
        level: list[tuple[int, Any]] = [(0, self.root)]  # nodes with their numbers among the branches
        for below in (2**height - 1 for height in reversed(range(self.depth))):  # branches on each side of one
            nearest = torch.stack([prototypes[self.order[number]] for number, _ in level])
            distances.append(squared_distances(patches, nearest))
            gates = [gate for _, branch in level for gate in (branch.left_gate, branch.right_gate)]
            patches = open_gates(gates, patches, only_largest=not below)
            level = [
                child
                for number, branch in level
                for child in ((number + 1, branch.left), (number + 1 + below, branch.right))
            ]
        return distances, [leaf for _, leaf in level], patches


def _grown(width: int, classes: int, depth: int) -> Node:
    """A complete tree, whose left side is made first."""
    if not depth:
        return Leaf(width, classes)
    left = _grown(width, classes, depth - 1)
    return Branch(left, _grown(width, classes, depth - 1), width)


# Prototypes -----------------------------------------------------------------------------------------------------------


def prototype_order(order: str | Sequence[int], root: Node) -> list[int]:
    """The prototype of every branch in pre-order.

    Args:
        order: ``preorder``, ``released`` or the numbers of the prototypes.
        root: The tree.

    Returns:
        A permutation of the numbers of the branches.

    Raises:
        FgbenchError: If it is none.

    """
    branches = list(branches_of(root))
    numbers = list(range(len(branches)))
    if isinstance(order, str):
        if order not in ORDERS:
            raise FgbenchError("unknown order of prototypes", order, f"known: {', '.join(ORDERS)}, or a list")
        if order == "preorder":
            return numbers
        place = {branch: prototype for prototype, branch in enumerate(branches_in_a_set(root))}
        return [place[branch] for branch in branches]
    if not isinstance(order, (list, tuple)) or any(isinstance(n, bool) for n in order) or sorted(order) != numbers:
        raise FgbenchError(f"an order of prototypes has each number from 0 to {numbers[-1]} once, got", order)
    return list(order)


def branches_of(node: Node) -> Iterator[Branch]:
    """The branches of a tree in pre-order."""
    if isinstance(node, Branch):
        yield node
        yield from branches_of(node.left)
        yield from branches_of(node.right)


def branches_in_a_set(node: Node) -> set[Branch]:
    """The branches of a tree in a set, made as the released code makes it.

    A module is hashed by its address in memory, so that each process iterates in an order of its own.
    """
    if isinstance(node, Leaf):
        return set()
    return {node}.union(branches_in_a_set(node.left)).union(branches_in_a_set(node.right))


def convolved_distances(patches: Tensor, prototype: Tensor) -> Tensor:
    """Squared distances of patches from a prototype by two convolutions, as published.

    Args:
        patches: (B, S, C), S a square number.
        prototype: (C, 1, 1).

    Returns:
        (B, S), in float32 or better.

    """
    with without_autocast(patches.device):
        side, kernel = math.isqrt(patches.shape[1]), accurate(prototype).unsqueeze(0)
        image = accurate(patches).transpose(1, 2).unflatten(2, (side, side))
        lengths = functional.conv2d(image.square(), torch.ones_like(kernel))
        products = functional.conv2d(image, kernel)
        return (lengths + (kernel.square().sum() - 2 * products)).flatten(1)


def squared_distances(patches: Tensor, prototypes: Tensor) -> Tensor:
    """Squared distances of patches (B, n, S, C) from the prototype of each node (n, C): (B, n, S), float32 or better.

    Rounding can make a distance of 0 a little negative.
    """
    with without_autocast(patches.device):
        patches, prototypes = accurate(patches), accurate(prototypes)
        products = (patches @ prototypes.unsqueeze(-1)).squeeze(-1)
        lengths = patches.square().sum(dim=-1)
        return lengths + (prototypes.square().sum(dim=-1).unsqueeze(-1) - 2 * products)


def similarity(squared: Tensor) -> Tensor:
    """log((d + 1)/(d + 10⁻⁴)) of squared distances d²; at d = 0, where the root has no derivative, it gets none."""
    is_apart = squared > 0
    distance = torch.where(is_apart, torch.where(is_apart, squared, 1.0).sqrt(), 0.0)
    return ((distance + 1) / (distance + NEARNESS)).log()


def _decided(weight: Tensor, hard: bool) -> Tensor:
    """The weight of the left child; of a hard decision 1 where it is more than that of the right one, else 0."""
    return (weight > 1 - weight).to(weight.dtype) if hard else weight


# Nodes of a level together --------------------------------------------------------------------------------------------


def stacked(modules: Sequence[Any], read: Callable[[Any], Tensor]) -> Tensor:
    """A weight of several modules, one after the other in a new first axis."""
    return torch.stack([read(module) for module in modules])


def open_gates(gates: Sequence[Gate], patches: Tensor, *, only_largest: bool) -> Tensor:
    """Run the gates of all children of a level.

    Args:
        gates: Two for every node.
        patches: Patches of every node (B, n, S, C).
        only_largest: Whether the largest value of every channel is returned; the sigmoid keeps their order.

    Returns:
        Patches of every child (B, 2n, S, C), or (B, 2n, C).

    """
    nodes, width = patches.shape[1], patches.shape[3]
    attention = stacked(gates, lambda gate: gate.attention.weight).view(nodes, 2, width)
    weights = (patches @ attention.transpose(1, 2)).softmax(dim=2)
    context = (weights.transpose(2, 3) @ patches).flatten(1, 2).transpose(0, 1)  # (2n, B, C)
    context = _linear_of_each(gates, "hidden", context)
    context = _norm_of_each(gates, "hidden_norm", context, 1)
    context = _linear_of_each(gates, "out", functional.gelu(context))
    added = context.transpose(0, 1).unflatten(1, (nodes, 2)).unsqueeze(3)  # (B, n, 2, 1, C)
    gated = _norm_of_each(gates, "norm", (patches.unsqueeze(2) + added).flatten(1, 2), 1)
    return (gated.amax(dim=2) if only_largest else gated).sigmoid()


def classify_at_leaves(leaves: Sequence[Leaf], largest: Tensor, logits: Tensor) -> Tensor:
    """Distributions (B, n, classes) of the leaves, by the largest values (B, n, C) and the backbone's logits."""
    found = _linear_of_each(leaves, "predict", largest.transpose(0, 1)) + logits
    return accurate(_norm_of_each(leaves, "class_norm", found, 1)).softmax(dim=-1).transpose(0, 1)


def _linear_of_each(modules: Sequence[Any], name: str, x: Tensor) -> Tensor:
    """(n, B, inputs) → (n, B, outputs), by a linear layer of each module."""
    weight = stacked(modules, lambda module: getattr(module, name).weight)
    bias = stacked(modules, lambda module: getattr(module, name).bias)
    return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))


def _norm_of_each(modules: Sequence[Any], name: str, x: Tensor, after: int) -> Tensor:
    """LayerNorm over the last axis, with the weights of each module; ``after`` axes lie between theirs and the last."""
    first: nn.LayerNorm = getattr(modules[0], name)
    shape = (len(modules), *[1] * after, x.shape[-1])
    weight = stacked(modules, lambda module: getattr(module, name).weight).view(shape)
    bias = stacked(modules, lambda module: getattr(module, name).bias).view(shape)
    return functional.layer_norm(x, x.shape[-1:], eps=first.eps) * weight + bias
