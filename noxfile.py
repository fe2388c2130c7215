"""`nox` runs everything that must hold; `nox -s bench` measures what must be fast."""

from __future__ import annotations

import os

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests", "regress"]
nox.options.reuse_existing_virtualenvs = True


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting and lint rules."""
    session.install("ruff>=0.9")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types on the three packages."""
    session.install(".[dev]")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The whole test suite, on the package as it is installed."""
    session.install(".[dev]")
    # Two processes of a thread each: what measures is one's, tests/conftest.py says, and takes nearly half of the time.
    # Whatever the environment says, Python keeps what it compiles: dozens of processes load torch, in half the time.
    session.run("pytest", "-n", "2", *session.posargs, env={"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""})


@nox.session
def regress(session: nox.Session) -> None:
    """What selectors and models cost, exactly, against reports/baseline.json."""
    session.install(".")
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    told = ("--markdown", summary, "--annotations") if summary else ()
    session.run("fgbench", "regress", "--baseline", "reports/baseline.json", *told)


@nox.session
def bench(session: nox.Session) -> None:
    """Published against fast, and whole commands; fails where a target is missed."""
    session.install(".[dev]")
    session.run(
        "pytest",
        "tests/benchmarks",
        "-o",
        "python_files=bench_*.py",
        "--benchmark-only",
        "--benchmark-columns=median,iqr,rounds",
        "--benchmark-json=benchmarks.json",
        *session.posargs,
    )
    session.run("python", "tests/benchmarks/show.py", "benchmarks.json")


@nox.session
def accuracy(session: nox.Session) -> None:
    """Trains small models on the drawn data set, and writes what selection buys into README.md and docs/accuracy.md."""
    session.install(".")
    session.run("python", "docs/accuracy.py", *session.posargs)


@nox.session
def cost(session: nox.Session) -> None:
    """Measures every selection by itself, and writes the tables and figures of docs/cost.md."""
    session.install(".")
    session.run("python", "docs/cost.py", *session.posargs)


@nox.session
def reports(session: nox.Session) -> None:
    """Renders reports/gallery/report from the rows that are kept; with ``-- --measure`` it counts and sweeps first."""
    session.install(".")
    session.run("python", "docs/gallery.py", *session.posargs)


@nox.session
def timm_list(session: nox.Session) -> None:
    """Writes the names and shapes of the timm that is installed into fgbench/plugins/timm; two minutes."""
    session.install(".")
    session.run("python", "-m", "fgbench.models.timm_list", *session.posargs)
