"""The hub of weights and data sets: one short request before its client, which would try for a minute."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

ANSWER_S = 5.0  # timeout of the request


@contextmanager
def hub_or_cache() -> Iterator[bool]:
    """A context in which the hub's client uses only its cache if the hub does not answer.

    The client has the setting ``HF_HUB_OFFLINE`` for this. Without it, it tries five times per file, with growing
    pauses and a warning each.

    Returns:
        A context with True if the hub answers.

    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT)
    try:
        yield not constants.HF_HUB_OFFLINE
    finally:
        constants.HF_HUB_OFFLINE = before


def why_not_had(error: Exception) -> str:
    """Why the hub has not given a file, in one line.

    Args:
        error: The exception of the hub's client.

    """
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, (LocalEntryNotFoundError, OfflineModeIsEnabled)):
        return "the hub does not answer, and its cache has none"
    return " ".join(str(error).split()) or type(error).__name__


@functools.cache
def _answers(address: str) -> bool:
    """Whether an address answers, through the client's proxy; an answer with an error counts too."""
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # documented, and not in its __all__

    try:
        get_session().head(address, timeout=ANSWER_S)
    except Exception:  # the exceptions depend on the version of the client
        return False
    return True
