"""The nodes of a cluster as Ray describes them, and which of them a command asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fgbench.cluster.request import CPU, ClusterOptions
from fgbench.errors import CannotMeasureError, FgbenchError

TYPE = "accelerator_type:"  # of Ray's resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node as Ray describes it."""

    id: str
    name: str  # for people; each node has another
    addresses: frozenset[str]
    labels: Mapping[str, str]
    cpus: float
    gpus: int
    accelerator: str | None  # Ray's type

    def is_called(self, word: str) -> bool:
        """Whether a name, an address or a label is this node's."""
        name, equals, value = word.partition("=")
        if equals:
            return self.labels.get(name) == value
        return word in self.addresses or word == self.name or (len(word) >= 6 and self.id.startswith(word))


def nodes_of(ray: Any) -> list[Node]:
    """The nodes that are up."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    names = Counter(node["NodeManagerHostname"] for node in alive)
    found = []
    for node in alive:
        resources, host, key = node["Resources"], node["NodeManagerHostname"], node["NodeID"]
        types = [name.removeprefix(TYPE) for name in resources if name.startswith(TYPE)]
        found.append(
            Node(
                id=key,
                name=host if names[host] == 1 else f"{host}-{key[:6]}",
                addresses=frozenset({host, node["NodeManagerAddress"], node.get("NodeName") or host}),
                labels=node.get("Labels") or {},
                cpus=float(resources.get("CPU", 0)),
                gpus=int(resources.get("GPU", 0)),
                accelerator=types[0] if types else None,
            )
        )
    return sorted(found, key=lambda node: node.name)


def chosen(nodes: Sequence[Node], options: ClusterOptions, device: str | None) -> list[tuple[Node, bool]]:
    """The nodes that are used, each with whether it is used by its accelerators.

    Raises:
        FgbenchError: A name is no node's.
        CannotMeasureError: No node has an accelerator that was asked for.

    """
    for word in options.nodes or ():
        if not any(node.is_called(word) for node in nodes):
            raise FgbenchError(
                "no node is called, or labelled,", word, f"the cluster has {_listed(n.name for n in nodes)}"
            )
    named = [node for node in nodes if not options.nodes or any(map(node.is_called, options.nodes))]
    has = sorted({node.accelerator or "GPU" for node in named if node.gpus} | {CPU for node in named if node.cpus})
    if options.accelerators is None:
        wants_gpu = device == "cuda" or (device is None and any(node.gpus for node in named))
        used = [(node, wants_gpu) for node in named if (node.gpus if wants_gpu else node.cpus)]
        if not used:
            what = "a GPU" if wants_gpu else "a CPU for a process"
            raise CannotMeasureError(f"no node of the cluster has {what}; there are {len(named)} nodes")
        return used
    used = []
    for kind in dict.fromkeys(options.accelerators):
        is_cpu = kind.upper() == CPU
        if device is not None and is_cpu != (device == "cpu"):
            raise FgbenchError(f"--device {device} is not what this is measured on:", f"--accelerators {kind}")
        mine = [node for node in named if (node.cpus if is_cpu else node.gpus and _is_type(node, kind))]
        if not mine:
            raise CannotMeasureError(f"no node has an accelerator {kind!r}; the cluster has {_listed(has)}")
        used += [(node, not is_cpu) for node in mine if (node, not is_cpu) not in used]
    return used


def _is_type(node: Node, kind: str) -> bool:
    return kind.upper() in {(node.accelerator or "GPU").upper(), "GPU"}


def _listed(words: Iterable[str]) -> str:
    names = sorted(set(words))
    return ", ".join(names) if names else "none"
