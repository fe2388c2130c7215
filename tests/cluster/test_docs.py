"""The files of docs/cluster.md are complete: shell scripts pass a linter, manifests fit their schemas."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"
BLOCK = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
FILES = dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))
SCRIPTS = [name for name in FILES if name.endswith((".sh", ".sbatch"))]
# Of sbatch, as its manual has them.
SBATCH = {"job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "exclusive", "time", "output"}
# Of the ray.io/v1 types of KubeRay, with what they need; templates are those of Kubernetes, and validated as such.
GROUP = {
    "type": "object",
    "required": ["template"],
    "additionalProperties": False,
    "properties": {
        "groupName": {"type": "string"},
        "replicas": {"type": "integer", "minimum": 0},
        "minReplicas": {"type": "integer", "minimum": 0},
        "maxReplicas": {"type": "integer", "minimum": 0},
        "rayStartParams": {"type": "object", "additionalProperties": {"type": "string"}},
        "template": {"type": "object"},
    },
}
RAY_JOB = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "spec": {
            "type": "object",
            "required": ["entrypoint", "rayClusterSpec"],
            "additionalProperties": False,
            "properties": {
                "entrypoint": {"type": "string"},
                "shutdownAfterJobFinishes": {"type": "boolean"},
                "ttlSecondsAfterFinished": {"type": "integer"},
                "backoffLimit": {"type": "integer"},
                "rayClusterSpec": {
                    "type": "object",
                    "required": ["headGroupSpec"],
                    "additionalProperties": False,
                    "properties": {
                        "rayVersion": {"type": "string"},
                        "authOptions": {"type": "object", "properties": {"mode": {"enum": ["token", "disabled"]}}},
                        "headGroupSpec": GROUP,
                        "workerGroupSpecs": {
                            "type": "array",
                            "items": {**GROUP, "required": ["groupName", "template"]},
                        },
                    },
                },
            },
        },
    },
}


def test_every_way_has_its_file():
    assert [*FILES] == [
        "eight-gpus.sh",
        "two-machines.sh",
        "fgbench.sbatch",
        "fgbench-rayjob.yaml",
        "fgbench-cloud.yaml",
    ]


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_pass_the_linter(tmp_path, name):
    script = tmp_path / name
    script.write_text(FILES[name], encoding="utf-8")
    linter = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert linter is not None
    run = subprocess.run([linter, "--shell=bash", str(script)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_options_of_the_batch_system_are_its_own():
    lines = [line for line in FILES["fgbench.sbatch"].splitlines() if line.startswith("#SBATCH")]
    assert {line.split("--")[1].split("=")[0] for line in lines} == SBATCH


def test_the_manifest_fits_the_types_of_kuberay_and_kubernetes():
    job = yaml.safe_load(FILES["fgbench-rayjob.yaml"])
    jsonschema.validate(job, RAY_JOB)
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"]["mode"] == "token"
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **group["template"]}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def test_the_cloud_file_fits_the_schema_of_ray():
    import ray

    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(yaml.safe_load(FILES["fgbench-cloud.yaml"]), schema)


def commands() -> list[str]:
    """Every command of fgbench on the page and in its files, in one line each."""
    joined = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    found = [line.strip() for line in joined.splitlines() if line.strip().startswith("fgbench ")]
    return [*found, yaml.safe_load(FILES["fgbench-rayjob.yaml"])["spec"]["entrypoint"]]


@pytest.mark.parametrize("command", commands())
def test_commands_have_options_that_exist(command):
    words = shlex.split(command)
    run = subprocess.run(
        [sys.executable, "-m", "fgbench", words[1], "--help"], capture_output=True, text=True, check=True, timeout=120
    )
    flags = {word.split("=")[0] for word in words if word.startswith("--")}
    assert not {flag for flag in flags if flag not in run.stdout.replace("\n", " ")}
