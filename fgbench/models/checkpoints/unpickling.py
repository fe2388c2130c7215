"""Classes that a pickled checkpoint may hold beside weights: settings, paths, dates, numbers of a log.

torch's reader calls only what this module names. Classes with code of their own are replaced by an empty dictionary or
list: their packages need not be installed, and their code does not run.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from typing import Any

import numpy as np

# Classes of objects beside weights, by module; none of them is restored.
SETTINGS = {
    "builtins": "bool bytes dict float frozenset int list object range slice str tuple",
    "collections": "defaultdict",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    **dict.fromkeys(("pathlib", "pathlib._local"), "PosixPath PurePosixPath PureWindowsPath WindowsPath"),
    "time": "struct_time",
    "torch.torch_version": "TorchVersion",
    "types": "SimpleNamespace",
    "typing": "Any",
    "uuid": "UUID",
    # Settings of a training run.
    "addict.addict": "Dict",
    "box.box": "Box",
    "detectron2.config.config": "CfgNode",
    "easydict": "EasyDict",
    "fvcore.common.config": "CfgNode",
    **dict.fromkeys(
        ("lightning.fabric.utilities.data", "lightning_fabric.utilities.data", "pytorch_lightning.utilities.parsing"),
        "AttributeDict",
    ),
    "ml_collections.config_dict.config_dict": "ConfigDict FieldReference FrozenConfigDict",
    **dict.fromkeys(("mmcv.utils.config", "mmengine.config.config"), "Config ConfigDict"),
    "munch": "Munch",
    "omegaconf.base": "ContainerMetadata Metadata",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.nodes": "AnyNode BooleanNode BytesNode EnumNode FloatNode IntegerNode InterpolationResultNode PathNode "
    "StringNode",
    "yacs.config": "CfgNode",
}
# NumPy's letters for numbers, text and dates. Objects and records are left out: their bytes could be crafted pointers.
DTYPES = "?bhilqBHILQefdgFDSUMm"


class _Settings:
    """Replaces any class of ``SETTINGS``: its objects become empty dictionaries."""

    def __new__(cls, *args: object, **options: object) -> Any:
        return OrderedDict()


class _Queue:
    """Replaces ``collections.deque``: its objects become empty lists."""

    def __new__(cls, *args: object, **options: object) -> Any:
        return []


def restored() -> list[Any]:
    """The argument of ``torch.serialization.safe_globals``.

    Returns:
        Classes, and pairs of a class and the name that it replaces.

    """
    rebuild, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    homes = ("numpy.core.multiarray", "numpy._core.multiarray")
    named = [(rebuild, f"{home}._reconstruct") for home in homes] + [(scalar, f"{home}.scalar") for home in homes]
    named += [(_Settings, f"{module}.{name}") for module, names in SETTINGS.items() for name in names.split()]
    dtypes = {type(np.dtype(code)) for code in DTYPES}
    return [argparse.Namespace, np.ndarray, np.dtype, *dtypes, *named, (_Queue, "collections.deque")]
