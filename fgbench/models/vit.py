"""ViT (Dosovitskiy et al., ICLR 2021): the plain baseline."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.models.backbone import create_with_timm
from fgbench.models.checkpoints.names import EVO_VIT, FGBENCH, written_options
from fgbench.models.model import Explanation
from fgbench.models.options import one_of, whole_number
from fgbench.models.reductions.build import refuse_padding
from fgbench.models.vision_transformer import VisionTransformerModel as VisionTransformerModel  # its earlier home

READOUTS = ("timm", "class_token", "mean_patch")
MOST_BLOCKS = 1000


class ViT(VisionTransformerModel):
    """timm's vision transformer: one pass without selection.

    Source: Dosovitskiy et al., ICLR 2021, section 3.1; GLSim's baseline, section 4; timm.

    Args:
        backbone: timm's name.
        readout: ``timm``, the pooling, last norm and heads that timm has for the backbone: the class token for most,
            the mean of the patches for EVA-02 and the ``gap`` models, attention pooling for SigLIP, the mean of two
            heads for distilled DeiT. ``class_token``, the class token with one head, for files that were trained so.
            ``mean_patch``, the norm of the mean of all patches, as Evo-ViT; in training the class token has a norm and
            a head of its own, and the loss is the mean of both cross-entropies.
        depth: Number of blocks; those of the backbone by default. Further ones are copies of the last whose branches
            begin at 0, so that the network computes the same at first; with fewer the last ones are left out.
        options: Options of :class:`VisionTransformerModel`.

    Raises:
        FgbenchError: If the backbone has no class token and ``readout`` is ``class_token``.

    """

    year = 2021
    two_impls = False
    needs_class_token = False
    needs_squares = False

    def __init__(
        self, backbone: str | None = None, *, readout: str = "timm", depth: int | None = None, **options: Any
    ) -> None:
        self.readout = one_of(readout, "readout", READOUTS)
        self.depth = None if depth is None else whole_number(depth, "depth", 1, MOST_BLOCKS)
        self._file_is_of_backbone = True
        super().__init__(backbone, **options)
        if readout != "timm" and not self.encoder.has_class_token:
            raise FgbenchError("the backbone has no class token to classify by:", self.encoder.name, "readout='timm'")
        reads_all = readout == "mean_patch" or (readout == "timm" and self.encoder.vit.global_pool != "token")
        if reads_all:
            refuse_padding(self.reduction, self.encoder.name)
        reads_patches = readout == "mean_patch"
        self.class_norm: nn.Module | None = copy.deepcopy(self.encoder.last_norm) if reads_patches else None
        self.class_head: nn.Module | None = copy.deepcopy(self.head) if reads_patches else None

    @property
    def reads_as_backbone(self) -> bool:
        """True: the readout is that of timm, or was chosen."""
        return True

    def change_blocks(self, vit: Any) -> None:
        """Leave out the last blocks, or append copies of the last one."""
        own = len(vit.blocks)
        if self.depth is None or self.depth == own:
            return
        if self.depth > own and getattr(vit, "rope_mixed", False):  # its positions belong to single blocks
            raise FgbenchError(f"every block has positions of its own; depth must be 1 to {own}, got", self.depth)
        if self.depth < own:
            vit.blocks = vit.blocks[: self.depth]
            return
        for _ in range(self.depth - own):
            block = copy.deepcopy(vit.blocks[-1])
            with torch.no_grad():
                for branch in last_layers(block):
                    for parameter in branch.parameters():
                        parameter.zero_()
            vit.blocks.append(block)

    def drop_other_readouts(self, vit: Any) -> None:
        """Use timm's second head, or remove modules that the class-token readout does not use."""
        self.head_dist: nn.Module | None = getattr(vit, "head_dist", None) if self.readout == "timm" else None
        if self.readout != "timm":
            super().drop_other_readouts(vit)
        elif self.head_dist is not None:
            vit.head_dist = nn.Identity()

    def leaves_out(self, name: str) -> bool:
        """Other readouts than timm's leave out a second head and attention pooling, a smaller depth the last blocks."""
        unused = ("head_dist.", "encoder.vit.attn_pool.")
        _, is_block, rest = name.partition("encoder.vit.blocks.")
        index = rest.partition(".")[0]
        if self.depth is not None and is_block and index.isdigit():
            return self._file_is_of_backbone and int(index) >= self.depth
        return self.readout != "timm" and name.startswith(unused)

    def adapt(
        self, source: str, weights: Mapping[str, Tensor], metadata: Mapping[str, str]
    ) -> tuple[list[str], Callable[[], None]]:
        """Read the class token where a file of fgbench was written before there was another readout."""
        vit: Any = self.encoder.vit
        self._file_is_of_backbone = source != FGBENCH  # blocks of a trained model are not left out without a word
        if source == EVO_VIT.name and self.readout != "mean_patch":
            do = "build the model with readout='mean_patch'"
            raise FgbenchError(
                "a file of Evo-ViT classifies by the mean of all patches, and the model by", self.readout, do
            )
        is_earlier_file = source == "fgbench" and "options" not in metadata and "head_dist.weight" not in weights
        if not is_earlier_file:
            self.refuse_variant("readout", written_options(metadata).get("readout", "timm"))
        reads_class_token = self.readout == "class_token" or (vit.global_pool == "token" and self.head_dist is None)
        if source != "fgbench" or "options" in metadata or reads_class_token or not self.encoder.has_class_token:
            return [], lambda: None
        if metadata.get("format") != "fgbench" and (self.head_dist is None or "head_dist.weight" in weights):
            return ["the file does not say what its classifier reads; timm's readout is assumed"], lambda: None
        readout, head_dist, attn_pool = self.readout, self.head_dist, getattr(vit, "attn_pool", None)
        options = self.options

        def undo() -> None:
            self.readout, self.head_dist = readout, head_dist
            self.options, self.adapted = options, {}
            if attn_pool is not None:
                vit.attn_pool = attn_pool

        self.readout, self.head_dist = "class_token", None
        VisionTransformerModel.drop_other_readouts(self, vit)
        self.adapted = {"readout": self.readout}
        self.options = self.options | self.adapted
        return ["the class token is read, as it was when the file was written (readout='class_token')"], undo

    def start_from_backbone(self) -> tuple[str, ...]:
        """Draw the head; a second norm and head start like the first, further blocks as they were built."""
        own = self.encoder.depth if self.depth is None else own_depth(self.encoder.name)
        names = tuple(f"encoder.vit.blocks.{index}." for index in range(own, self.encoder.depth))
        names += super().start_from_backbone()
        if self.class_norm is None or self.class_head is None:
            return names
        self.class_norm.load_state_dict(self.encoder.last_norm.state_dict())
        self.class_head.load_state_dict(self.head.state_dict())
        return (*names, "class_norm.", "class_head.")

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The cross-entropy, or the mean of those of both heads; and the logits."""
        if self.class_head is None or not self.training:
            return super().loss(images, targets)
        tokens = self.encode(images)
        logits = self.classify(tokens)
        return self.cross_entropy(logits, targets, self.class_head(tokens[:, 1])) / 2, logits

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits."""
        tokens = self.step("pass 1", self.encode, images)
        return Explanation(self.step("fusion", self.classify, tokens))

    def encode(self, images: Tensor) -> Tensor:
        """The tokens (B, N, D) of images (B, 3, S, S) that the classifier reads."""
        if self.readout == "class_token":
            return self.encoder(images)  # type: ignore[no-any-return]
        state = self.start(images)
        self.encoder.run(state, range(self.encoder.depth))
        if self.class_norm is not None:
            patches = state.tokens[:, self.encoder.prefix_of(state) :]
            mean = self.encoder.norm(patches.mean(dim=1, keepdim=True))
            first = state.tokens[:, :1]
            return torch.cat([mean, self.class_norm(first)], dim=1) if self.training else mean
        tokens: Tensor = self.encoder.vit.norm(state.tokens)
        return tokens

    def classify(self, tokens: Tensor) -> Tensor:
        """The logits (B, classes) of tokens (B, N, D)."""
        if self.readout != "timm":
            logits: Tensor = self.head(tokens[:, 0])
        elif self.head_dist is not None:
            drop = self.encoder.vit.head_drop
            logits = (self.head(drop(tokens[:, 0])) + self.head_dist(drop(tokens[:, 1]))) / 2
        else:
            logits = self.head(self.encoder.vit.forward_head(tokens, pre_logits=True))
        return logits


def last_layers(block: nn.Module) -> list[nn.Module]:
    """The last layers of the two branches of a block.

    Raises:
        FgbenchError: If the block has other branches.

    """
    attention, mlp = getattr(block, "attn", None), getattr(block, "mlp", None)
    layers = [getattr(attention, "proj", None), getattr(mlp, "fc2", getattr(mlp, "w3", None))]
    found = [layer for layer in layers if isinstance(layer, nn.Module)]
    if len(found) < len(layers):
        raise FgbenchError("no block can be added to blocks of this kind:", type(block).__name__, "leave depth out")
    return found


def own_depth(backbone: str) -> int:
    """The number of blocks that timm has for a backbone."""
    with torch.device("meta"):
        vit: Any = create_with_timm(backbone, 1)
    return len(vit.blocks)
