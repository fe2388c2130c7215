"""Tokens of several levels of a timm backbone: the stages of a Swin or a ResNet, blocks of a plain ViT."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.models.resnet import ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn

from fgbench.backbone_shape import grid_of
from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.models.backbone import build_vit, create_with_timm, for_timm, is_backbone
from fgbench.models.encoder import Encoder
from fgbench.models.options import check_images, number, one_of, whole_number
from fgbench.results.image_size import ImageSize, height_width

SWIN, VIT, RESNET = "swin", "vit", "resnet"
LEVELS = 4  # of a Swin and a ResNet, and of a ViT by default
BLOCKS = ("last", "even")


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of a pyramid.

    Args:
        width: C, channels of a token.
        grid: Rows and columns of its patches.
        stride: Pixels from one patch to the next.
        num_prefix_tokens: Tokens before the patches: the class token and registers of a ViT.

    """

    width: int
    grid: tuple[int, int]
    stride: int
    num_prefix_tokens: int = 0

    @property
    def num_patches(self) -> int:
        """Number of patches."""
        return self.grid[0] * self.grid[1]

    @property
    def num_tokens(self) -> int:
        """S: prefix tokens and patches."""
        return self.num_prefix_tokens + self.num_patches


class Pyramid(nn.Module):
    """A timm backbone whose stages can be read: ``pyramid(images)`` → tokens (B, S, C) of every level, in order.

    The levels are the four stages of a Swin or of a ResNet, or the outputs of some blocks of a plain ViT. ``levels``
    has their widths and grids. Tokens are in reading order, behind the prefix tokens of a ViT. What comes after the
    last level, and the backbone's head, is removed. A model keeps its pyramid as ``pyramid``: files of weights find it
    there.

    Args:
        name: timm's name of a Swin (both versions), a plain ViT or a ResNet.
        image_size: Of the images, in pixels.
        blocks: Of a ViT alone: numbers, from 1, of the blocks whose outputs are the levels; ``last``, the last four;
            ``even``, the ends of four equal parts of the network, as blocks 3, 6, 9 and 12 of 12.
        merged: Of a Swin alone: whether a level is read after its patches were merged for the next stage, as timm had
            it before version 0.9. The last stage is not followed by merging.
        class_token: Of a ViT alone: whether the prefix tokens are kept. Without them, the positions of the patches
            stay as they are.
        last_norm: Whether the last level passes the last norm of the backbone; a ResNet has none.
        pretrained: Whether timm's weights are loaded.
        window: Of a Swin alone: side of its windows in patches; that of its name by default. A smaller stage is one
            window.
        drop_path: Of a Swin alone: stochastic depth in training, which grows from 0 to this probability over the
            blocks; timm's own by default, which is 0.1.

    Attributes:
        family: ``swin``, ``vit`` or ``resnet``.
        net: timm's module; of a ViT, the :class:`fgbench.models.encoder.Encoder` that holds it.
        home: First part of the names of timm's weights within this module.
        levels: The levels, in order.

    Raises:
        UnknownNameError: If timm has no such model.
        FgbenchError: If the backbone is of another family, or an option is wrong.
        CannotMeasureError: If timm cannot build it, or its weights are not available.

    """

    net: Any

    def __init__(
        self,
        name: str,
        image_size: ImageSize,
        *,
        blocks: Sequence[int] | str = "last",
        merged: bool = False,
        class_token: bool = True,
        last_norm: bool = False,
        pretrained: bool = False,
        window: int | None = None,
        drop_path: float | None = None,
    ) -> None:
        super().__init__()
        self.name, self.image_size, self.family = name, image_size, family_of(name)
        self.merged, self.last_norm, self.blocks = merged, last_norm, tuple[int, ...]()
        if window is not None and self.family != SWIN:
            raise FgbenchError("only a Swin has windows, which is not", name, "leave window out")
        if self.family == VIT:
            self.net = self._build_vit(blocks, class_token=class_token, pretrained=pretrained)
        elif self.family == SWIN:
            self.net = self._build_swin(window, drop_path, pretrained=pretrained)
        else:
            self.net = create_with_timm(name, 0, pretrained=pretrained)
        self.home = "net.vit." if self.family == VIT else "net."
        self.levels: tuple[Level, ...] = tuple(self._describe())

    def forward(self, images: Tensor) -> list[Tensor]:
        """The tokens (B, S, C) of every level.

        Args:
            images: (B, 3, S, S).

        Raises:
            FgbenchError: If the images have another size.

        """
        check_images(images, self.image_size)
        if self.family == VIT:
            return self._vit_levels(images)
        return self._swin_levels(images) if self.family == SWIN else self._resnet_levels(images)

    def _swin_levels(self, images: Tensor) -> list[Tensor]:
        net, stages = self.net, list(self.net.layers)
        x, levels = net.patch_embed(images), []
        for index, stage in enumerate(stages):
            for block in stage.blocks:
                x = block(x)
            if index + 1 == len(stages):
                levels.append(net.norm(x))
                continue
            merged = stages[index + 1].downsample(x)
            levels.append(merged if self.merged else x)
            x = merged
        return [level.flatten(1, 2) for level in levels]  # (B, h, w, C)

    def _vit_levels(self, images: Tensor) -> list[Tensor]:
        state = self.net.start(images)
        self.net.run(state, range(self.net.depth), hidden=True)
        levels = [state.hidden[number - 1] for number in self.blocks]
        return [*levels[:-1], self.net.norm(levels[-1])]

    def _resnet_levels(self, images: Tensor) -> list[Tensor]:
        net = self.net
        x, levels = net.maxpool(net.act1(net.bn1(net.conv1(images)))), []
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = stage(x)
            levels.append(x.flatten(2).transpose(1, 2))  # (B, C, h, w)
        return levels

    def _build_swin(self, window: int | None, drop_path: float | None, *, pretrained: bool) -> Any:
        """Timm's Swin without its head, and perhaps without its norm."""
        options: dict[str, Any] = {"img_size": for_timm(self.image_size)}
        if window is not None:
            options["window_size"] = whole_number(window, "window", 1)
        if drop_path is not None:
            options["drop_path_rate"] = number(drop_path, "drop_path", 0, 0.999)
        net: Any = create_with_timm(self.name, 0, pretrained=pretrained, **options)
        patch: int = net.patch_embed.patch_size[0]
        grid_of(self.name, self.image_size, patch, patch)
        net.head = nn.Identity()
        if not self.last_norm:
            net.norm = nn.Identity()
        return net

    def _build_vit(self, blocks: Sequence[int] | str, *, class_token: bool, pretrained: bool) -> Encoder:
        """An encoder that ends with the last block of the levels, without what would read its output."""
        vit: Any = build_vit(self.name, self.image_size, 0, pretrained=pretrained)
        self.blocks = block_numbers(blocks, len(vit.blocks))
        vit.blocks = vit.blocks[: self.blocks[-1]]
        vit.head = nn.Identity()
        if hasattr(vit, "head_dist"):
            vit.head_dist = nn.Identity()
        if getattr(vit, "attn_pool", None) is not None:
            vit.attn_pool = None
        if not self.last_norm:
            vit.norm, vit.fc_norm = nn.Identity(), nn.Identity()
        if not class_token:
            _drop_prefix_tokens(self.name, vit)
        return Encoder(vit, self.name, self.image_size, class_token=False)

    def _describe(self) -> list[Level]:
        """The levels in numbers, without running the network."""
        net = self.net
        if self.family == VIT:
            prefix = net.num_prefix_tokens
            level = Level(width=net.embed_dim, grid=net.grid, stride=net.stride, num_prefix_tokens=prefix)
            return [level] * len(self.blocks)
        infos = net.feature_info[-LEVELS:]
        if self.family == SWIN:
            grids = [stage.output_resolution for stage in net.layers]
            if self.merged:
                infos, grids = [*infos[1:], infos[-1]], [*grids[1:], grids[-1]]
        else:
            sides = height_width(self.image_size)
            grids = [[-(-side // info["reduction"]) for side in sides] for info in infos]
        return [
            Level(width=info["num_chs"], grid=(grid[0], grid[1]), stride=info["reduction"])
            for info, grid in zip(infos, grids, strict=True)
        ]


@functools.cache
def family_of(name: str) -> str:
    """The family of a backbone: ``swin``, ``vit`` or ``resnet``; it is built on the meta device to see.

    Raises:
        UnknownNameError: If timm has no such model.
        FgbenchError: If it is of another family, or no plain ViT.

    """
    if not isinstance(name, str) or not is_backbone(name):
        raise UnknownNameError("backbone", str(name), timm.list_models(["swin_*", "swinv2_*", "vit_*", "resnet*"]))
    with torch.device("meta"):
        module = create_with_timm(name, 0)
    if isinstance(module, (SwinTransformer, SwinTransformerV2)):
        return SWIN
    if isinstance(module, ResNet):
        return RESNET
    if hasattr(module, "blocks") and hasattr(module, "num_prefix_tokens"):  # other differences: build_vit names them
        return VIT
    raise FgbenchError("the levels of this model are those of a Swin, a plain ViT or a ResNet, which is not", name)


def block_numbers(blocks: Sequence[int] | str, depth: int) -> tuple[int, ...]:
    """Numbers, from 1, of the blocks of a ViT that are levels.

    Args:
        blocks: ``last``, ``even``, or numbers in ascending order.
        depth: Number of blocks that the ViT has.

    Raises:
        FgbenchError: If a number is out of range, or they do not ascend.

    """
    if isinstance(blocks, str):
        count = min(LEVELS, depth)
        if one_of(blocks, "choice of blocks", BLOCKS) == "last":
            return tuple(range(depth - count + 1, depth + 1))
        return tuple(-(-depth * part // count) for part in range(1, count + 1))
    numbers = tuple(whole_number(number, "number of a block", 1, depth) for number in blocks)
    if not numbers or list(numbers) != sorted(set(numbers)):
        raise FgbenchError("numbers of blocks must ascend, got", list(blocks), "such as 3, 6, 9, 12")
    return numbers


def _drop_prefix_tokens(name: str, vit: Any) -> None:
    """Build a ViT without class token and registers: their positions go with them."""
    if getattr(vit, "dist_token", None) is not None:
        raise FgbenchError("a ViT with a distillation token cannot be built without it:", name, "choose a plain ViT")
    if vit.pos_embed is not None and not vit.no_embed_class:
        vit.pos_embed = nn.Parameter(vit.pos_embed.detach()[:, vit.num_prefix_tokens :].clone())
    vit.cls_token = vit.reg_token = None
    vit.num_prefix_tokens, vit.has_class_token = 0, False
    if vit.global_pool == "token":
        vit.global_pool = "avg"
