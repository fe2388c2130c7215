"""Options that send work to a cluster. Neither Ray nor torch is loaded here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fgbench.errors import FgbenchError
from fgbench.options import many, one, switch, whole

CLUSTER = "On a cluster"
LOCAL, AUTO = "local", "auto"  # a Ray of its own on this machine; the one that RAY_ADDRESS or this machine has
CPU = "CPU"  # the accelerator of nodes that are used without one

ON = one("--on", "a Ray cluster: auto, HOST:PORT, ray://HOST:10001, or local, one of its own here", "ADDRESS")
ACCELERATORS = many(
    "--accelerators",
    "measure on each of these kinds: H100, A100, …, CPU",
    "KIND…",
    default="GPUs, where there are any",
)
NODES = many(
    "--nodes",
    "only on these: names, addresses, or labels as rack=7",
    "NODE…",
    default="all that serve",
)
PER_RUN = one(
    "--gpus-per-run",
    "of a training: so many GPUs, a process each, by Ray Train; on nodes without GPUs, so many nodes",
    "N",
    read=whole("--gpus-per-run", 8, 4096),
)
SHIP_CODE = switch("--ship-code", "send the code of fgbench to the nodes, which need its requirements alone")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Where work is done; without an address here, and no Ray is loaded.

    Attributes:
        on: The address of a Ray cluster.
        accelerators: Ray's types of accelerators, and ``"CPU"``; None: GPUs where there are any, else CPUs.
        nodes: Names, addresses or labels of nodes; None: all.
        ship_code: Whether nodes get the code of this process.

    """

    on: Annotated[str | None, ON, CLUSTER] = None
    accelerators: Annotated[Sequence[str] | None, ACCELERATORS, CLUSTER] = None
    nodes: Annotated[Sequence[str] | None, NODES, CLUSTER] = None
    ship_code: Annotated[bool, SHIP_CODE, CLUSTER] = False

    def check(self) -> None:
        """Refuse what means nothing without a cluster. Raises :class:`FgbenchError`."""
        for given, flag in ((self.accelerators, "--accelerators"), (self.nodes, "--nodes"), (self.ship_code, SHIP)):
            if given and self.on is None:
                raise FgbenchError(f"{flag} is for a cluster", do="add --on auto, or leave it out")
        if self.on is not None and not self.on.strip():
            raise FgbenchError("--on needs an address, got", self.on, "for example auto, or ray://head:10001")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOnCluster(ClusterOptions):
    """Where trainings are done.

    Attributes:
        gpus_per_run: Processes of one training, an accelerator each.

    """

    gpus_per_run: Annotated[int, PER_RUN, CLUSTER] = 1

    def check(self) -> None:
        """Refuse what means nothing without a cluster. Raises :class:`FgbenchError`."""
        ClusterOptions.check(self)
        if self.gpus_per_run > 1 and self.on is None:
            do = "add --on auto; here, several processes train by accelerate launch"
            raise FgbenchError("--gpus-per-run is for a cluster", do=do)
        for given, flag in ((self.nodes, "--nodes"), (self.accelerators, "--accelerators")):
            if self.gpus_per_run > 1 and given:
                raise FgbenchError("Ray Train chooses the nodes of --gpus-per-run itself", do=f"leave {flag} out")
        if len(self.accelerators or ()) > 1:
            do = "name one, and start the command again for the others"
            raise FgbenchError(
                "runs are trained on one kind of accelerators, got", " ".join(self.accelerators or ()), do
            )


SHIP = SHIP_CODE.flags[0]
