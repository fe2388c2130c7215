"""Any network as a model: timm's by name, and what functions of files and packages return."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

import fgbench
from fgbench.cli import app
from fgbench.errors import BrokenPluginError, FgbenchError, UnknownNameError
from fgbench.measure.points import ModelSpec
from fgbench.measure.subjects.model import resolve
from fgbench.models.any_network import logits_of
from fgbench.plugins.kinds import models
from fgbench.plugins.names import check_models, default_backbone

FILE = """
import functools
import timm
import torch
from torch import nn

def tiny(num_classes=10):
    '''A small network.'''
    torch.manual_seed(0)
    pooled = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(nn.Conv2d(3, WIDTH, 3, 2), pooled, nn.Flatten(), nn.Linear(WIDTH, num_classes))

def every(**given):
    assert set(given) == {"img_size", "num_classes", "pretrained"}
    return tiny(given["num_classes"])

def raises():
    raise RuntimeError("no weights here")

def nothing():
    return 7

def needs(depth):
    return nn.Identity()

def maps():
    return nn.Conv2d(3, 4, 3)

value = 3

network = nn.Conv2d(3, 4, 3)

bound = functools.partial(tiny, 7)

class Twice(timm.models.VisionTransformer):
    def forward(self, images):
        return super().forward(images) + super().forward(images.flip(-1))

def twice():
    return Twice(img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=5)

kept = tiny()

def cached():
    return kept

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        self.two.weight = self.one.weight
        self.head.requires_grad_(False)

    def forward(self, images):
        return self.head(self.two(self.one(images.mean(dim=(2, 3)))))

def tied():
    return Tied()

def half():
    return tiny().bfloat16()
