"""What a figure was measured on and with. No torch: what only torch knows is asked of a worker."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# What a measured figure runs through. Tables and command lines may change without making it old.
MEASURED_BY = ("backbone_shape.py", "flops", "measure", "models")  # folders: no file in them can be forgotten

# Environment variables that change how libraries compute. Thread counts are recorded as they came out, and which GPU
# is visible by its name.
SETTINGS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "ONEDNN_", "DNNL_", "ATEN_", "TORCH_", "TORCHINDUCTOR_",
            "PYTORCH_", "CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_TF32", "MALLOC_", "GLIBC_TUNABLES",
            "LD_PRELOAD")  # fmt: skip
NO_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUDA_HOME",
               "CUDA_PATH", "CUDA_VERSION", "TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR")  # fmt: skip


def software() -> dict[str, Any]:
    """Versions and revisions that a figure depends on."""
    return {
        "fgbench": installed_version("fgbench"),
        "git_revision": git_revision(Path(__file__).parents[1]),
        "timm": installed_version("timm"),
        "numpy": installed_version("numpy"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def processor() -> dict[str, Any]:
    """The host's processor, how many of its cores there are for this process, and what libraries are told about it."""
    told = {name: value for name, value in sorted(os.environ.items()) if name.startswith(SETTINGS)}
    return {"cpu": _cpu_name(), "cpus": cores(), "settings": {n: v for n, v in told.items() if n not in NO_SETTINGS}}


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def code_digest() -> str:
    """A digest of the code of fgbench that a figure runs through: models, selectors, timing."""
    digest = hashlib.sha256()
    own = Path(__file__).parents[1]
    files = [
        path for name in MEASURED_BY for path in (own / name, *sorted((own / name).rglob("*.py"))) if path.is_file()
    ]
    selectors = importlib.util.find_spec("fgbench_selectors")
    if selectors is not None and selectors.submodule_search_locations:
        files += sorted(Path(selectors.submodule_search_locations[0]).rglob("*.py"))
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def git_revision(folder: Path) -> str | None:
    """The revision of the checkout that a folder lies in, ``+`` behind it where files differ; None outside of one."""
    git = shutil.which("git")
    if git is None or not (folder.parent / ".git").exists():  # an environment inside somebody else's checkout
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
    """The version that a package was installed with; None where nobody wrote it down."""
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
