"""The hardware, the software and the code that a figure depends on. No torch: workers tell what only torch knows."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

# The code that computes a measured figure; tables and command lines may change without making the figure old.
MEASURED_BY = ("backbone_shape.py", "deploy", "flops", "measure", "models")  # folders: no file in them can be forgotten

# Environment variables that change how libraries compute. Thread counts are recorded as they came out, and which GPU
# is visible by its name.
SETTINGS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "ONEDNN_", "DNNL_", "ATEN_", "TORCH_", "TORCHINDUCTOR_",
            "PYTORCH_", "TIMM_", "ORT_", "OV_", "OPENVINO_", "CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_TF32", "MALLOC_",
            "GLIBC_TUNABLES", "LD_PRELOAD")  # fmt: skip
NO_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUDA_HOME",
               "CUDA_PATH", "CUDA_VERSION", "TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR")  # fmt: skip


NODE = "FGBENCH_NODE"  # the variable that says the name of a node to the processes there


def software() -> dict[str, Any]:
    """Versions and revisions that a figure depends on, and the node of a cluster that this is."""
    node = os.environ.get(NODE)
    return {
        **({"node": node} if node else {}),
        "fgbench": installed_version("fgbench"),
        "git_revision": git_revision(Path(__file__).parents[1]),
        "timm": installed_version("timm"),
        "numpy": installed_version("numpy"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def processor() -> dict[str, Any]:
    """The host's processor, the number of its cores for this process, and settings of libraries for it."""
    settings = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(SETTINGS) and name not in NO_SETTINGS
    }
    return {
        "cpu": _cpu_name(),
        "cpus": cores(),
        "settings": settings,
    }


def cores() -> int:
    """The number of cores that this process may use."""
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1


def code_digest() -> str:
    """A digest of the code of fgbench that a figure depends on: the folders of ``MEASURED_BY``, and all selectors.

    Returns:
        16 hexadecimal digits. They change with every file in these folders, and with no other.

    """
    own = Path(__file__).parents[1]
    places = [own / name for name in MEASURED_BY]
    selectors = importlib.util.find_spec("fgbench_selectors")
    if selectors is not None:
        places += map(Path, selectors.submodule_search_locations or ())
    return digest_of_code(places)[:16]


def digest_of_code(places: Iterable[Path]) -> str:
    """A digest of Python files.

    Args:
        places: Files, and folders that stand for all Python files in them.

    Returns:
        64 hexadecimal digits, of the names of the files below their folders and of their contents.

    """
    digest = hashlib.sha256()
    for place in places:
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            name = file.relative_to(place.parent).as_posix()
            digest.update(name.encode(errors="surrogateescape") + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def git_revision(folder: Path) -> str | None:
    """The revision of the checkout that a folder lies in, ``+`` behind it where files differ; None outside of one."""
    git = shutil.which("git")
    if git is None or not (folder.parent / ".git").exists():  # an environment inside the checkout of another project
        return None
    with suppress(OSError, subprocess.SubprocessError):
        revision = _git(git, folder, "rev-parse", "--short=12", "HEAD")
        return revision + ("+" if _git(git, folder, "status", "--porcelain", "--untracked-files=no") else "")
    return None


def _git(git: str, folder: Path, *words: str) -> str:
    run = subprocess.run(
        [git, "-C", str(folder), *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
        stdin=subprocess.DEVNULL,
    )
    return run.stdout.strip()


def installed_version(package: str) -> str | None:
    """The version that a package was installed with; None where it is not recorded."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str | None:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or None