"""
COUNT = ("flops", "--sizes", "32", "--format", "json")


@pytest.fixture
def net(tmp_path):
    return written(tmp_path / "net.py")


def written(path, width: int = 4) -> str:
    path.write_text(FILE.replace("WIDTH", str(width)), encoding="utf-8")
    return str(path)


def run(*words: str):
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize(
    "name", ["convnext_atto", "test_resnet", "test_vit", "test_efficientnet", "timm/test_convnext"]
)
def test_a_classifier_of_timm_computes_what_timm_computes(name):
    model = fgbench.create_model(name, img_size=64, num_classes=7).eval()
    options = {"img_size": 64} if name == "test_vit" else {}
    reference = timm.create_model(name.removeprefix("timm/"), num_classes=7, **options).eval()
    reference.load_state_dict(model.network.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), reference(images), rtol=0, atol=0)
    assert model.options["backbone"] == default_backbone(name) == name.removeprefix("timm/")


def test_a_window_transformer_is_built_for_the_image_size():
    model = fgbench.create_model("swin_tiny_patch4_window7_224", img_size=112, num_classes=3).eval()
    with torch.inference_mode():
        assert model(torch.randn(1, 3, 112, 112)).shape == (1, 3)


@pytest.mark.parametrize("name", ["convnext_tiny", "swin_tiny_patch4_window7_224", "efficientnet_b0"])
def test_counts_are_those_of_torchs_own_counter(name):
    result = run("flops", "--models", name, "--sizes", "224", "--num-classes", "1000", "-f", "json", "--again")
    assert result.exit_code == 0, result.stderr
    rows = {row["model"]: row for row in json.loads(result.stdout)}
    assert rows[name]["percent_of_backbone"] == 100
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=1000).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, 224, 224))
    assert rows[name]["macs"] == counter.get_total_flops() // 2
    assert rows[name]["params"] == sum(parameter.numel() for parameter in network.parameters())


def test_a_function_of_a_file_is_called_with_the_arguments_that_it_takes(net):
    tiny = fgbench.create_model(f"{net}:tiny", img_size=32, num_classes=6)
    every = fgbench.create_model(f"{net}:every", img_size=32, num_classes=6)
    images = torch.randn(2, 3, 32, 32)
    assert tiny(images).shape == (2, 6)
    torch.testing.assert_close(tiny(images), every(images))
    loss, _ = tiny(images, torch.tensor([1, 2]))
    loss.backward()
    with torch.device("meta"):
        assert fgbench.create_model(f"{net}:tiny").network[0].weight.is_meta


def test_a_function_of_a_package(tmp_path, monkeypatch):
    package = tmp_path / "mine" / "nets.py"
    package.parent.mkdir()
    written(package)
    monkeypatch.syspath_prepend(tmp_path)
    assert fgbench.create_model("mine.nets:tiny", num_classes=5)(torch.randn(1, 3, 224, 224)).shape == (1, 5)


def test_a_network_of_transformers_through_a_function(tmp_path):
    pytest.importorskip("transformers")
    path = tmp_path / "theirs.py"
    path.write_text(
        "from transformers import ViTConfig, ViTForImageClassification\n"
        "def vit(img_size, num_classes):\n"
        "    shape = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)\n"
        "    return ViTForImageClassification(ViTConfig(image_size=img_size, num_labels=num_classes, **shape))\n"
    )
    row = fgbench.measure(f"{path}:vit", 32, num_classes=3, threads=1, max_time_s=0.05)
    assert row.latency_s > 0
    assert row.environment["macs_per_image"] > 0
    assert row.environment["foreign_code"]


@pytest.mark.parametrize(
    "output",
    [torch.ones(2, 3), {"logits": torch.ones(2, 3)}, SimpleNamespace(logits=torch.ones(2, 3)), (torch.ones(2, 3), 0)],
)
def test_logits_are_found_in_what_networks_return(output):
    assert torch.equal(logits_of(output, "net"), torch.ones(2, 3))


@pytest.mark.parametrize("output", [torch.ones(3), {"scores": 1}, None, [], torch.ones(2, 3, 4)])
def test_what_is_no_logits_is_refused(output):
    with pytest.raises(FgbenchError, match="'net' must return logits"):
        logits_of(output, "net")


REFUSED = {
    "raises": "RuntimeError: no weights here",
    "nothing": "must return an nn.Module, got 'int'",
    "needs": "needs an argument that nobody gives: 'depth'; it gets img_size, num_classes, pretrained",
    "absent": "has no function 'absent'",
    "value": "must be of a function that returns a network",
    "network": "is of a network, write a function that returns it",
}


@pytest.mark.parametrize("function", REFUSED)
def test_a_function_that_returns_no_network_is_refused_in_a_line_and_the_others_are_counted(function, net):
    with pytest.raises((FgbenchError, BrokenPluginError), match=REFUSED[function]):
        fgbench.create_model(f"{net}:{function}")
    alone = run(*COUNT, "--models", f"{net}:{function}")
    assert (alone.exit_code, alone.stdout, alone.stderr.count("\n")) == (2, "", 1)
    assert REFUSED[function] in alone.stderr
    beside = run(*COUNT, "--models", f"{net}:{function}", f"{net}:tiny")
    assert REFUSED[function] in beside.stderr
    assert {row["model"] for row in json.loads(beside.stdout)} == {None, f"{net}:tiny"}


def test_a_file_that_is_not_there_is_named_and_the_others_are_counted(net, tmp_path):
    nowhere = f"{tmp_path / 'nowhere.py'}:net"
    done = run(*COUNT, "--models", nowhere, f"{net}:tiny")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"no file with a function that returns a network: '{tmp_path / 'nowhere.py'}'" in done.stderr
    assert {row["model"] for row in json.loads(done.stdout)} == {None, f"{net}:tiny"}


def test_maps_in_place_of_logits_are_refused_where_they_are_made(net):
    with pytest.raises(FgbenchError, match=r"must return logits \(batch, classes\), got \(1, 4, 30, 30\)"):
        fgbench.create_model(f"{net}:maps", img_size=32)(torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere.py:net", "no file with a function that returns a network: 'nowhere.py'"),
        ("convnext_tny", f"did you mean convnext_tiny.* {len(models.names())} are known"),
        (
            "convnext_tiny+evit",
            "has no tokens that could be reduced by 'evit'; a plain ViT of timm is reduced as vit[+]evit",
        ),
        ("timm/", "unknown model"),
        ("a b:c", "unknown model"),
        ("net.py", "needs the name of a function that returns a network: 'net.py'; write net.py:FUNCTION"),
        ("net.py:", "write net.py:FUNCTION"),
    ],
)
def test_an_unknown_name_is_refused_before_torch_is_asked(name, why):
    with pytest.raises(FgbenchError, match=why):
        check_models([name])


def test_a_file_without_a_function_is_answered_with_its_functions(net, tmp_path):
    with pytest.raises(FgbenchError, match=r"write .*net\.py:FUNCTION; it has: tiny, every, raises"):
        check_models([str(net)])
    (tmp_path / "one.py").write_text("def mine():\n    pass\n")
    with pytest.raises(FgbenchError, match=r"write .*one\.py:mine$"):
        check_models([str(tmp_path / "one.py")])


def test_a_network_of_its_own_is_not_built_on_another_backbone():
    with pytest.raises(FgbenchError, match="'convnext_atto' is a network of its own and is not built on 'vit_tiny"):
        fgbench.create_model("convnext_atto", "vit_tiny_patch16_224")


def test_registered_names_come_first_and_unknown_ones_stay_unknown():
    assert models.entry("resnet101").is_own
    assert not models.entry("resnet50").is_own
    assert not models.knows("glsim2")
    with pytest.raises(UnknownNameError):
        models.entry("glsim2")


def test_changed_code_of_a_function_is_counted_and_measured_anew(tmp_path, warm):
    """A file has one module in a process: each state of it is read by a process of its own."""
    rows, digests = [], set()
    for width in (4, 8):
        net = written(tmp_path / "net.py", width)
        done = warm.run(*COUNT, "--models", f"{net}:tiny", "--store", str(tmp_path / "s.db"))
        assert done.returncode == 0, done.stderr
        rows.append(next(row["params"] for row in json.loads(done.stdout) if row["model"]))
        digests.add(code_of(f"{net}:tiny", tmp_path, warm))
    assert rows[0] != rows[1]
    assert len(digests) == 2


CODE_OF = """
import os, sys
sys.path.remove(os.getcwd())
from fgbench.measure.points import ModelSpec
from fgbench.measure.subjects.model import resolve
spec = ModelSpec(model=sys.argv[1], backbone="", selector=None, impl=None, image_size=32, num_classes=2)
print(resolve(spec)[0].foreign_code)
"""


def code_of(name, folder, warm) -> str:
    """The digest of a function's code, in a process in this folder; its import path lacks the folder."""
    (folder / "code_of.py").write_text(CODE_OF)
    done = warm.run(name, module="code_of", cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_another_network_in_a_file_that_a_function_reads_is_measured_anew(tmp_path):
    path = tmp_path / "dep.py"
    path.write_text(
        f"import torch\ndef mine():\n    return torch.load({str(tmp_path / 'dep.pt')!r}, weights_only=False)\n"
    )
    spec = ModelSpec(model=f"{path}:mine", backbone="", selector=None, impl=None, image_size=32, num_classes=2)
    codes = []
    for layers in ([nn.Conv2d(3, 4, 3)], [nn.Conv2d(3, 4, 3)], [nn.Conv2d(3, 8, 3)], [nn.Conv2d(3, 4, 3, stride=2)]):
        torch.save(nn.Sequential(*layers, nn.Flatten()), tmp_path / "dep.pt")
        codes.append(resolve(spec)[0].foreign_code)
    assert codes[0] == codes[1]  # other weights take the same time
    assert len(set(codes)) == 3


def test_the_code_of_a_package_in_the_working_folder_is_in_the_case(tmp_path, monkeypatch, warm):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    package = tmp_path / "mine"
    package.mkdir()
    (package / "nets.py").write_text("from mine.sizes import WIDTH\n" + FILE)
    codes = []
    for width in ("4", "4", "16"):
        (package / "sizes.py").write_text(f"WIDTH = {width}\nOTHER = 7\n")
        codes.append(code_of("mine.nets:maps", tmp_path, warm))
    assert codes[0] == codes[1] != codes[2]


def test_the_row_of_a_network_names_it(net):
    spec = ModelSpec(model=f"{net}:tiny", backbone="", selector=None, impl="fast", image_size=32, num_classes=2)
    resolved, cut_off = resolve(spec)
    assert (resolved.model, resolved.backbone, resolved.selector, resolved.impl) == (
        f"{net}:tiny",
        f"{net}:tiny",
        None,
        None,
    )
    assert cut_off == 0
    row = fgbench.measure("convnext_atto", 64, num_classes=3, threads=1, max_time_s=0.05)
    assert (row.model, row.backbone, row.selector, row.impl) == ("convnext_atto", "convnext_atto", None, None)


def test_a_forward_pass_of_its_own_is_run_and_counted(net):
    """Not that of the class that it derives from."""
    model = fgbench.create_model(f"{net}:twice", img_size=32).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), model.network(images), rtol=0, atol=0)
        once = timm.models.VisionTransformer.forward(model.network, images)
    assert not torch.allclose(model(images), once)
    result = run(*COUNT, "--models", f"{net}:twice")
    macs = next(row["macs"] for row in json.loads(result.stdout) if row["model"])
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 5}
    assert macs == 2 * fgbench.count_flops(timm.models.VisionTransformer(**shape), images[:1]).macs


