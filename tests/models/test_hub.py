"""Weights and data sets of the hub without a network: one request, and one line."""

from __future__ import annotations

import http.server
import logging
import threading

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from fgbench import hub
from fgbench.cli import app
from fgbench.hub import hub_or_cache

NOBODY = "http://127.0.0.1:9"  # the port that throws everything away; nothing listens there


@pytest.fixture
def at(monkeypatch, tmp_path):
    """Puts the hub at an address, with an empty cache."""

    def put(address: str) -> None:
        hub._answers.cache_clear()
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield put
    hub._answers.cache_clear()


@pytest.fixture
def server():
    """Answers that it has nothing; the requests that it got."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", asked
        listening.shutdown()
        thread.join()


def test_where_nothing_answers_the_cache_is_all_that_there_is(at):
    at(NOBODY)
    for _ in range(2):
        with hub_or_cache() as reached:
            assert not reached
            assert constants.HF_HUB_OFFLINE
        assert not constants.HF_HUB_OFFLINE
    with pytest.raises(KeyError), hub_or_cache():
        raise KeyError
    assert not constants.HF_HUB_OFFLINE


def test_an_error_is_an_answer_too_and_is_asked_for_once(at, server):
    address, asked = server
    at(address)
    for _ in range(2):
        with hub_or_cache() as reached:
            assert reached
            assert not constants.HF_HUB_OFFLINE
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (
            ["visualize", "a.png", "--backbone", "vit_tiny_patch16_224", "--pretrained"],
            "no pretrained weights for 'vit_tiny_patch16_224': the hub does not answer, and its cache has none; leave "
            "--pretrained out for random weights, or give a file that you have with --checkpoint",
            3,
        ),
        (
            ["accuracy", "--dataset", "hfds/food101"],
            "cannot open hfds/food101: the hub does not answer, and its cache has none; fetch it where there is a "
            "network, and name the folder",
            2,
        ),
    ],
)
def test_without_network_it_is_one_line_and_no_retry(words, message, code, at, caplog):
    at(NOBODY)
    with caplog.at_level(logging.DEBUG, logger="huggingface_hub"):
        result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == f"fgbench: {message}\n"
    assert not [record for record in caplog.records if "Retrying" in record.getMessage()]
