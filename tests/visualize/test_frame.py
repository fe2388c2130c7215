"""What stands around the command: no torch for its help, files that are written whole, Ctrl-C from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from visualize.small import saved

from fgbench import output
from fgbench.errors import FgbenchError
from fgbench.output import emit_bytes

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
    reader.join(timeout=10)
    assert read == [b"\x89PNG\r\n\xff"]


SLOW = """
import sys, time
from fgbench_selectors import Needs, Selector

class Slow(Selector):
    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features):
        print("looking", file=sys.stderr, flush=True)
        time.sleep(0.5)
        return features.read_tokens()[:, features.num_prefix_tokens:, 0]
"""


@pytest.mark.slow
def test_ctrl_c_from_outside_keeps_what_was_looked_at(tmp_path):
    names = [saved(tmp_path, f"{index:02}.png").name for index in range(30)]
    (tmp_path / "slow.py").write_text(SLOW)
    words = [*names, "--backbone", "test_vit", "--size", "64", "--plugin", "slow.py", "--selectors", "slow"]
    started = subprocess.Popen(
        [sys.executable, "-m", "fgbench", "visualize", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(ROOT / place) for place in ("", "selectors", "reports"))},
    )
    assert started.stderr is not None
    looked = 0
    while looked < 3:
        line = started.stderr.readline()
        assert line, "it ended by itself"
        looked += line == "looking\n"
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=120)
    assert started.returncode == 130, said
    wrote, interrupted = said.splitlines()[-2:]
    assert wrote == "fgbench: wrote visualize.png"
    assert re.fullmatch(r"fgbench: interrupted; [2-4] of 30 pictures were looked at and kept", interrupted)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "slow.py", "visualize.png"}
