"""Networks of timm and of functions take their own trained weights, all of them."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.any_network import function_network
from fgbench.models.checkpoints.load import ClassCountError


def small(num_classes=10):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, num_classes))  # fmt: skip


class Separate(nn.Module):
    """A block whose queries, keys and values are layers of their own."""

    def __init__(self):
        super().__init__()
        self.attn = nn.ModuleDict({letter: nn.Linear(3, 3) for letter in "qkv"})

    def forward(self, images):
        x = images.mean(dim=(2, 3))
        return self.attn["q"](x) + self.attn["k"](x) * self.attn["v"](x)


def model(function=small, **options):
    return function_network("net.py:small", function)(img_size=32, num_classes=10, **options)


def prefixed(first, weights):
    return {f"{first}{name}": tensor for name, tensor in weights.items()}


def test_a_network_of_timm_takes_what_timm_saved(tmp_path):
    network = timm.create_model("test_vit", num_classes=10, img_size=64)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    loaded = fgbench.create_model("test_vit", img_size=64, num_classes=10)
    report = fgbench.load_checkpoint(loaded, tmp_path / "own.pth")
    assert (report.complete, report.backbone_only) == (True, False)
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(loaded.eval()(images), network.eval()(images))


@pytest.mark.parametrize("first", ["", "module.", "model.", "module.model.", "network.", "module.network."])
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_a_function_takes_the_weights_of_its_network_under_usual_keys_and_prefixes(tmp_path, key, first):
    network = small()
    weights = prefixed(first, network.state_dict())
    torch.save(weights if key is None else {key: weights, "epoch": 3}, tmp_path / "own.pth")
    loaded = model()
    assert fgbench.load_checkpoint(loaded, tmp_path / "own.pth").complete
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)


def test_names_that_are_those_of_a_known_format_stay_as_they_are(tmp_path):
    network = Separate()
    torch.save(network.state_dict(), tmp_path / "own.pth")
    loaded = model(Separate)
    assert fgbench.load_checkpoint(loaded, tmp_path / "own.pth").complete
    assert torch.equal(loaded.network.attn["k"].weight, network.attn["k"].weight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: weights.pop("4.bias"), "do not hold the same weights; missing: 4.bias"),
        (lambda weights: weights.update({"5.weight": torch.zeros(3)}), "do not hold the same weights; unexpected: 5.w"),
        (lambda weights: weights.update({"0.weight": torch.zeros(3)}), "1 shape does not fit: 0.weight (3,) "),
    ],
)
def test_weights_that_do_not_fit_are_one_line_and_the_network_stays(tmp_path, change, said):
    weights = dict(small().state_dict())
    change(weights)
    torch.save(weights, tmp_path / "own.pth")
    loaded = model()
    before = loaded.network[0].weight.clone()
    with pytest.raises(FgbenchError) as raised:
        fgbench.load_checkpoint(loaded, tmp_path / "own.pth")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "network." not in str(raised.value)
    assert "backbone" not in str(raised.value)
    assert torch.equal(loaded.network[0].weight, before)


def test_a_file_of_another_network_is_said_to_be_one(tmp_path):
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "other.pth")
    with pytest.raises(FgbenchError, match=r"have no names of the network's weights .0.weight, 0.bias, .*state_dict"):
        fgbench.load_checkpoint(model(), tmp_path / "other.pth")


def test_a_head_of_any_name_tells_its_classes(tmp_path):
    torch.save(small(7).state_dict(), tmp_path / "seven.pth")
    with pytest.raises(ClassCountError) as raised:
        fgbench.load_checkpoint(model(), tmp_path / "seven.pth")
    assert (raised.value.given, raised.value.wanted) == (7, 10)
