"""The hub that weights and data sets come from: asked once whether it answers, before its client tries for a minute."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

ANSWER_S = 5.0  # in which the hub answers where there is a network


@contextmanager
def hub_or_cache() -> Iterator[bool]:
    """Whether the hub can be reached. Where it cannot, what is in its cache is found inside, and nothing is tried.

    Its client has a setting for that, ``HF_HUB_OFFLINE``, and none for how often it tries: five times per file, with
    growing pauses and a warning each.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT)
    try:
        yield not constants.HF_HUB_OFFLINE
    finally:
        constants.HF_HUB_OFFLINE = before


def why_not_had(error: Exception) -> str:
    """Why something cannot be had from the hub, in a line; its client's own words name its settings and its files."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, (LocalEntryNotFoundError, OfflineModeIsEnabled)):
        return "the hub does not answer, and its cache has none"
    return " ".join(str(error).split()) or type(error).__name__


@functools.cache
def _answers(address: str) -> bool:
    """Whether something answers there, by whatever proxy the client takes; with an error, too."""
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # documented, and not in its __all__

    try:
        get_session().head(address, timeout=ANSWER_S)
    except Exception:  # its client raises those of the library that it is built on, which depends on its version
        return False
    return True
