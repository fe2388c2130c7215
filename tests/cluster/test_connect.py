"""Addresses, names of nodes, and what stands in the way of a cluster: one line each, and soon."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

from fgbench.cluster.code import copy_code, whole_code
from fgbench.cluster.node import Node, chosen
from fgbench.cluster.nodes import other_code
from fgbench.cluster.request import ClusterOptions
from fgbench.errors import CannotMeasureError, FgbenchError

MEASURE = ["throughput", "--model", "vit", "--sizes", "64", "--batch-sizes", "1", "--on"]


def node(name, cpus=8.0, gpus=0, accelerator=None, **labels):
    return Node(
        id=name * 8,
        name=name,
        addresses=frozenset({f"10.0.0.{len(name)}"}),
        labels=labels,
        cpus=cpus,
        gpus=gpus,
        accelerator=accelerator,
    )


NODES = [
    node("head", cpus=0.0),
    node("cpu", rack="7"),
    node("hopper", gpus=8, accelerator="H100", rack="7"),
    node("ampere", gpus=4, accelerator="A100"),
    node("old", gpus=1),
]


@pytest.mark.parametrize(
    ("asked", "device", "names"),
    [
        ({}, None, ["hopper", "ampere", "old"]),
        ({}, "cpu", ["cpu", "hopper", "ampere", "old"]),
        ({"accelerators": ["H100"]}, None, ["hopper"]),
        ({"accelerators": ["a100", "H100"]}, "cuda", ["ampere", "hopper"]),
        ({"accelerators": ["CPU"]}, None, ["cpu", "hopper", "ampere", "old"]),
        ({"accelerators": ["H100", "CPU"], "nodes": ["rack=7"]}, None, ["hopper", "cpu", "hopper"]),
        ({"nodes": ["cpu"]}, None, ["cpu"]),
        ({"nodes": ["10.0.0.3"]}, "cuda", ["old"]),
    ],
)
def test_nodes_are_chosen_by_what_they_have(asked, device, names):
    found = chosen(NODES, ClusterOptions(on="auto", **asked), device)
    assert [one.name for one, _ in found] == names
    assert all(one.gpus > 0 for one, by_gpu in found if by_gpu)


@pytest.mark.parametrize(
    ("asked", "device", "error", "says"),
    [
        (
            {"accelerators": ["V100"]},
            None,
            CannotMeasureError,
            "no node has an accelerator 'V100'; the cluster has",
        ),
        ({"nodes": ["rack=9"]}, None, FgbenchError, "no node is called, or labelled, 'rack=9'"),
        ({"nodes": ["head"]}, None, CannotMeasureError, "no node of the cluster has a CPU"),
        ({"nodes": ["cpu"]}, "cuda", CannotMeasureError, "no node of the cluster has a GPU"),
        ({"accelerators": ["H100"]}, "cpu", FgbenchError, "--device cpu is not what this is measured on"),
    ],
)
def test_what_no_node_has_is_named(asked, device, error, says):
    with pytest.raises(error, match=says):
        chosen(NODES, ClusterOptions(on="auto", **asked), device)


def fgbench(*words, cwd, code):
    began = time.monotonic()
    run = subprocess.run(
        [sys.executable, *code, *words], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    return run, time.monotonic() - began


AS_IT_IS = ("-m", "fgbench")
WITHOUT_RAY = (
    "-c",
    "import sys, importlib.util as u; find = u.find_spec; "
    "u.find_spec = lambda name, *more: None if name == 'ray' else find(name, *more); "
    "from fgbench.cli.program import main; main()",
)


def test_without_ray_the_extra_is_named(tmp_path):
    run, _ = fgbench(*MEASURE, "auto", cwd=tmp_path, code=WITHOUT_RAY)
    assert (run.returncode, run.stderr) == (2, "fgbench: ray is not installed: pip install 'fgbench[ray]'\n")


@pytest.mark.parametrize(
    ("address", "code", "says"),
    [
        ("127.0.0.1:1", 3, "no Ray cluster answers at 127.0.0.1:1 (Connection refused); is it up, and the port open?"),
        ("ray://127.0.0.1:1", 3, "no Ray cluster answers at ray://127.0.0.1:1 (Connection refused)"),
        ("ray://nowhere.invalid:10001", 3, "no Ray cluster answers at ray://nowhere.invalid:10001"),
        ("nonsense", 2, "--on needs auto, local, HOST:PORT or ray://HOST:PORT, got 'nonsense'"),
        ("127.0.0.1:99999", 2, "--on needs auto, local, HOST:PORT or ray://HOST:PORT, got '127.0.0.1:99999'"),
        ("", 2, "--on needs an address, got ''"),
    ],
)
def test_an_address_that_nobody_answers_is_one_line(tmp_path, address, code, says):
    run, seconds = fgbench(*MEASURE, address, cwd=tmp_path, code=AS_IT_IS)
    assert says in run.stderr
    assert (run.returncode, run.stderr.count("\n")) == (code, 1)
    assert seconds < 100  # 30 on a quiet machine


def test_a_port_that_is_no_ray_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        run, seconds = fgbench(*MEASURE, address, cwd=tmp_path, code=AS_IT_IS)
    assert run.returncode == 3
    assert f"no Ray cluster answers at {address}" in run.stderr
    assert "Traceback" not in run.stderr
    assert seconds < 100


@pytest.mark.parametrize("words", [["--nodes", "a"], ["--accelerators", "CPU"], ["--ship-code"]])
def test_options_of_a_cluster_without_one_are_refused(tmp_path, words):
    run, _ = fgbench("throughput", "--model", "vit", *words, cwd=tmp_path, code=AS_IT_IS)
    assert (run.returncode, run.stderr) == (
        2,
        f"fgbench: {words[0]} is for a cluster; add --on auto, or leave it out\n",
    )


def test_a_node_with_other_code_is_named():
    error = other_code("a", {"version": "0.0.9", "code": "1"}, {"version": "0.1.0", "code": "2"})
    assert str(error) == (
        "node a has fgbench 0.0.9, code 1, and this is fgbench 0.1.0, code 2; "
        "install the same there, or add --ship-code"
    )


def test_the_code_that_is_sent_is_this_code_and_finds_its_selectors(tmp_path):
    copy_code(tmp_path)
    look = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import fgbench, importlib.metadata as m\n"
        "from fgbench.cluster.code import whole_code\n"
        "print(fgbench.__file__, whole_code()['code'], m.distribution('fgbench')._path)"
    )
    run = subprocess.run(
        [sys.executable, "-c", look, str(tmp_path)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    file, code, about = run.stdout.split()
    assert file.startswith(str(tmp_path))
    assert about.startswith(str(tmp_path))
    assert code == whole_code()["code"]
