"""The loss of MPSA: cross-entropy, and the distance of the weights of tokens from those by Grad-CAM."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import restated_parts
from helpers.model_scenes import built, images
from models.test_mpsa import IMPLS, model_of
from torch.nn import functional

from fgbench.models.mpsa import grad_cam


def test_grad_cam_of_two_tokens_by_hand():
    fused = torch.tensor([[[1.0, 2.0], [3.0, -1.0]]])
    gradient = torch.tensor([[[0.2, 0.0], [0.4, 1.0]]])  # means of 0.3 and 0.5
    raw = functional.gelu(torch.tensor([1 * 0.3 + 2 * 0.5, 3 * 0.3 - 1 * 0.5]))  # 1.3 and 0.4
    assert grad_cam(fused, gradient)[0].tolist() == pytest.approx([1.0, 0.0], abs=1e-6)
    assert raw[0] > raw[1]
    assert grad_cam(fused.expand(1, 2, 2)[:, :1], gradient[:, :1]).tolist() == [[0.0]]


@IMPLS
def test_the_loss_is_cross_entropy_and_the_distance_from_grad_cam(impl):
    model, weights, batch = model_of("swin, 64", impl=impl, parts_drop=0.0, label_smoothing=0.1)
    targets = torch.tensor([4, 0, 7])
    found = [restated_parts.finish(weights, restated_parts.look(weights, image)) for image in batch]
    ce = functional.cross_entropy(torch.stack([logits for logits, _, _ in found]), targets, label_smoothing=0.1)
    distances = []
    for (_, share, fused), target in zip(found, targets, strict=True):
        fused = fused.detach().requires_grad_()
        normed = functional.layer_norm(fused, fused.shape[-1:], weights["norm.weight"], weights["norm.bias"])
        logits = (share.detach() @ normed) @ weights["head.weight"].T + weights["head.bias"]
        own = functional.cross_entropy(logits[None], target[None], label_smoothing=0.1) / len(batch)
        (gradient,) = torch.autograd.grad(own, fused)
        cam = functional.gelu((fused.detach() * gradient.mean(dim=0)).sum(dim=1))
        cam = cam - cam.min()
        distances.append(math.dist((share + 1e-8).tolist(), (cam / (cam.sum() + 1e-8)).tolist()))

    model.set_stochastic_depth(0)
    loss, logits = model.train()(batch, targets)
    assert loss.item() == pytest.approx(ce.item() + sum(distances) / 3, rel=1e-4)
    assert sum(distances) / 3 > 0.05
    torch.testing.assert_close(logits, torch.stack([one[0] for one in found]), rtol=0, atol=1e-4)
    loss.backward()
    assert model.pooling.grad.abs().max() > 0
    evaluated, _ = model.eval()(batch, targets)
    assert evaluated.item() == pytest.approx(ce.item(), rel=1e-4)


def test_a_head_alone_can_be_trained():
    model = built("mpsa")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("head.")
    loss, _ = model.train()(images(2, 64), torch.tensor([0, 1]))
    loss.backward()
    assert model.head.weight.grad.abs().max() > 0
    with torch.no_grad():
        assert model(images(2, 64), torch.tensor([0, 1]))[0].isfinite()
