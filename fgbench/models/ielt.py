"""IELT (Xu et al., TMM 2023): heads vote for tokens after every block, and once more in a cross-layer block."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.models.encoder import State, run_for_chosen, run_recorded
from fgbench.models.initialization import start_block
from fgbench.models.last_block import RELEASED_BLOCK, LastBlockModel
from fgbench.models.model import Explanation
from fgbench.models.options import number, one_of, whole_number
from fgbench.models.processes import of_all_processes
from fgbench.models.token_ops import best, linear_weights, take
from fgbench_selectors import QK, Maps, Needs, Selector
from fgbench_selectors.mhv import count_votes

MOST_TOKENS, FEWEST_TOKENS = 16, 6  # of the first and last, and of the middle block in the published schedule
MOMENTUM = 0.999  # of the shares of blocks
NEARLY_WHOLE = 1e-3  # the end of a share that is higher by less than this is a whole number, but for rounding
TIES = ("first", "released")


class IELT(LastBlockModel):
    """One pass: L − 1 blocks, tokens voted for after each, a block on them, a second vote, block L on its tokens.

    The class token of block L − 1 and the tokens selected from every block's output go through the cross-layer block.
    The class token's attention there votes for key tokens; block L runs on the class token of block L − 1 and the key
    tokens. One head reads both class tokens: logits = W x + b + assist, where assist = softmax(W r + b) times the sum
    of each row of W, r is the class token of the cross-layer block and x that of block L. The class token is never
    selected. The loss is the cross-entropy of the logits and of W r + b.

    In training, from an epoch on, blocks whose tokens become key tokens get more tokens (:meth:`move_shares`). The
    shares are saved with the weights, which the released code does not do.
    Source: IELT, released code.

    Args:
        backbone: timm's name.
        selector: MHV by default.
        num_tokens: Selected tokens per block: a number for all blocks, a list with one per block, or None for the
            published schedule, from 16 down to 6 and up to 16 again: for CUB and NABirds; other sets have 11.
        num_key_tokens: Key tokens; all selected tokens where there are fewer.
        votes: Tokens that each head votes for, in both votes.
        ties: Order of tokens with equal votes, of which there are many: ``first``, the first one in reading order and
            of the first block; ``released``, by an unstable sort of float16, whose order depends on the device.
        loss_weight: Weight of the cross-entropy of the logits; that of the cross-layer prediction has the rest.
        update_warm: Epochs before tokens are shared anew; None keeps the schedule.
        options: Options of :class:`LastBlockModel`.

    """

    group = "tokens"
    year = 2023
    published_selector = "mhv"
    accepts = (("batch", "blocks", "patches"), ("batch", "blocks", "tokens"))
    released_head = "zeros"
    released_last_norm = True
    buffers_of_training = ("token_shares",)

    def __init__(
        self,
        backbone: str | None = None,
        *,
        selector: str | Selector | None = None,
        num_tokens: int | Sequence[int] | None = None,
        num_key_tokens: int = 24,
        votes: int = 24,
        ties: str = "first",
        loss_weight: float = 0.6,
        update_warm: int | None = 10,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.votes = whole_number(votes, "votes", 1)
        self.num_key_tokens = whole_number(num_key_tokens, "num_key_tokens", 1)
        self.ties, self.loss_weight = one_of(ties, "order of ties", TIES), number(loss_weight, "loss_weight", 0, 1)
        self.update_warm = None if update_warm is None else whole_number(update_warm, "update_warm", 0)
        self.selector: Selector = self.use_selector(selector, depth=self.encoder.depth - 1, votes=self.votes)
        self.num_tokens = self.schedule(num_tokens)
        self.tokens_per_block = self.num_tokens  # as training has changed it
        self.epoch = 0
        self.token_shares: Tensor | None
        self.register_buffer("token_shares", None)  # (L − 1,), their sum is 1; made by the first step of training

    def build_own_layers(self) -> None:
        """Build the cross-layer block and its norm, like those of the backbone."""
        self.cross_layer_block: nn.Module = copy.deepcopy(self.encoder.vit.blocks[-1])
        self.cross_layer_norm: Any = copy.deepcopy(self.encoder.last_norm)
        start_block(self.cross_layer_block, "timm", released=RELEASED_BLOCK)

    def start_from_backbone(self) -> tuple[str, ...]:
        """Draw both blocks that follow the selection and the head; set their norms to 1 and 0.

        With ``fresh_last_block=False`` the cross-layer block is a copy of the last one, and with
        ``fresh_last_norm=False`` its norm is a copy of the last one.
        """
        names = super().start_from_backbone()
        if not self.fresh_last_block:
            self.cross_layer_block.load_state_dict(self.encoder.vit.blocks[-1].state_dict())
        if not self.fresh_last_norm:
            self.cross_layer_norm.load_state_dict(self.encoder.last_norm.state_dict())
        elif hasattr(self.cross_layer_norm, "reset_parameters"):
            self.cross_layer_norm.reset_parameters()
        return (*names, "cross_layer_block.", "cross_layer_norm.")

    def start_last_block(self) -> tuple[str, ...]:
        """Draw the last block and the cross-layer block anew, unless ``fresh_last_block`` is False."""
        if self.fresh_last_block:
            start_block(self.cross_layer_block, self.block_init, released=RELEASED_BLOCK)
        return super().start_last_block()

    def schedule(self, num_tokens: int | Sequence[int] | None) -> list[int]:
        """The selected tokens of every block.

        Args:
            num_tokens: The option.

        Raises:
            FgbenchError: If a number is out of range, or there are as many as blocks.

        """
        blocks, patches = len(self.selecting_blocks(self.selector.needs)), self.encoder.num_patches
        if num_tokens is None:
            return [min(k, patches) for k in published_schedule(blocks)]
        if not isinstance(num_tokens, (list, tuple)):
            return [whole_number(num_tokens, "num_tokens", 1, patches)] * blocks
        if len(num_tokens) != blocks:
            raise FgbenchError(f"num_tokens needs a number for each of {blocks} blocks, got", list(num_tokens))
        return [whole_number(k, "num_tokens", 1, patches) for k in num_tokens]

    def selecting_blocks(self, needs: Needs) -> range:
        """Indices, from 0, of the blocks that a selector with these needs reads, and whose tokens are selected."""
        return self.encoder.recorded_blocks(needs, self.depth_for(needs))

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, scores (B, L − 1, G²), the selected patches (B, Σ K), block by block.

        Heads are ``key``, W x + b, and ``cross-layer``, W r + b.
        """
        return self.vote_twice(images)[0]

    def explain(self, images: Tensor) -> Explanation:
        """The forward pass with the boxes of the selected patches (B, Σ K, 4)."""
        return self.with_patch_boxes(self.flow(images))

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted cross-entropies of the logits and of the cross-layer prediction, and the logits.

        In training, after ``update_warm`` epochs, the shares of the blocks are moved.
        """
        result, places = self.vote_twice(images)
        loss = self.loss_weight * self.cross_entropy(result.logits, targets)
        loss = loss + (1 - self.loss_weight) * self.cross_entropy(result.heads["cross-layer"], targets)
        if self.training and self.update_warm is not None and self.epoch > self.update_warm:
            self.move_shares(places)
        return loss, result.logits

    def vote_twice(self, images: Tensor) -> tuple[Explanation, Tensor]:
        """The forward pass of images (B, 3, S, S), and the places (B, K) of key tokens among the selected ones."""
        state, features = self.step("pass 1", self.all_but_last, images, self.selector, hidden=True)
        scores = self.step("selector", self.selector, features)
        tokens, index = self.step("fusion", self.collect, state, scores)
        cross, chosen, places = self.step("fusion", self.cross_layers, tokens)
        token = self.step("fusion", self.last_block_on, state, chosen)
        logits, heads = self.step("fusion", self.classify, token, cross)
        return Explanation(logits, scores, index, heads=heads), places

    def collect(self, state: State, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Collect the class token and the selected tokens of every block.

        Args:
            state: The state after block L − 1.
            scores: (B, L − 1, G²) or (B, L − 1, N).

        Returns:
            Tokens (B, 1 + Σ K, D), and the selected patches (B, Σ K).

        """
        patches, prefix = self.encoder.num_patches, self.encoder.prefix_of(state)
        chosen, indices = [state.tokens[:, :1]], []
        blocks = self.selecting_blocks(self.selector.needs)
        for row, (block, k) in enumerate(zip(blocks, self.tokens_per_block, strict=True)):
            if k:  # a block can lose all of its tokens in training
                indices.append(self.order(scores[:, row, -patches:], k))
                chosen.append(self.encoder.tokens_at(state, indices[-1] + prefix, block))
        return torch.cat(chosen, dim=1), torch.cat(indices, dim=1)

    def cross_layers(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the cross-layer block on the collected tokens, and vote for key tokens by its attention.

        The fast implementation computes the class token and the key tokens alone.

        Args:
            tokens: (B, 1 + Σ K, D).

        Returns:
            Normalised after the block, the class token (B, D) and the key tokens (B, K, D); the places (B, K) of key
            tokens among the collected ones.

        """
        if self.published:
            out, attention = run_recorded(self.cross_layer_block, tokens, maps=True)
            index = self.vote(attention)
            out = take(self.cross_layer_norm(out), index)
            return out[:, 0], out[:, 1:], index[:, 1:] - 1
        indices: list[Tensor] = []

        def choose(attention: QK) -> Tensor:
            indices.append(self.vote(attention))
            return indices[0]

        out = self.cross_layer_norm(run_for_chosen(self.cross_layer_block, tokens, choose))
        return out[:, 0], out[:, 1:], indices[0][:, 1:] - 1

    def vote(self, attention: QK | Maps) -> Tensor:
        """The class token and the tokens that most heads vote for by its attention: indices (B, 1 + K)."""
        counts = count_votes(attention.row(0)[..., 1:], self.votes)
        index = self.order(counts, min(self.num_key_tokens, counts.shape[-1]))
        return torch.cat([torch.zeros_like(index[:, :1]), index + 1], dim=1)

    def order(self, votes: Tensor, k: int) -> Tensor:
        """Indices (B, k) of the tokens with most votes (B, M); ``ties`` says which of equal ones come first."""
        if self.ties == "released":
            return votes.half().sort(dim=-1, descending=True).indices[..., :k]
        return best(votes, k)

    def classify(self, token: Tensor, cross: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits (B, classes), and both heads, by the class tokens (B, D) of block L and the cross-layer block."""
        heads = {"key": self.head(token), "cross-layer": self.head(cross)}
        weight, _ = linear_weights(self.head)
        return heads["key"] + heads["cross-layer"].softmax(dim=-1) * weight.sum(dim=1), heads

    # Shares of blocks -------------------------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:
        """Count the epochs, of which the first ``update_warm`` keep the schedule."""
        super().begin_epoch(epoch)
        self.epoch = epoch

    def make_room(self, names: Collection[str]) -> None:
        """Create the shares, in proportion to the schedule."""
        if "token_shares" in names and self.token_shares is None:
            tokens = torch.tensor(self.num_tokens, dtype=torch.float32, device=next(self.parameters()).device)
            self.token_shares = tokens / tokens.sum()

    def weights_loaded(self) -> None:
        """Take the tokens of every block from the shares."""
        if self.token_shares is not None and not self.token_shares.is_meta:
            numbers = (sum(self.num_tokens) * self.token_shares.double()).round().long().tolist()
            self.tokens_per_block = [min(k, self.encoder.num_patches) for k in numbers]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        self.make_room([name.removeprefix(prefix) for name in state_dict])
        super()._load_from_state_dict(state_dict, prefix, *others)
        self.weights_loaded()

    @torch.no_grad()
    def move_shares(self, places: Tensor) -> None:
        """Move the shares of the blocks a thousandth of the way to those of the key tokens.

        A block's number of tokens is its share of all tokens of the schedule, rounded half to even; their sum can be
        another one. A place belongs to the block whose share of the places it lies in, by numbers that are not rounded;
        places beyond the last share belong to none.

        Args:
            places: Places (B, K) of key tokens among the selected ones, from 0.

        """
        self.make_room(["token_shares"])
        assert self.token_shares is not None
        shares, total = self.token_shares.float(), sum(self.num_tokens)
        ends = ((total * shares).cumsum(dim=0) - NEARLY_WHOLE).ceil()
        block = torch.bucketize(of_all_processes(places).flatten().to(ends.dtype), ends, right=True)
        numbers = (block.unsqueeze(1) == torch.arange(len(shares), device=block.device)).sum(dim=0)
        moved = MOMENTUM * shares + (1 - MOMENTUM) * numbers / numbers.sum().clamp_min(1)
        self.token_shares.copy_(moved / moved.sum())
        self.weights_loaded()


def published_schedule(blocks: int) -> list[int]:
    """Selected tokens of every block: 16 in the first and the last, 6 in the middle, evenly between.

    For 11 blocks it is that of the released code: 16 14 12 10 8 6 8 10 12 14 16.
    """
    steps = [abs(2 * place / (blocks - 1) - 1) if blocks > 1 else 1.0 for place in range(blocks)]
    return [round(FEWEST_TOKENS + (MOST_TOKENS - FEWEST_TOKENS) * step) for step in steps]
