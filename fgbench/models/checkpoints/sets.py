"""Choose the set of weights that is read, where a checkpoint has several dictionaries of tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.arrays import numbers_of
from fgbench.models.checkpoints.file_kinds import shown

RAW, AVERAGED, TOP = "raw", "ema", "."  # values of --weights besides keys of the file; TOP is its highest level
# Usual keys of the weights of a model.
PLAIN = frozenset(
    "model state_dict model_state_dict model_state model_weights net net_state_dict network module weights "
    "params".split()
)
USUAL = frozenset(("model", "state_dict", "model_state_dict"))  # those that a report does not mention
# Words in the keys of an average over training steps. The teacher of DINO, iBOT and Mean Teacher is one.
AVERAGES = frozenset("ema averaged average avg swa shadow polyak teacher".split())
# Words in the keys of tensors that are no weights of a model.
OTHERS = frozenset(
    "optim optimizer optimizers opt scheduler schedulers scaler amp rng loss losses criterion args config cfg hparams "
    "callbacks loops hub meta history metrics logs log stats averaging".split()
)
BESIDE = ("feature_center",)  # a weight of CAL that its code saves beside the state dict
MAX_DEPTH = 32  # of nested dictionaries
SHOWN = 8  # keys in a message
SAVE_ALONE = "save the state dict alone"
SHARED = 0.5  # share of common names, of the larger set, from which two sets are weights of one network
WRAPPED = r"^((module|_orig_mod|_forward_module)\.)+"  # first parts of names, before the word that tells sets apart

Line = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The chosen set of weights.

    Args:
        weights: Tensors by name.
        key: Their key in the file; None where there is no other set and the key is a usual one.
        others: Keys of the other sets.
        swapped: Whether the code that wrote the file saves the average under ``state_dict``.

    """

    weights: dict[str, Tensor]
    key: str | None
    others: tuple[str, ...] = ()
    swapped: bool = False

    def note(self) -> str | None:
        """A remark about the choice in words, or None."""
        if self.key is None:
            return None
        others = f", not those under {_listed(self.others)}; --weights chooses" if self.others else ""
        swapped = " (the code that wrote the file keeps the average under 'state_dict')" if self.swapped else ""
        return f"the weights under {self.key!r} are read{others}{swapped}"


@dataclass(slots=True)
class _Set:
    """One candidate. An average is ``AVERAGED`` weights; ``plain``: all of its keys are known."""

    line: Line
    weights: dict[str, Tensor]
    average: bool
    plain: bool
    aliases: tuple[Line, ...] = ()

    @property
    def key(self) -> str:
        return ".".join(self.line) or TOP

    @property
    def names(self) -> list[str]:
        return [self.key, *(".".join(alias) for alias in self.aliases)]


def choose(held: Any, wanted: str | None, path: Path) -> Chosen:
    """Choose one set of weights of a checkpoint.

    Args:
        held: The content of the file.
        wanted: ``RAW``, ``AVERAGED``, a key of the file such as ``teacher`` or ``model.student``, or None: the set
            under a usual key such as ``model``, else the only set.
        path: The file, for messages.

    Returns:
        The weights, without the common prefix where prefixes tell the sets apart.

    Raises:
        FgbenchError: If the file has no weights, a dictionary contains itself, ``wanted`` is not in it, or several sets
            have an equal right. The message names the keys of tensors.

    """
    walk = _Walk(path)
    walk.visit(held)
    whole = [candidate for candidate in walk.sets if not _is_outer(candidate, walk.sets)]
    if not whole:
        where = f"tensors are under {_listed(walk.elsewhere)}" if walk.elsewhere else ""
        raise FgbenchError("no weights in the checkpoint", str(path), where or "a dictionary of tensors was expected")
    if chosen := next((candidate for candidate in whole if wanted in candidate.names), None):
        sets = whole
    else:
        sets = [part for candidate in whole for part in (_split(candidate) or [candidate])]
        chosen = _pick(sets, wanted, path) if wanted in (None, RAW, AVERAGED) else _by_key(sets, wanted, path)
    others = tuple(
        candidate.key for candidate in sets if candidate is not chosen and not _equal(candidate.weights, chosen.weights)
    )
    beside = {
        name: tensor
        for line, tensors in walk.beside.items()
        if chosen.line[: len(line)] == line
        for name, tensor in tensors.items()
    }
    usual = USUAL.issuperset(chosen.line) and not others
    return Chosen(
        weights={**chosen.weights, **beside}, key=None if usual else chosen.key, others=others, swapped=walk.swapped
    )


