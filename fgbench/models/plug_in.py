"""Modules of PIM and HERBS: pyramids over the levels of a backbone, a classifier of every token, and the combiner."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench.models.pyramid import Level
from fgbench.models.token_ops import linear_weights, take


class TopDown(nn.Module):
    """Features of one width for every level; those of coarser levels are added to finer ones.

    Every level passes two linear layers. Then, from the last level to the first one, the sum so far is mapped to the
    positions of the level before and added there. The map is a learned matrix over positions, the same for all
    channels, so that it belongs to one image size; between the maps of a ResNet it is bilinear resizing.
    Source: PIM and HERBS, released codes.

    Args:
        levels: The levels of the backbone.
        width: F, channels of the features.
        bilinear: Resize instead of a learned map.
        between_equal: Whether there is a learned map between levels of as many tokens, too, as in HERBS.

    """

    def __init__(self, levels: Sequence[Level], width: int, *, bilinear: bool, between_equal: bool) -> None:
        super().__init__()
        self.project = nn.ModuleList(two_layers(level.width, level.width, width) for level in levels)
        self.steps = nn.ModuleList()  # number i leads from level i + 1 to level i, counted from 0
        for finer, coarser in pairwise(levels):
            if bilinear:
                self.steps.append(Resize(coarser.grid, finer.grid))
            elif between_equal or coarser.num_tokens != finer.num_tokens:
                self.steps.append(PositionMap(coarser.num_tokens, finer.num_tokens))
            else:
                self.steps.append(nn.Identity())

    def forward(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """Tokens (B, S, C) of every level → features (B, S, F) of every level."""
        features = [project(level) for project, level in zip(self.project, tokens, strict=True)]
        for index in range(len(features) - 1, 0, -1):
            features[index - 1] = features[index - 1] + self.steps[index - 1](features[index])
        return features


class BottomUp(nn.Module):
    """A second pyramid: two linear layers per level, then finer levels are mapped to coarser positions and added.

    Source: HERBS, released code.

    Args:
        levels: The levels of the backbone.
        width: F, channels of the features.

    """

    def __init__(self, levels: Sequence[Level], width: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(two_layers(width, width, width) for _ in levels)
        pairs = pairwise(levels)
        self.steps = nn.ModuleList(PositionMap(finer.num_tokens, coarser.num_tokens) for finer, coarser in pairs)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features (B, S, F) of every level → features (B, S, F) of every level."""
        found = [project(level) for project, level in zip(self.project, features, strict=True)]
        for index, step in enumerate(self.steps):
            found[index + 1] = found[index + 1] + step(found[index])
        return found


