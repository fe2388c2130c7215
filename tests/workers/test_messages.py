"""Messages arrive complete; an end, a timeout and wrong bytes are distinguished."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgbench.workers.messages import BadMessageError, ConnectionEndedError, Messages

WORDS = st.text(max_size=20)
MESSAGES = st.dictionaries(WORDS, st.one_of(WORDS, st.integers(), st.none(), st.lists(WORDS, max_size=3)), max_size=4)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield Messages(ours), Messages(theirs)
    ours.close()
    theirs.close()


@given(st.lists(MESSAGES, max_size=5))
def test_messages_arrive_as_they_were_sent(messages):
    ours, theirs = (Messages(sock) for sock in socket.socketpair())
    for message in messages:
        ours.send(message)
    assert [theirs.receive(60) for _ in messages] == messages
    ours.close()
    theirs.close()


def test_silence_is_a_timeout_and_the_message_is_not_lost(ends):
    ours, theirs = ends
    ours._sock.sendall(b'{"half": ')
    with pytest.raises(TimeoutError):
        theirs.receive(0.05)
    ours._sock.sendall(b"1}\n")
    assert theirs.receive(60) == {"half": 1}


@pytest.mark.parametrize("line", [b"hello\n", b"[1]\n", b"\xff\xfe\n", b"\n", b'{"a": \n'])
def test_garbage_is_called_garbage(ends, line):
    ours, theirs = ends
    ours._sock.sendall(line)
    with pytest.raises(BadMessageError):
        theirs.receive(60)


def test_an_end_is_an_end_on_both_sides(ends):
    ours, theirs = ends
    ours.close()
    with pytest.raises(ConnectionEndedError):
        theirs.receive(60)
    with pytest.raises(ConnectionEndedError):
        theirs.send({"anybody": "there"})


def test_a_line_without_an_end_is_garbage_before_memory_is_full(ends, monkeypatch):
    monkeypatch.setattr("fgbench.workers.messages.LONGEST_BYTES", 1000)
    ours, theirs = ends
    ours._sock.sendall(b"x" * 2000)
    with pytest.raises(BadMessageError):
        theirs.receive(60)