class _Walk:
    """Searches all dictionaries of a file, each once, for sets of tensors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sets: list[_Set] = []
        self.beside: dict[Line, dict[str, Tensor]] = {}  # tensors of BESIDE by the keys of their dictionary
        self.elsewhere: list[str] = []  # keys of tensors that are no weights of a model, or have no names
        self.swapped = False
        self._by_id: dict[int, list[_Set]] = {}
        self._holders: set[int] = set()

    def visit(
        self, held: Any, line: Line = (), other: bool = False, averages: Mapping[str, bool] | None = None
    ) -> None:
        """Search a value.

        Args:
            held: The value.
            line: Its keys from the top of the file.
            other: Whether its tensors are no weights of a model.
            averages: Keys that hold averages, or do not, whatever they are called.

        """
        if not isinstance(held, Mapping):
            if _holds_tensors(held):
                self.elsewhere.append(f"{'.'.join(line) or TOP} (without names)")
            return
        if id(held) in self._holders:
            raise FgbenchError("a dictionary in the checkpoint holds itself:", str(self.path), SAVE_ALONE)
        if len(line) > MAX_DEPTH:
            raise FgbenchError(f"dictionaries lie more than {MAX_DEPTH} deep in", str(self.path), SAVE_ALONE)
        if id(held) in self._by_id:
            for candidate in self._by_id[id(held)]:
                candidate.aliases = (*candidate.aliases, line)
            return
        begun = len(self.sets)
        self._holders.add(id(held))
        self._take(held, line, other, averages or {})
        levels = _swapped(held)
        self.swapped = self.swapped or bool(levels)
        for key, value in sorted(held.items(), key=lambda item: _rank(item[0])):
            name = str(key)
            self.visit(value, (*line, name), other or _is_other(name), {**(averages or {}), **levels})
        self._holders.remove(id(held))
        self._by_id[id(held)] = self.sets[begun:] if len(self.sets) == begun + 1 else []

    def _take(self, held: Mapping[Any, Any], line: Line, other: bool, averages: Mapping[str, bool]) -> None:
        weights = _tensors(held)
        self.beside[line] = {name: tensor for name, tensor in weights.items() if name in BESIDE}
        counted = [
            name for name, tensor in weights.items() if tensor.ndim and name not in BESIDE and not _is_other(name)
        ]
        if other or not counted:
            if weights or any(isinstance(value, Tensor) for value in held.values()):
                self.elsewhere.append((".".join(line) or TOP) + ("" if weights else " (names that are no text)"))
            return
        average = next((averages[key] for key in line if key in averages), any(map(_is_average, line)))
        self.sets.append(_Set(line, weights, average, bool(line) and PLAIN.issuperset(line)))


def _pick(sets: list[_Set], wanted: str | None, path: Path) -> _Set:
    """The set that is meant by ``RAW``, ``AVERAGED`` or nothing."""
    fit = sets if wanted is None else [candidate for candidate in sets if candidate.average == (wanted == AVERAGED)]
    if not fit:
        what = "no average of weights" if wanted == AVERAGED else "nothing but averages of weights"
        raise FgbenchError(f"{what} is in the checkpoint", str(path), f"tensors are under {_keys(sets)}")
    if ordinary := [candidate for candidate in fit if candidate.plain]:
        return _only(ordinary, path)
    if wanted is None and any("teacher" in candidate.line for candidate in fit):
        return _only(fit, path)  # ambiguous: either the teacher or the student may be meant
    single = [candidate for candidate in fit if not candidate.average] or fit
    top = next((candidate for candidate in single if not candidate.line), None)
    if top is not None and all(
        len(candidate.weights) < len(top.weights) for candidate in single if candidate is not top
    ):
        return top
    return _only(single, path)


def _only(sets: list[_Set], path: Path) -> _Set:
    """The one set, or one of several that are equal."""
    first, *more = sets
    if all(_equal(first.weights, candidate.weights) for candidate in more):
        return first
    raise FgbenchError(
        f"{len(sets)} sets of weights, under {_keys(sets)}, are in the checkpoint",
        str(path),
        f"choose with --weights (weights= in Python), such as --weights {sets[-1].key}",
    )


def _by_key(sets: list[_Set], wanted: str, path: Path) -> _Set:
    fit = [candidate for candidate in sets if wanted == candidate.key] or [
        candidate
        for candidate in sets
        if candidate.key.startswith(f"{wanted}.") or candidate.key.endswith(f".{wanted}")
    ]
    if fit:
        return _only(fit, path)
    raise FgbenchError(
        f"no set of weights is called {wanted!r} in", str(path), f"tensors are under {_keys(sets)}; or name raw or ema"
    )


def _split(candidate: _Set) -> list[_Set]:
    """The sets that one dictionary tells apart by the first word of its names, such as ``teacher.`` and ``student.``.

    They are sets where an average has most of its names in common with something else; what else the dictionary has
    belongs to each of them.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in candidate.weights.items():
        bare = re.sub(WRAPPED, "", name)
        first, dot, after = bare.partition(".")
        group, within = groups.setdefault(first if dot else "", {}), re.sub(WRAPPED, "", after) if dot else bare
        if within in group:
            return []  # names that only their wrappers tell apart
        group[within] = tensor
    averages = [word for word in groups if _is_average(word)]
    parts: dict[str, dict[str, Tensor]] = {}
    for word in averages:
        others = {other: names for other, names in groups.items() if other not in averages}
        for other, names in {**others, "": _together(others)}.items():
            if len(names.keys() & groups[word].keys()) >= SHARED * max(len(names), len(groups[word])):
                parts |= {other: names, word: groups[word]}
                break
    rest = {} if "" in parts else _together({word: names for word, names in groups.items() if word not in parts})
    return [
        _Set(
            (*candidate.line, word) if word else candidate.line,
            {**rest, **names},
            _is_average(word),
            not word or word in PLAIN,
        )
        for word, names in parts.items()
    ]


