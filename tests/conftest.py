from __future__ import annotations

import hashlib
import os
import platform
import signal
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

# In a process that was forked from a warm one, trio's plug-in of hypothesis warns of a generator that is well kept.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from hypothesis import HealthCheck, settings

# What a terminal or a CI wants to look like: rich reads it, and the expected tables are plain.
for wish in (
    "FORCE_COLOR",
    "NO_COLOR",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
    "COLUMNS",
    "LINES",
    "CLICOLOR_FORCE",
    "GITHUB_ACTIONS",
    "TF_BUILD",
    "GITLAB_CI",
    "TEAMCITY_VERSION",
):
    os.environ.pop(wish, None)

# What runs in the background of a shell is deaf to Ctrl-C, and so would be the processes that are interrupted here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is the machine's.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# torch keeps compiled graphs under names that do not say for which vectors they are: one of 512 bits that is read where
# vectors have 256 leaves half of every tensor unwritten. Each kind of processor has a cache of its own.
cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else platform.processor()
vectors = next((line for line in cpu.splitlines() if line.startswith(("flags", "Features"))), cpu)
kind = hashlib.sha256(f"{os.environ.get('ATEN_CPU_CAPABILITY')} {vectors}".encode()).hexdigest()[:12]
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"fgbench-{os.getuid()}-{kind}"))

# What one process has, from beginning to end: what times and kills, and what is computed once for several tests.
TOGETHER = (
    ("tests/measure/", "tests/sweep/", "tests/regress/test_measured.py"),  # one sweep at a time measures on a device
    ("tests/training/test_processes.py", "tests/cli/test_processes.py"),  # forked from one process
    ("tests/models/test_restatement.py",),
    ("tests/selectors/test_half_precision.py",),
    ("tests/datasets/synthetic/test_difficulty.py",),
    ("tests/reports/page/",),  # one browser
    ("tests/study/test_runs.py",),  # one study that is run
)


@pytest.fixture(scope="session", autouse=True)
def kept_elsewhere(tmp_path_factory):
    """What commands keep is not kept in the checkout, whichever test runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FGBENCH_STORE", str(tmp_path_factory.mktemp("kept") / "fgbench.db"))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_host_for_plugins(tmp_path_factory):
    """Commands inside of this process share the processes that foreign code is tried in."""
    from fgbench.workers.pool import shared_pools

    with pytest.MonkeyPatch.context() as patch, shared_pools():
        patch.setenv("FGBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def no_plugins_left_behind(monkeypatch):
    """Every test is a process of its own as far as plug-in files are known."""
    from fgbench.plugins.kinds import KINDS

    for kind in KINDS:
        monkeypatch.setattr(kind.registry, "_from_files", {})


@pytest.fixture(scope="session")
def warm():
    """Starts commands in processes of their own that need not load torch."""
    from helpers.warm_process import WarmHost

    with WarmHost() as host:
        yield host


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """``-n 2``: what belongs together comes first, as it takes longest; the rest goes test by test to who is free.

    Not by ``--dist loadgroup``: pytest-xdist 3.8 groups nothing on pytest 9.2, and does not say so.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((places[0] for places in TOGETHER if nodeid.startswith(places)), nodeid)

        def mark_test_complete(self, node, item_index: int, duration: float = 0) -> None:
            super().mark_test_complete(node, item_index, duration)
            # At every report all that was ever given to a process is counted anew: what is done is forgotten.
            given, scope = self.assigned_work[node], self._split_scope(self.registered_collections[node][item_index])
            if all(given[scope].values()):
                del given[scope]

    return Scheduling(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture
def same_as_snapshot(request) -> Callable[[str, str], None]:
    """Compare text with ``snapshots/<name>`` beside the test; FGBENCH_UPDATE_SNAPSHOTS=1 rewrites it."""
    folder = Path(request.path).parent / "snapshots"

    def compare(name: str, text: str) -> None:
        if os.environ.get("FGBENCH_UPDATE_SNAPSHOTS"):
            (folder / name).write_text(text, encoding="utf-8")
        assert text == (folder / name).read_text(encoding="utf-8")

    return compare
