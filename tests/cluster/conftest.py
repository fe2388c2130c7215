"""A real Ray cluster on this machine: a head without processors, and three nodes of one each, on loopback."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NODES = 3
MEMORY = 80 * 2**20  # of the object store of a node, the least that Ray takes
# Ray reads them when it is imported, here and in every process of a test. A loaded machine needs more time than it
# gives by default.
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # its addresses are those of loopback
    "RAY_worker_register_timeout_seconds": "240",
    "RAY_gcs_server_port_wait_time_s": "240",
    "RAY_USAGE_STATS_ENABLED": "0",
}
MARK = "FGBENCH_CLUSTER_TEST"  # in the environment of all processes of these tests: others may run beside them
os.environ.update({**SETTINGS, MARK: f"{os.getpid()}-{secrets.token_hex(8)}"})


class RayCluster:
    """The cluster, and the processes of its nodes."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        # Sweeps wait for each other by a lock in TMPDIR: here for nobody else's.
        self._folder = tempfile.mkdtemp(prefix="fgbench-cluster-")
        head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
        for attempt in range(5):
            try:
                self._cluster = Cluster(initialize_head=True, head_node_args=head)
                break
            except Exception:
                if attempt == 4:
                    raise
        self._nodes: list[object] = []
        self.address = str(self._cluster.address)
        self.settle()

    def settle(self) -> None:
        """Bring the nodes to their number."""
        for node in [*self._nodes]:
            if not any(kind.process.poll() is None for kind in node.all_processes.get("raylet", ())):
                self._nodes.remove(node)
        while len(self._nodes) < NODES:
            labels = {"rack": "7"} if not self._nodes else None
            self._nodes.append(self._node(labels=labels))

    def _node(self, **options: object) -> object:
        """A node more. Ray gives one half a minute to start, which a busy machine may not have: again, then."""
        more = {"TMPDIR": self._folder, **options.pop("env_vars", {})}
        for attempt in range(5):
            try:
                return self._cluster.add_node(num_cpus=1, object_store_memory=MEMORY, env_vars=more, **options)
            except Exception:
                if attempt == 4:
                    raise
        raise AssertionError

    @contextmanager
    def node_with(self, folder: Path) -> Iterator[None]:
        """A node more, labelled ``code=other``, whose processes import what lies in a folder first."""
        more = {"PYTHONPATH": str(folder)}
        node = self._node(labels={"code": "other"}, env_vars=more)
        try:
            yield
        finally:
            self._cluster.remove_node(node)

    def kill_a_node(self) -> None:
        """End a node at once, as a power cut does."""
        node = self._nodes.pop()
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[RayCluster]:
    """One cluster for all tests of a session: its start takes longer than they do."""
    cluster = RayCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(shared_cluster: RayCluster) -> RayCluster:
    """The cluster with all of its nodes."""
    shared_cluster.settle()
    return shared_cluster
