"""Names and shapes of the authors' files of MPSA and ViT-NeT, written down by themselves; no code of the package."""

from __future__ import annotations

from torch import Size

WIDTHS, DEPTHS, HEADS = (16, 32, 64, 128), (2, 1, 2, 1), (1, 2, 2, 4)  # of the small Swin of the tests
Shapes = dict[str, tuple[int, ...]]


def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), **({f"{name}.bias": (outputs,)} if bias else {})}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def swin(root: str, window: int, *, merges_at_the_end: bool) -> Shapes:
    """A Swin of the authors: of `merges_at_the_end` as Microsoft's, otherwise as MPSA's."""
    shapes: Shapes = {
        f"{root}patch_embed.proj.weight": (WIDTHS[0], 3, 4, 4),
        f"{root}patch_embed.proj.bias": (WIDTHS[0],),
    }
    shapes |= norm(f"{root}patch_embed.norm", WIDTHS[0])
    for stage, (width, depth, heads) in enumerate(zip(WIDTHS, DEPTHS, HEADS, strict=True)):
        for number in range(depth):
            block = f"{root}layers.{stage}.blocks.{number}"
            shapes |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
            shapes[f"{block}.attn.relative_position_bias_table"] = ((2 * window - 1) ** 2, heads)
            shapes |= linear(f"{block}.attn.qkv", width, 3 * width) | linear(f"{block}.attn.proj", width, width)
            shapes |= linear(f"{block}.mlp.fc1", width, 4 * width) | linear(f"{block}.mlp.fc2", 4 * width, width)
        if stage < 3:
            merging = f"{root}layers.{stage if merges_at_the_end else stage + 1}.downsample"
            shapes |= linear(f"{merging}.reduction", 4 * width, 2 * width, bias=False)
            shapes |= norm(f"{merging}.norm", 4 * width)
    return shapes | norm(f"{root}norm", WIDTHS[-1])


def swin_buffers(root: str, window: int) -> dict[str, Size]:
    """What a file has beside weights."""
    places = window**2
    return {
        f"{root}layers.0.blocks.0.attn.relative_position_index": Size((places, places)),
        f"{root}layers.0.blocks.1.attn_mask": Size((64, places, places)),
    }


def vit(root: str, tokens: int, width: int = 64, depth: int = 4, patch: int = 16) -> Shapes:
    """A ViT of MPSA: without class token and without the last norm."""
    shapes: Shapes = {
        f"{root}patch_embed.proj.weight": (width, 3, patch, patch),
        f"{root}pos_embed": (1, tokens, width),
    }
    shapes[f"{root}patch_embed.proj.bias"] = (width,)
    for number in range(depth):
        block = f"{root}blocks.{number}"
        shapes |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
        shapes |= linear(f"{block}.attn.qkv", width, 3 * width) | linear(f"{block}.attn.proj", width, width)
        shapes |= linear(f"{block}.mlp.fc1", width, 4 * width) | linear(f"{block}.mlp.fc2", 4 * width, width)
    return shapes


def mpsa(backbone: Shapes, widths: tuple[int, ...], tokens: tuple[int, ...], classes: int, drop: float = 0.4) -> Shapes:
    """A file of MPSA with stages of these widths and numbers of tokens."""
    last, shapes = widths[-1], dict(backbone)
    for stage, (width, count) in enumerate(zip(widths, tokens, strict=True)):
        parts = width // 2
        kept, own = parts - int(drop * parts), f"block.mpsa_list.{stage}"
        shapes |= norm(f"block.norm_list.{stage}", width)
        shapes |= linear(f"block.parts_generation_list.{stage}.linear", width, parts)
        shapes[f"block.parts_generation_list.{stage}.part_pos"] = (1, count, parts)
        shapes |= linear(f"{own}.q", last, width) | linear(f"{own}.kv", width, 2 * width)
        shapes |= linear(f"{own}.o", width, width)
        shapes[f"{own}.atten_pos"] = (1, 32 * width // last, tokens[-1], kept)
        shapes[f"{own}.weights_scale"] = ()
        for layer in ("conv1", "conv2"):
            shapes[f"{own}.parts_attention.{layer}.weight"] = (kept, kept, 1, 1)
            shapes[f"{own}.parts_attention.{layer}.bias"] = (kept,)
        shapes |= {f"{own}.parts_attention.ln.{kind}": (kept, 1, 1) for kind in ("weight", "bias")}
    shapes["pooling_weights"] = (4, 1, 1, 1)
    return shapes | norm("norm", sum(widths)) | linear("head", sum(widths), classes)


def vit_net(classes: int, window: int, depth: int = 4) -> Shapes:
    """A file of ViT-NeT on the small Swin."""
    shapes = swin("patch_embedding.", window, merges_at_the_end=True)
    shapes |= linear("patch_embedding.head", WIDTHS[-1], classes)
    width = WIDTHS[-1] // 4
    shapes["tree.attrib_pvec"] = (2**depth - 1, width, 1, 1)
    shapes |= linear("tree.add_on.0", WIDTHS[-1], width, bias=False)

    def node(name: str, below: int) -> None:
        if not below:
            shapes.update(linear(f"{name}.pred", width, classes) | norm(f"{name}.norm_o", classes))
            return
        for side in ("l", "r"):
            node(f"{name}.{side}", below - 1)
            gate = f"{name}.gcb_{side}"
            shapes.update(linear(f"{gate}.cm", width, 1) | linear(f"{gate}.wv1", width, width))
            shapes.update(norm(f"{gate}.norm", width) | linear(f"{gate}.wv2", width, width))
            shapes.update(norm(f"{gate}.ffn_norm", width))

    node("tree._root", depth)
    return shapes
