"""Networks whose logits are no logits, and networks that are quantized, are refused in one line."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.ao.nn.quantized import FloatFunctional

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.any_network import function_network, logits_of
from fgbench.models.copies import copy_to

SHORT = {"threads": 1, "max_time_s": 0.05}


class Net(nn.Module):
    """A network whose logits pass a function."""

    def __init__(self, change=lambda logits: logits):
        super().__init__()
        self.head, self.change = nn.Linear(3, 5), change

    def forward(self, images):
        return self.change(self.head(images.mean(dim=(2, 3))))


class Sum(Net):
    """It adds by the module that torch has for networks which may be quantized later."""

    def __init__(self):
        super().__init__()
        self.add = FloatFunctional()

    def forward(self, images):
        logits = super().forward(images)
        return self.add.add(logits, logits)


def quantized():
    return torch.ao.quantization.quantize_dynamic(Net(), {nn.Linear}, dtype=torch.qint8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda y: torch.cat([y, y]), r"\(batch, classes\), a row for each of 2 images, got \(4, 5\)"),
        (lambda y: y[:1], r"\(batch, classes\), a row for each of 2 images, got \(1, 5\)"),
        (lambda y: y[:, :0], r"\(batch, classes\), got \(2, 0\)"),
        (lambda y: y.to(torch.complex64), r"real numbers in floating point, got torch\.complex64"),
        (lambda y: y.int(), r"real numbers in floating point, got torch\.int32"),
    ],
)
def test_logits_that_are_not_one_row_of_real_numbers_an_image_are_refused(change, said):
    model = function_network("net.py:odd", lambda: Net(change))(img_size=8)
    with pytest.raises(FgbenchError, match=f"'net.py:odd' must return logits .*{said}"):
        model(torch.zeros(2, 3, 8, 8))


def test_rows_are_compared_with_images_where_their_number_is_known():
    assert logits_of(torch.ones(4, 5), "net").shape == (4, 5)
    with pytest.raises(FgbenchError, match="a row for each of 2 images"):
        logits_of(torch.ones(4, 5), "net", 2)


@pytest.mark.filterwarnings("ignore")  # torch's own quantization is deprecated
@pytest.mark.parametrize("is_traced", [False, True])
def test_quantized_networks_have_no_row_of_float32(is_traced):
    if not torch.backends.quantized.supported_engines:
        pytest.skip("torch cannot quantize here")
    network = torch.jit.trace(quantized(), torch.zeros(2, 3, 8, 8)) if is_traced else quantized()
    said = r"(the network|'net.py:quantized') has quantized layers: '.*quantized.*Linear.*'; return it in float"
    with pytest.raises(FgbenchError, match=said):
        function_network("net.py:quantized", lambda: network)(img_size=8)
    with pytest.raises(FgbenchError, match=said):
        fgbench.measure(network, torch.randn(2, 3, 8, 8), **SHORT)


def test_networks_that_may_be_quantized_later_are_float():
    assert copy_to(Sum(), "cpu")(torch.zeros(1, 3, 2, 2)).shape == (1, 5)


@pytest.mark.parametrize(
    ("images", "options", "said"),
    [
        (torch.randn(0, 3, 32, 32), {}, r"a batch has 1 image or more, got images of the shape \(0, 3, 32, 32\)"),
        (32, {"threads": 0}, "threads must be a whole number of 1 or more, got 0"),
        (32, {"concurrency": 0}, "concurrency must be a whole number of 1 or more, got 0"),
        (32, {"max_time_s": -1}, "max_time_s must be a number above 0 and below 1e.08, got -1"),
        (32, {"max_time_s": float("nan")}, "max_time_s must be a number above 0"),
        (32, {"rate_per_s": 0}, "rate_per_s must be a number above 0"),
    ],
)
def test_numbers_that_the_command_line_refuses_are_refused_by_measure(images, options, said):
    with pytest.raises(FgbenchError, match=said):
        fgbench.measure(Net(), images, **{**SHORT, **options})