def _together(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {
        f"{word}.{name}" if word else name: tensor for word, names in groups.items() for name, tensor in names.items()
    }


def _is_outer(candidate: _Set, sets: Iterable[_Set]) -> bool:
    """Whether known keys lead from this set to the weights proper: tensors beside those are no weights."""
    depth = len(candidate.line)
    return any(
        other.line[:depth] == candidate.line and len(other.line) > depth and PLAIN.issuperset(other.line[depth:])
        for other in sets
    )


def _swapped(held: Mapping[Any, Any]) -> dict[str, bool]:
    """Whether keys of this level hold averages, in layouts whose keys say the contrary."""
    if "ema_state_dict" in held and (
        "message_hub" in held or isinstance(held.get("meta"), Mapping)
    ):  # MMEngine's EMAHook
        return {"state_dict": True, "ema_state_dict": False}
    if "current_model_state" in held and "averaging_state" in held:  # Lightning's WeightAveraging
        return {"state_dict": True, "current_model_state": False}
    return {}


def _words(key: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", key).lower()))


def _is_average(key: str) -> bool:
    return not AVERAGES.isdisjoint(_words(key))


def _is_other(key: str) -> bool:
    return "." not in key and not OTHERS.isdisjoint(_words(key))


def _rank(key: Any) -> tuple[bool, bool]:
    return key not in PLAIN, _is_other(str(key))


def _tensors(held: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors and numeric arrays of a dictionary, by those of their names that are text."""
    arrays = numbers_of(held)
    return {
        name: torch.from_numpy(arrays[name]) if name in arrays else value
        for name, value in held.items()
        if isinstance(name, str) and (isinstance(value, Tensor) or name in arrays)
    }


def _holds_tensors(held: Any) -> bool:
    return isinstance(held, (list, tuple)) and any(isinstance(value, (Tensor, np.ndarray)) for value in held)


def _equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    if first.keys() != second.keys():
        return False
    return all(tensor is second[name] or _equal_tensors(tensor, second[name]) for name, tensor in first.items())


def _equal_tensors(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype or not (is_dense(first) and is_dense(second)):
        return False
    return torch.equal(first, second)


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor has a number of its own for each place; one that repeats a few could fill any memory."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _keys(sets: Iterable[_Set]) -> str:
    return _listed([candidate.key for candidate in sets])


def _listed(keys: Iterable[str]) -> str:
    names = [f"{TOP!r} (the file's top)" if key == TOP else shown(repr(key)) for key in keys]
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