class PositionMap(nn.Module):
    """A learned matrix over positions, the same for all channels: tokens (B, S, F) → (B, S', F)."""

    def __init__(self, given: int, wanted: int) -> None:
        super().__init__()
        self.linear = nn.Linear(given, wanted)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, S, F) to (B, S', F)."""
        mapped: Tensor = self.linear(tokens.transpose(1, 2))
        return mapped.transpose(1, 2)


class Resize(nn.Module):
    """Bilinear resizing of a map of tokens (B, h·w, F) to another grid; nothing where the grids are equal."""

    def __init__(self, given: tuple[int, int], wanted: tuple[int, int]) -> None:
        super().__init__()
        self.given, self.wanted = given, wanted

    def forward(self, tokens: Tensor) -> Tensor:
        """Resize tokens (B, h·w, F) to (B, h'·w', F)."""
        if self.given == self.wanted:
            return tokens
        maps = tokens.transpose(1, 2).unflatten(2, self.given)
        return functional.interpolate(maps, self.wanted, mode="bilinear").flatten(2).transpose(1, 2)


class TokenClassifier(nn.Module):
    """A linear layer, normalisation over the batch, ReLU and a linear layer: logits of every token.

    Source: PIM, released code.

    Args:
        width: F, channels of a token.
        num_classes: Classes.

    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.hidden, self.norm = nn.Linear(width, width), nn.BatchNorm1d(width)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, S, F) → logits (B, S, classes)."""
        logits: Tensor = self.fc(self.activations(tokens))
        return logits

    def mean_logits(self, tokens: Tensor) -> Tensor:
        """The mean over all tokens (B, S, F) of their logits (B, classes), which are not computed one by one."""
        logits: Tensor = self.fc(self.activations(tokens).mean(dim=1))
        return logits

    def activations(self, tokens: Tensor) -> Tensor:
        """The input of the last layer (B, S, F)."""
        hidden = self.hidden(tokens)
        normed: Tensor = self.norm(hidden.flatten(0, 1)).relu()
        return normed.view(-1, *hidden.shape[1:])


class Combiner(nn.Module):
    """A graph on the selected tokens of all levels → logits (B, classes).

    A linear layer over the K selected tokens, in their order, makes J nodes of them. Their adjacency is learned; the
    part α · tanh(q_i − k_j) of it depends on the image, where q and k are means over channels of linear maps of the
    nodes. The nodes pass a linear layer, the adjacency and normalisation over the batch; a linear layer over nodes
    makes one vector of them, which is classified. At test everything but the adjacency is linear: see :meth:`folded`.
    Source: PIM, released code.

    Args:
        num_tokens: K, the selected tokens of all levels together.
        num_nodes: J.
        width: F, channels of a token.
        num_classes: Classes.
        dropout: Probability that a channel is dropped before the last layer in training.

    """

    def __init__(self, num_tokens: int, num_nodes: int, width: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.pool_in = nn.Linear(num_tokens, num_nodes)
        self.adjacency = nn.Parameter(torch.eye(num_nodes) / 100 + 1 / 100)
        self.alpha = nn.Parameter(torch.zeros(1))
        self.query, self.key = nn.Linear(width, width // 4), nn.Linear(width, width // 4)
        self.graph, self.norm = nn.Linear(width, width), nn.BatchNorm1d(width)
        self.pool_out = nn.Linear(num_nodes, 1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, features: Sequence[Tensor], index: Sequence[Tensor], *, published: bool = False) -> Tensor:
        """Combine the selected tokens.

        Args:
            features: Tokens (B, S, F) of every level.
            index: Selected tokens (B, k) of every level, in their order.
            published: Gather the tokens and compute all nodes, as training does.

        Returns:
            Logits (B, classes).

        """
        if published or self.norm.training:
            joined = self.dense(torch.cat([take(x, chosen) for x, chosen in zip(features, index, strict=True)], dim=1))
        else:
            joined = self.folded(features, index)
        logits: Tensor = self.fc(self.dropout(joined))
        return logits

    def dense(self, tokens: Tensor) -> Tensor:
        """The vector (B, F) that is classified, of the selected tokens (B, K, F): O(K·J·F + J·F²) per image."""
        nodes = self.pool_in(tokens.transpose(1, 2)).transpose(1, 2)  # (B, J, F)
        if self.norm.training and nodes.shape[0] * nodes.shape[1] == 1:
            raise FgbenchError("the combiner normalises over the batch; one node needs 2 images to train, got", 1)
        adjacency = self.adjacent(self.query(nodes).mean(dim=-1), self.key(nodes).mean(dim=-1))
        mixed = self.graph(nodes).transpose(1, 2) @ adjacency  # (B, F, J)
        joined: Tensor = self.pool_out(self.norm(mixed)).squeeze(-1)
        return joined

    def folded(self, features: Sequence[Tensor], index: Sequence[Tensor]) -> Tensor:
        """The vector (B, F) of :meth:`dense` at test, without nodes of F channels: O(S·F + F² + K·J) per image.

        With w the weights of ``pool_out`` and A the adjacency, the sum over nodes of w times the output of the graph is
        its linear layer applied to the nodes summed with weights A w, and that is a sum over tokens with weights P A w,
        where P are the weights of ``pool_in``. A follows from the products of the tokens with two vectors, the means of
        the rows of both linear maps. So no token is gathered: each gets its weight, 0 where it was not selected.

        Args:
            features: Tokens (B, S, F) of every level.
            index: Selected tokens (B, k) of every level.

        """
        (pool, pool_bias), (last, last_bias) = linear_weights(self.pool_in), linear_weights(self.pool_out)
        maps = [linear_weights(layer) for layer in (self.query, self.key)]
        rows = torch.stack([weight.mean(dim=0) for weight, _ in maps])  # (2, F)
        read = [functional.linear(x, rows).gather(1, pairs(chosen)) for x, chosen in zip(features, index, strict=True)]
        constant = pool_bias.unsqueeze(1) * rows.sum(dim=1) + torch.stack([bias.mean() for _, bias in maps])  # (J, 2)
        query, key = (pool @ torch.cat(read, dim=1) + constant).unbind(dim=-1)  # (B, J) each
        by_node = (self.adjacent(query, key) @ last.T).squeeze(-1)  # (B, J)
        by_token = (by_node @ pool).split([chosen.shape[1] for chosen in index], dim=1)
        summed = by_node @ pool_bias.unsqueeze(1)  # (B, 1), and for all channels
        for x, chosen, weights in zip(features, index, by_token, strict=True):
            spread = weights.new_zeros(x.shape[:2]).scatter(1, chosen, weights)
            summed = summed + (spread.unsqueeze(1) @ x).squeeze(1)
        graph, graph_bias = linear_weights(self.graph)
        mixed = functional.linear(summed, graph) + graph_bias * by_node.sum(dim=1, keepdim=True)
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - scale * norm.running_mean
        return scale * mixed + shift * last.sum() + last_bias

    def adjacent(self, query: Tensor, key: Tensor) -> Tensor:
        """The adjacency (B, J, J) of nodes by their queries and keys (B, J)."""
        return self.adjacency + self.alpha * (query.unsqueeze(2) - key.unsqueeze(1)).tanh()


def two_layers(given: int, hidden: int, wanted: int) -> nn.Sequential:
    """A linear layer, ReLU and a linear layer."""
    layers = {"first": nn.Linear(given, hidden), "activation": nn.ReLU(), "second": nn.Linear(hidden, wanted)}
    return nn.Sequential(OrderedDict(layers))


def pairs(index: Tensor) -> Tensor:
    """Indices (B, k) for two values each: (B, k, 2)."""
    return index.unsqueeze(-1).expand(-1, -1, 2)
