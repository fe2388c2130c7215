"""What stands around the command: no torch for its help, files that are written whole, Ctrl-C from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
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


@pytest.mark.slow
def test_ctrl_c_from_outside_ends_with_a_line_and_no_half_file(tmp_path):
    for index in range(60):
        saved(tmp_path, f"{index:02}.png")
    names = sorted(path.name for path in tmp_path.iterdir())
    words = [
        "visualize",
        *names,
        "--backbone",
        "test_vit",
        "--size",
        "448",
        "--selectors",
        "psm",
        "--impl",
        "published",
    ]
    started = subprocess.Popen(
        [sys.executable, "-m", "fgbench", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(ROOT / place) for place in ("", "selectors", "reports"))},
    )
    time.sleep(2)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=120)
    assert started.returncode == 130, said
    assert "interrupted" in said.splitlines()[-1]
    assert "Traceback" not in said
    left = {path.name for path in tmp_path.iterdir()} - set(names)
    assert left <= {"visualize.png"}, "nothing half written"
