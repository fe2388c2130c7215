"""Messages between processes: one JSON object a line, on a socket that nothing else writes to.

``multiprocessing.connection.Connection`` does not serve here: its ``recv_bytes`` waits without a limit once the first
byte of a message is there, and foreign code in a worker may write half a message.
"""

from __future__ import annotations

import json
import socket
import time
from multiprocessing.connection import wait
from typing import Any

from fgbench.results.reading import parse_json

Message = dict[str, Any]
LONGEST_BYTES = 64 * 2**20  # far more than any message of fgbench has
BLOCK_BYTES = 65536  # that are read at once


class ConnectionEndedError(Exception):
    """The process at the other end is gone, or has closed its socket."""


class BadMessageError(Exception):
    """The bytes that came are not a JSON object."""


class Messages:
    """One end of a connection to another process."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unread = b""

    def send(self, message: Message, timeout_s: float | None = None) -> None:
        """Send a message.

        Args:
            message: Values that JSON has; without NaN and infinity.
            timeout_s: Seconds that the other process may take to read it; None waits for ever.

        Raises:
            ConnectionEndedError: The other process reads no more.
            TimeoutError: The other process does not read in time; part of the message may have been sent.
            ValueError: A number is not finite.
        """
        line = json.dumps(message, allow_nan=False).encode() + b"\n"
        self._sock.settimeout(timeout_s)
        try:
            self._sock.sendall(line)
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionEndedError from error

    def receive(self, timeout_s: float | None = None, ending: Messages | None = None) -> Message:
        """Wait for the next message.

        Args:
            timeout_s: Seconds until the whole message has to be there; None waits for ever.
            ending: A connection that speaks only when the other process has ended.

        Returns:
            The message. What came of a later one is kept for the next call.

        Raises:
            TimeoutError: The message is not complete in time; its first part is kept for the next call.
            ConnectionEndedError: No message will ever come.
            BadMessageError: A line came that is not a JSON object, or that is longer than ``LONGEST_BYTES``.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        watched = [self._sock] if ending is None else [self._sock, ending._sock]
        while b"\n" not in self._unread:
            ready = wait(watched, None if until is None else max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            try:
                block = self._sock.recv(BLOCK_BYTES) if self._sock in ready else b""
            except OSError as error:
                raise ConnectionEndedError from error
            if not block:
                raise ConnectionEndedError
            self._unread += block
            if len(self._unread) > LONGEST_BYTES:
                raise BadMessageError(f"{len(self._unread)} bytes without an end")
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            message = parse_json(line)
        except ValueError as error:
            raise BadMessageError(repr(line[:80])) from error
        if not isinstance(message, dict):
            raise BadMessageError(repr(line[:80]))
        return message

    def close(self) -> None:
        """Close this end; the process at the other end notices."""
        self._sock.close()
