"""Models with fused selection: no map in any precision, compiled, or in training."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fgbench import create_model
from fgbench_selectors.backends.recording import record_backends

STREAMING = ("transfg", "ramstrans", "dcal", "ev", "aftrans", "ffvt", "ielt", "r2trans")
OPTIONS = {"r2trans": {"predict": "mixture"}}  # with its first prediction alone it selects nothing
COMPILERS_MAY_WARN = pytest.mark.filterwarnings("default")  # of their own affairs, and torch 2.6 does
MODES = ("float32", "bfloat16", "float16", "autocast")


def build(name: str, size: int, impl: str = "fast"):
    torch.manual_seed(0)
    return create_model(name, "fgtest_vit", img_size=size, num_classes=5, impl=impl, **OPTIONS.get(name, {})).eval()


def in_mode(model, images: torch.Tensor, mode: str):
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(mode, torch.float32)
    cast = torch.autocast("cpu", torch.bfloat16) if mode == "autocast" else nullcontext()
    with cast, torch.inference_mode():
        return model.to(dtype)(images.to(dtype)).float()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", STREAMING)
def test_every_precision_takes_the_log_sum_exp_of_its_own_attention(name, mode):
    """Every block that is recorded has it; SACM alone computes another one, of all heads as one."""
    model, handed_over = build(name, 96), []
    model.selector.register_forward_pre_hook(lambda _, given: handed_over.extend(given[0].attention))
    with record_backends() as chosen:
        logits = in_mode(model, torch.randn(2, 3, 96, 96), mode)
    assert logits.isfinite().all()
    recorded = [block for block in handed_over if block is not None]
    assert len(recorded) >= model.encoder.depth - 1
    for block in recorded:
        expected = (block.q.double() @ block.k.double().mT * block.scale).logsumexp(dim=-1)
        torch.testing.assert_close(block.lse.double(), expected, rtol=0, atol=1e-3)
    assert chosen["attention"] == ["flash_cpu"]
    assert set(chosen) <= {"attention", "left"} | ({"logsumexp"} if name == "aftrans" else set())


class LargestTensor(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.elements = max([self.elements, *(x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor))])
        return out


@pytest.mark.parametrize("name", [*STREAMING, "simtrans", "accvit", "falvit"])
def test_no_model_builds_a_map(name):
    size = 816  # 2,602 tokens, 4,490 where patches overlap; EV cuts three crops of that size
    images = torch.randn(1, 3, size, size)
    model = build(name, size)
    with torch.inference_mode(), LargestTensor() as seen:
        model(images)
    tokens = model.encoder.num_tokens
    assert seen.elements <= max(3 * images.numel(), 2**22) < tokens**2


@COMPILERS_MAY_WARN
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("transfg", "float32"),
        pytest.param("transfg", "autocast", marks=pytest.mark.thorough),
        pytest.param("aftrans", "bfloat16", marks=pytest.mark.thorough),
    ],
)
def test_compiled_in_one_graph_it_computes_the_same(name, mode):
    model, images = build(name, 64), torch.randn(2, 3, 64, 64)
    expected = in_mode(model, images, mode)
    torch.compiler.reset()
    with record_backends() as chosen:
        found = in_mode(torch.compile(model, fullgraph=True, dynamic=False), images, mode)
    assert chosen["attention"] == ["flash_cpu"]
    assert name == "aftrans" or chosen["left"] == ["dense"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 if mode == "float32" else 3e-2)


@COMPILERS_MAY_WARN
@pytest.mark.slow
def test_compiled_for_any_batch_it_is_still_one_graph():
    model = build("transfg", 64)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch in (2, 3):
        images = torch.randn(batch, 3, 64, 64)
        with torch.inference_mode():
            torch.testing.assert_close(compiled(images), model(images), rtol=0, atol=1e-4)


def test_an_exported_graph_keeps_the_log_sum_exp():
    exported = torch.export.export(build("transfg", 64), (torch.randn(2, 3, 64, 64),), strict=False)
    graphs = [part.graph for part in exported.graph_module.modules() if hasattr(part, "graph")]
    calls = [node for graph in graphs for node in graph.nodes if "fgbench.left" in str(node.target)]
    assert calls
    assert all(node.args[2] is not None for node in calls)


@COMPILERS_MAY_WARN
@pytest.mark.slow
@pytest.mark.thorough
def test_compiled_for_training_training_the_gradient_is_that_of_eager():
    model, images, targets = build("transfg", 64).train(), torch.randn(2, 3, 64, 64), torch.tensor([1, 3])
    model.loss(images, targets)[0].backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    torch.compiler.reset()
    compiled = torch.compile(lambda x, y: model.loss(x, y)[0], fullgraph=True, dynamic=False)
    compiled(images, targets).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-3, atol=1e-5, msg=name)


# --- training -------------------------------------------------------------------------------------------------------


def kept_for_the_way_back(size: int, impl: str = "fast") -> tuple[int, int]:
    """Bytes that a training step keeps for its gradient beside the parameters, and the number of tokens."""
    model = build("transfg", size, impl).train()
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda x: x):
        loss, _ = model.loss(torch.randn(1, 3, size, size), torch.tensor([1]))
    loss.backward()
    return sum(kept.values()), model.encoder.num_tokens


def test_what_training_keeps_grows_as_the_tokens_do():
    """The same per token at 37, 122, 442 and 1,682 of them; with the published maps it grows as they do."""
    per_token = [kept / tokens for kept, tokens in map(kept_for_the_way_back, (76, 136, 256, 496))]
    assert per_token[-1] == pytest.approx(per_token[-2], rel=0.02)
    assert per_token[-1] < per_token[0]
    published = [kept / tokens for kept, tokens in (kept_for_the_way_back(size, "published") for size in (256, 496))]
    assert published[1] > 1.5 * published[0]


@pytest.mark.parametrize("name", [*STREAMING, "accvit", "falvit"])
def test_selection_takes_no_graph(name):
    model = build(name, 96).train()
    explanation = model.explain(torch.randn(2, 3, 96, 96))
    learned = model.selector.learned  # its own parameters, never the backbone's
    assert explanation.scores.requires_grad == learned
    if learned:
        explanation.scores.sum().backward()
        assert {n.partition(".")[0] for n, p in model.named_parameters() if p.grad is not None} == {"selector"}
