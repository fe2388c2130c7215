"""Supported projects, and the installers' messages about projects that cannot be installed."""

from __future__ import annotations

import pytest

from fgbench.regress.sides.installation import complaint, project_of

UV_METADATA = """\
error: Failed to parse metadata from built wheel
  cause: TOML parse error at line 6, column 9
           |
         6 | version="two and a half"
         expected version to start with a number, but no leading ASCII digits were found
"""
UV_BACKEND = """\
         [stderr]
         Traceback (most recent call last):
           File "<string>", line 8, in <module>
         ModuleNotFoundError: No module named 'nope'

hint: This error likely indicates that `x@1` depends on `nope`, but doesn't declare it as a build dependency.

or `uv pip install nope` into the environment and re-run with `--no-build-isolation`.
"""
PIP_REQUIREMENT = """\
  error: subprocess-exited-with-error
  × pip subprocess to install build dependencies did not run successfully.
  │ exit code: 1
  ╰─> [2 lines of output]
      ERROR: Could not find a version that satisfies the requirement no-such-backend-xyz (from versions: none)
      ERROR: No matching distribution found for no-such-backend-xyz
      [end of output]
  note: This error originates from a subprocess, and is likely not a problem with pip.
error: subprocess-exited-with-error
× pip subprocess to install build dependencies did not run successfully.
│ exit code: 1
╰─> See above for output.
note: This error originates from a subprocess, and is likely not a problem with pip.
"""


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (UV_METADATA, "expected version to start with a number, but no leading ASCII digits were found"),
        (UV_BACKEND, "ModuleNotFoundError: No module named 'nope'"),
        (PIP_REQUIREMENT, "ERROR: No matching distribution found for no-such-backend-xyz"),
        ("error: \x1b[31mno space\x07 left\n", "error: [31mno space left"),
        ("", "nothing"),
    ],
)
def test_of_an_installers_log_the_line_that_says_why_is_shown(log, said):
    assert complaint(log) == said


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("pyproject.toml", "[project]\nname = 'a'\n", True),
        ("pyproject.toml", "# nothing\n [ build-system ]\n", True),
        ("pyproject.toml", "[tool.black]\n[project-like]\n", False),
        ("setup.py", "", True),
        ("setup.txt", "", False),
    ],
)
def test_a_project_is_what_can_be_installed(tmp_path, name, text, found):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / name).write_text(text)
    assert project_of(inner, tmp_path) == (tmp_path if found else None)
    assert project_of(inner, tmp_path / "a") is None, "above the root"


def test_the_nearest_project_is_the_one(tmp_path):
    for folder in (tmp_path, tmp_path / "a"):
        folder.mkdir(exist_ok=True)
        (folder / "setup.py").write_text("")
    assert project_of(tmp_path / "a" / "gone", tmp_path) == tmp_path / "a"
