"""``fgbench visualize`` as a process: help without torch, files that are complete, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers.small_pictures import SMALL, run, saved

from fgbench.errors import FgbenchError
from fgbench.results import output
from fgbench.results.output import emit_bytes

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("words", [["--help"], ["a.png", "--style", "cold"], ["a.png", "--output", "x.gif"]])
def test_help_and_bad_options_import_neither_torch_nor_matplotlib(words):
    code = (
        f"from fgbench.cli import app; app(['visualize', *{words!r}], standalone_mode=False); "
        "import sys; sys.exit(bool({'torch', 'matplotlib', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "x.png"
    target.write_bytes(b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output.os, "fsync", full)
    with pytest.raises(FgbenchError, match="No space left on device"):
        emit_bytes(b"new", target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_pipe_takes_a_picture(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    emit_bytes(b"\x89PNG\r\n\xff", pipe)
    reader.join(timeout=120)
    assert read == [b"\x89PNG\r\n\xff"]


IMPATIENT = """
import os, signal
from fgbench_selectors import Needs, Selector

looks = []

class Impatient(Selector):
    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features):
        looks.append(1)
        if len(looks) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return features.read_tokens()[:, features.num_prefix_tokens:, 0]
"""


def test_ctrl_c_in_the_middle_keeps_what_was_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [saved(tmp_path, f"{index}.png").name for index in range(5)]
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = run(*names, *SMALL, "--plugin", "impatient.py", "--selectors", "impatient")
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN, "a second one must not cost what the first one kept"
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 130
    wrote, interrupted = result.stderr.splitlines()
    assert wrote == "fgbench: wrote visualize.png"
    assert interrupted == "fgbench: interrupted; 2 of 5 pictures were looked at and kept"
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {*names, "impatient.py", "visualize.png"}
