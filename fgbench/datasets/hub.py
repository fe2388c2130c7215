"""Names with a prefix, as timm has them: ``hfds/food101``, ``tfds/oxford_flowers102``, ``wds/mine``.

Training takes images in any order, so all of them are given random access: hfds has it, wds is indexed, tfds is held
in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fgbench.datasets.dataset import DataSet
from fgbench.datasets.hfds import hfds
from fgbench.datasets.tfds import tfds
from fgbench.datasets.wds import wds

# Prefix → function (what follows it, data_dir, options) → DataSet. None of their packages is imported before a call.
HUB: Mapping[str, Callable[..., DataSet]] = MappingProxyType({"hfds": hfds, "tfds": tfds, "wds": wds})
