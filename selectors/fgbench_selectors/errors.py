"""The errors of fgbench: each says what is wrong, which value was met, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class FgbenchError(Exception):
    """Base of every error that fgbench raises on purpose.

    Args:
        what: The problem as a phrase without the value: ``"unknown selector"``.
        met: The value that was met, shown as ``repr``; None for none.
        do: Advice to the reader.

    """

    exit_code = 2

    def __init__(self, what: str, met: object = None, do: str = "") -> None:
        self.what, self.met, self.do = what, met, do
        shown = "" if met is None else f" {met!r}"
        super().__init__(f"{what}{shown}" + (f"; {do}" if do else ""))


class FeaturesError(FgbenchError, ValueError):
    """Features lack something that a selector needs, or contradict themselves."""


class UnknownNameError(FgbenchError, LookupError):
    """A name that is not registered; the message shows the nearest and the known names.

    Args:
        kind: Kind of the name in the singular: ``selector``.
        name: The unknown name.
        known: The known names.
        show: The largest number of known names that the message lists.
        others: Further names that the message may suggest; they are not listed.

    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], *, show: int = 12, others: Iterable[str] = ()
    ) -> None:
        names = sorted(known)
        near = _near(name, [*names, *others])
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        if len(names) > show:
            listing = f"{len(names)} are known: 'fgbench list {kind}s' shows them"
        else:
            kinds = f"{kind[:-1]}ies" if kind.endswith("dy") else f"{kind}s"  # studies, but keys
            listing = f"known {kinds}: {', '.join(names) or 'none'}"
        super().__init__(f"unknown {kind}", name, hint + listing)


def _near(name: str, names: Sequence[str]) -> list[str]:
    """Up to three names that are like a name, the likest first; those that are far less like it are left out."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    likeness = [difflib.SequenceMatcher(None, other, name).ratio() for other in near]
    return [other for other, ratio in zip(near, likeness, strict=True) if ratio > 0.75 * max(likeness)]


class BrokenPluginError(FgbenchError):
    """A plug-in that cannot be loaded or breaks its contract.

    Args:
        name: Name of the plug-in.
        origin: The distribution or the file that it comes from.
        why: The reason.

    """

    def __init__(self, name: str, origin: str, why: str) -> None:
        self.name, self.origin, self.why = name, origin, why
        super().__init__(f"plug-in {name!r} from {origin} is broken: {why}")


class BadFunctionError(BrokenPluginError):
    """A name in the form ``file.py:function`` that stands for no function which returns a network.

    Args:
        name: The name.
        origin: The file or the module.
        why: The whole message.

    """

    def __init__(self, name: str, origin: str, why: str) -> None:
        super().__init__(name, origin, why)
        self.args = (why,)