def test_a_network_that_a_function_keeps_stays_as_it_is(net):
    rows = [
        fgbench.measure(f"{net}:cached", 32, threads=1, max_time_s=0.05, device="cpu", dtype=dtype)
        for dtype in ("int8", "bfloat16", "float32")
    ]
    assert all(row.latency_s for row in rows)
    assert len({row.environment["macs_per_image"] for row in rows}) == 1


def test_shared_weights_are_shared_and_frozen_ones_frozen_wherever_a_network_is_copied(net):
    for device in ("meta", "cpu"):
        with torch.device(device):
            network = fgbench.create_model(f"{net}:tied", img_size=32).network
        assert network.one.weight is network.two.weight
        assert network.one.weight.device.type == device
        assert [parameter.requires_grad for parameter in network.head.parameters()] == [False, False]
        assert sum(parameter.numel() for parameter in network.parameters()) == 9 + 3 + 3 + 8


def test_weights_in_half_precision_are_measured_in_the_precision_that_is_asked_for(net):
    assert {p.dtype for p in fgbench.create_model(f"{net}:half", img_size=32).parameters()} == {torch.float32}


def test_a_function_with_arguments_that_were_given_is_a_function(net):
    assert fgbench.create_model(f"{net}:bound", img_size=32)(torch.randn(1, 3, 32, 32)).shape == (1, 7)
    spec = ModelSpec(model=f"{net}:bound", backbone="", selector=None, impl=None, image_size=32, num_classes=2)
    assert resolve(spec)[0].foreign_code


def test_a_file_runs_once_in_a_process(tmp_path):
    path = tmp_path / "loud.py"
    path.write_text("from torch import nn\ndef net():\n    return nn.Linear(1, 2)\n")
    first, second = (models.load(f"{path}:net") for _ in range(2))
    assert first.function is second.function


def test_a_path_with_a_space_is_one_name(tmp_path):
    (tmp_path / "my nets").mkdir()
    net = written(tmp_path / "my nets" / "a, b.py")
    result = run(*COUNT, "--models", f"{net}:tiny", "convnext_atto", "--num-classes", "3")
    assert result.exit_code == 0, result.stderr
    assert {row["model"] for row in json.loads(result.stdout)} == {None, f"{net}:tiny", "convnext_atto"}


@pytest.mark.parametrize(("typed", "named"), [("timm/convnext_atto", "convnext_atto"), ("timm/resnet101",) * 2])
def test_a_network_of_timm_has_one_name(typed, named):
    spec = ModelSpec(model=typed, backbone="", selector=None, impl=None, image_size=32, num_classes=2)
    assert resolve(spec)[0].model == named
