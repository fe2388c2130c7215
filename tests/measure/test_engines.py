"""Engines: a file adds one, all registered ones keep the contract, and unusable ones give a reason."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import fgbench
from fgbench.cli import app
from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.measure.engine import Batch, Engine, engine_breach
from fgbench.measure.engine_registry import describe_engine, find_engine, open_engine, why_unusable
from fgbench.measure.engines.torch_cpu import TorchCpu
from fgbench.measure.points import PointGroup, RunMode, point_key
from fgbench.measure.subjects.module import ModuleSubject
from fgbench.measure.subjects.selector import SelectorSubject
from fgbench.plugins.kinds import engines
from fgbench.plugins.names import engine_names, public_name
from fgbench.results.records import ThroughputRow
from fgbench_selectors.plugins import import_file

STUB = Path(__file__).parents[1] / "helpers" / "stub_engine.py"
TINY = ["--model", "vit", "--backbones", "test_vit", "--sizes", "64", "--batch-sizes", "1", "2", "--max-time", "0.1s"]


@pytest.fixture(autouse=True)
def same_threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def test_a_plugin_file_is_measured_as_an_engine_in_this_process():
    row = fgbench.measure(network(), torch.randn(4, 3, 32, 32), engine="stub", plugins=[STUB], max_time_s=0.05)
    assert isinstance(row, ThroughputRow)
    assert (row.engine, row.model, row.batch_size, row.image_size) == ("stub", "Sequential", 4, 32)
    assert row.latency_s > 0 < row.mfu
    assert row.environment["engine"]["version"] == "1.5"
    assert row.environment["seen"]["prepared"] == 4


def test_the_engine_of_contributing_md_is_measured(tmp_path):
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    path = tmp_path / "exported.py"
    path.write_text(re.search(r"```python\n# exported\.py\n(.*?)```", text, re.DOTALL).group(1))
    row = fgbench.measure(network(), 32, engine="exported", plugins=[path], threads=1, max_time_s=0.05)
    assert (row.engine, row.environment["engine"]["version"]) == ("exported", torch.__version__)
    assert row.latency_s > 0


@pytest.mark.slow
def test_a_plugin_file_is_measured_as_an_engine_by_the_command(borrowed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["throughput", *TINY, "--engine", "stub", "torch", "--plugin", str(STUB), "--format", "json"]
    words += ["--device", "cpu", "--threads", "1", "--store", "s.db"]
    run = CliRunner().invoke(app, words)
    assert run.exit_code == 0, run.stderr
    rows = json.loads(run.stdout)
    assert [(row["engine"], row["batch_size"]) for row in rows] == [
        ("stub", 1),
        ("stub", 2),
        ("torch", 1),
        ("torch", 2),
    ]
    assert all(row["throughput_img_s"] > 0 for row in rows), rows
    assert [row["environment"]["engine"]["provider"] for row in rows] == ["stub", "stub", "cpu", "cpu"]
    assert sum(row["best"] for row in rows) == 2, "each engine has its own best batch"
    again = CliRunner().invoke(app, [*words, "--format", "csv"])
    assert "4 of 4 points were in s.db already" in again.stderr


@pytest.mark.slow
def test_engines_are_listed_with_what_can_be_used_here(borrowed):
    run = CliRunner().invoke(app, ["list", "engines", "--plugin", str(STUB), "--format", "json"])
    assert run.exit_code == 0, run.stderr
    rows = {row["name"]: row for row in json.loads(run.stdout)}
    onnx = {"onnxruntime_cpu", "onnxruntime_cuda", "onnxruntime_tensorrt", "openvino", "tensorrt"}
    assert set(rows) == {"stub", "torch_cpu", "torch_cuda", "aoti_cpu", "aoti_cuda", *onnx}
    assert rows["onnxruntime_cpu"]["usable here"] == rows["openvino"]["usable here"] == "yes"
    if not importlib.util.find_spec("tensorrt"):
        assert rows["tensorrt"]["usable here"].endswith("tensorrt is not installed: pip install 'fgbench[tensorrt]'")
    assert (rows["stub"]["usable here"], rows["stub"]["from"], rows["stub"]["devices"]) == ("yes", str(STUB), "cpu")
    assert rows["torch_cpu"]["usable here"] == "yes"
    if not torch.cuda.is_available():
        assert rows["torch_cuda"]["usable here"].startswith("cannot measure on cuda: ")


@pytest.mark.parametrize("name", engines.names())
def test_every_engine_keeps_the_contract(name, tmp_path):
    """Loads a network, runs batches of several sizes, and describes itself; where it cannot be used, it says why."""
    assert engine_breach(engines.load(name)) is None
    if why := why_unusable(name):
        pytest.skip(why)
    described = describe_engine(name, None, [RunMode(threads=1)])
    (settled,) = described["modes"]
    json.dumps(described)
    assert {"version", "provider", "precision", "threads"} <= set(settled["engine"])
    module = network()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    engine = open_engine(RunMode(**settled["mode"]), described["uuid"])
    try:
        images = torch.randn(2, 3, 32, 32)
        subject = ModuleSubject(module, 32, images)
        engine.folder = tmp_path
        exported = engine.export(subject, tmp_path)
        assert bool(exported) == engine.exports() == bool(list(tmp_path.iterdir()))
        prepare_batch = engine.load(subject)
        for batch_size in (1, 2):
            batch = prepare_batch(batch_size)
            assert isinstance(batch, Batch)
            output = batch.run()
            engine.synchronize()
        found = torch.as_tensor(batch.outputs(images)["logits"])
        torch.testing.assert_close(found.float(), module(images).detach(), rtol=1e-3, atol=1e-3)
        assert (batch.another is not None) == engine.concurrent
        if batch.another is not None:
            assert str(batch.another(1)()) != str(output), "it has the same inputs"
        missing: dict[str, str] = {}
        watch = engine.watch(missing)
        times = engine.clock(batch.run, watch.glance).run(2)
        watch.warmed()
        memory = watch.memory()
        queue = engine.queue(batch.run)
        queue.launch()
        queue.drain()
        json.dumps([dict(batch.facts), watch.seen()])
    finally:
        engine.close()
    assert len(times) == 2
    assert min(times) > 0
    assert queue.completed() == queue.launched() == 1
    assert {field for field, value in memory.items() if value is None} <= set(missing)
    assert engine.is_out_of_memory(MemoryError())
    assert not engine.is_out_of_memory(ValueError("another"))
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_a_name_stands_for_the_engines_of_all_devices():
    assert {"torch", "torch_cpu", "torch_cuda"} <= set(engine_names())
    assert public_name(TorchCpu.name or "") == public_name("torch_cuda") == "torch"
    assert public_name("stub") == "stub"
    assert find_engine("torch", "cpu") == find_engine("torch_cpu") == (TorchCpu, "cpu")


def test_an_unknown_engine_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown engine 'troch'; did you mean torch"):
        find_engine("troch")


def test_a_device_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FgbenchError, match=r"cannot measure on cuda: .*; --device cpu measures here"):
        find_engine("torch", "cuda")
    assert find_engine("torch")[1] == "cpu"
    with pytest.raises(FgbenchError, match="engine 'torch_cpu' does not run on 'cuda'; it runs on: cpu"):
        find_engine("torch_cpu", "cuda")


def stub() -> type[Engine]:
    kind: type[Engine] = vars(import_file(STUB))["Stub"]
    return kind


def test_an_engine_without_its_library_says_so(monkeypatch):
    kind = stub()
    monkeypatch.setattr(kind, "why_unusable", classmethod(lambda cls, device: "the package stubs is not installed"))
    monkeypatch.setattr(engines, "names", lambda: ["stub"])
    monkeypatch.setattr(engines, "load", lambda _: kind)
    with pytest.raises(FgbenchError, match="'stub' cannot be used on cpu: the package stubs is not installed"):
        find_engine("stub")


def test_modes_that_an_engine_does_not_have_are_refused():
    kind = stub()
    assert kind.settle(RunMode(engine="stub", threads=2)).threads == 2
    with pytest.raises(FgbenchError, match="engine 'stub' does not compute in 'amp'; it has: float32, bfloat16"):
        kind.settle(RunMode(engine="stub", dtype="amp"))
    with pytest.raises(FgbenchError, match="engine 'stub' has no mode 'cuda_graph'"):
        kind.settle(RunMode(engine="stub", cuda_graph=True))


def test_a_limit_of_memory_that_nothing_keeps_is_refused():
    kind = stub()
    assert kind.settle(RunMode(engine="stub", memory_limit_bytes=10**9)).memory_limit_bytes == 10**9
    with pytest.raises(FgbenchError, match="engine 'stub' has no limit of memory on 'cuda'"):
        kind.settle(RunMode(engine="stub", device="cuda", memory_limit_bytes=10**9))


def test_modes_that_an_engine_has_are_described_beside_those_that_it_does_not_have(monkeypatch):
    kind = stub()
    monkeypatch.setattr(engines, "names", lambda: ["stub"])
    monkeypatch.setattr(engines, "load", lambda _: kind)
    described = describe_engine("stub", "cpu", [RunMode(), RunMode(dtype="amp")])
    assert [one["mode"]["dtype"] for one in described["modes"]] == ["float32"]
    assert described["refused"] == ["engine 'stub' does not compute in 'amp'; it has: float32, bfloat16"]
    with pytest.raises(FgbenchError, match="does not compute in 'amp'"):
        describe_engine("stub", "cpu", [RunMode(dtype="amp")])


def test_the_code_of_a_plug_in_engine_is_in_the_key_of_its_points(tmp_path):
    keys, codes = set(), set()
    for version in ("1", "2"):
        file = tmp_path / version / "stub_engine.py"
        file.parent.mkdir()
        file.write_text(STUB.read_text(encoding="utf-8") + f"\n\nOTHER = {version}\n", encoding="utf-8")
        row = fgbench.measure(network(), 32, engine="stub", plugins=[file], threads=1, max_time_s=0.05)
        engines._from_files.clear()
        codes.add(row.environment["engine"]["code"])
        group = PointGroup(case=ModuleSubject(network(), 32).spec, mode=RunMode(engine="stub"))
        keys.add(point_key(group, 1, {"engine": row.environment["engine"]}))
    assert len(codes) == len(keys) == 2
    assert "code" not in describe_engine("torch", "cpu", [RunMode()])["modes"][0]["engine"]


def test_a_measurement_leaves_threads_and_random_numbers_as_they_were(monkeypatch):
    module, threads = network(), torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(1).item()
    torch.manual_seed(5)
    fgbench.measure(module, 32, threads=1, max_time_s=0.05)
    assert (torch.rand(1).item(), torch.get_num_threads()) == (expected, threads)

    def refuse(self):
        raise FgbenchError("this processor has no such precision")

    monkeypatch.setattr(TorchCpu, "set_precision", refuse)
    torch.manual_seed(5)
    with pytest.raises(FgbenchError):
        open_engine(TorchCpu.settle(RunMode(threads=threads + 1)))
    assert (torch.rand(1).item(), torch.get_num_threads()) == (expected, threads)


def test_a_subject_that_an_engine_cannot_load_is_refused_with_its_reason():
    with pytest.raises(FgbenchError, match="engine 'stub' cannot load selector psm fast in float32: it takes images"):
        fgbench.measure(SelectorSubject("psm", "fast", 64), engine="stub", plugins=[STUB])


@pytest.mark.parametrize(
    ("breach", "said"),
    [
        ({"devices": ()}, "'devices' must be a tuple of names"),
        ({"devices": ("tpu",)}, "'devices' must be a tuple out of"),
        ({"dtypes": "float32"}, "'dtypes' must be a tuple of names"),
    ],
)
def test_a_breach_of_the_contract_is_named(breach, said):
    assert said in engine_breach(type("Odd", (TorchCpu,), breach))
    assert engine_breach(Engine) == "it has no method 'load(subject)'"
    assert engine_breach(nn.Linear) == "it must be a class derived from fgbench.measure.engine.Engine"


def test_the_engine_is_part_of_a_points_key_only_where_it_is_not_torch():
    from helpers.fakes import groups

    (group,) = groups("vit")
    other = replace(group, mode=replace(group.mode, engine="stub"))
    assert point_key(group, 1, {}) != point_key(other, 1, {})
    of_the_commit_before = "43da5e580ac4125cf75ccda81faa6720fb810531c7e43573eb93d6cbaa97d81d"
    assert point_key(group, 1, {}) == of_the_commit_before
