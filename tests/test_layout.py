"""Permitted imports between packages, circular imports, and the name of the folder ``selectors``."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"fgbench": ROOT / "fgbench", "fgbench_selectors": ROOT / "selectors", "fgbench_reports": ROOT / "reports"}
LONGEST = 400


def sources(room: str) -> list[Path]:
    return sorted(ROOMS[room].rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.parametrize("folder", ["selectors", "reports"])
def test_source_roots_are_no_packages(folder):
    """``selectors/__init__.py`` would shadow Python's own module of that name for everything started here."""
    assert not (ROOT / folder / "__init__.py").exists()


def test_pythons_own_selectors_module_is_found_from_the_root():
    result = python("-c", "import selectors, subprocess, asyncio; print(selectors.DefaultSelector.__module__)")
    assert (result.returncode, result.stdout.strip()) == (0, "selectors")


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("fgbench_selectors", ("fgbench.", "fgbench_reports", "timm", "fvcore", "pandas", "rich", "typer")),
        ("fgbench_reports", ("fgbench_selectors", "torch", "timm", "fvcore", "typer")),
    ],
)
def test_arrows_run_one_way(room, forbidden):
    for path in sources(room):
        for name in imports(path):
            assert name != "fgbench"
            assert not name.startswith(forbidden), f"{path.name} imports {name}"
            assert not name.startswith("fgbench.") or name.startswith("fgbench.results"), f"{path.name} imports {name}"


# Which rooms each room of the harness may import.
BASE = {"errors", "packages", "hub", "backbone_shape", "quantities", "values", "options", "results"}
BELOW: dict[str, set[str]] = {
    "results": {"errors", "packages"},
    "workers": BASE,
    "plugins": {*BASE, "workers"},
    "datasets": {*BASE, "plugins"},
    "models": {*BASE, "plugins"},
    "flops": {*BASE, "plugins", "models"},
    "deploy": {*BASE, "plugins", "models", "datasets"},
    "measure": {*BASE, "plugins", "models", "flops", "datasets", "deploy"},
    "audit": {*BASE, "plugins", "models", "deploy", "explain"},
    "explain": {*BASE, "plugins", "models", "flops", "datasets", "workers", "deploy"},
    "training": {*BASE, "plugins", "models", "flops", "datasets", "explain", "workers"},
    "pretraining": {*BASE, "models"},
    "study": {*BASE, "plugins", "models", "flops", "datasets", "training", "workers"},
    "sweep": {*BASE, "plugins", "models", "flops", "measure", "datasets", "workers"},
    "cluster": {*BASE, "plugins", "measure", "workers", "sweep", "training", "study"},
    # The rules by which a comparison is judged are the reports'.
    "regress": {*BASE, "plugins", "models", "flops", "measure", "sweep", "workers", "reports"},
}
RENDERING = {("plugins", "reports")}  # reports of plug-ins are made and drawn in workers


def room_of(name: str) -> str | None:
    """The room that a module is imported from; the reports are one as well."""
    if name.startswith("fgbench_reports"):
        return "reports"
    return name.split(".")[1] if name.startswith("fgbench.") else None


def modules_of(path: Path) -> set[str]:
    """Modules and packages of fgbench that a file imports, also as ``from fgbench import NAME``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "fgbench":
            found |= {f"fgbench.{alias.name}" for alias in node.names}
    return found | imports(path)


@pytest.mark.parametrize("room", sorted(BELOW))
def test_inside_the_harness_arrows_run_from_the_commands_down(room):
    """cli → sweep, training, regress → measure, explain → flops, datasets → models, and never back."""
    folder = ROOT / "fgbench" / room
    assert folder.is_dir()
    for path in sorted(folder.rglob("*.py")):
        others = {other for name in modules_of(path) if (other := room_of(name)) not in (None, room)}
        above = {other for other in others - BELOW[room] if (room, other) not in RENDERING}
        assert not above, f"{path.relative_to(ROOT)} imports {sorted(above)}"


PACKAGES = {
    ".".join((room, *path.relative_to(ROOMS[room] / ("" if room == "fgbench" else room)).with_suffix("").parts)): path
    for room in ROOMS
    for path in sources(room)
}
MODULES = {name.removesuffix(".__init__"): path for name, path in PACKAGES.items()}


def imported_modules(path: Path) -> set[str]:
    """Modules of the three packages that a file imports, inside of functions too, but not for type checkers alone."""
    names: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes += node.orelse
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            names |= {inner[name] if inner[name] in MODULES else node.module for name in inner}
        else:
            nodes += ast.iter_child_nodes(node)
    return names & MODULES.keys()


def test_no_imports_form_a_circle():
    graph = {name: imported_modules(path) - {name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' ← '.join(error.args[1])}")


def test_every_room_is_known():
    rooms = {path.parent.name for path in (ROOT / "fgbench").glob("*/__init__.py")}
    assert rooms == {*BELOW, "cli"}


def test_no_module_is_longer_than_can_be_read():
    long = {
        path.name: n for room in ROOMS for path in sources(room) if (n := len(path.read_text().splitlines())) > LONGEST
    }
    assert long == {}


@pytest.mark.parametrize(
    "command",
    [
        "from fgbench.cli import app; app(['--help'], standalone_mode=False)",
        "from fgbench.cli import app; app(['flops', '--help'], standalone_mode=False)",
        "from fgbench.cli import app; app(['flops', '--sizes', 'x'], standalone_mode=False)",
        "import fgbench, fgbench_selectors, fgbench_reports.measured.flops, fgbench_reports.tables.render",
        "from fgbench.cli import app; app(['throughput', '--help'], standalone_mode=False)",
        "from fgbench.cli import app; app(['throughput', '--budget', 'soon'], standalone_mode=False)",
        "from fgbench.cli import app; app(['accuracy', '--help'], standalone_mode=False)",
        "from fgbench.cli import app; app(['accuracy', '--epochs', 'many'], standalone_mode=False)",
        "from fgbench.cli import app; app(['report', '--help'], standalone_mode=False)",
        "from fgbench.cli import app; app(['report', 'tabel1'], standalone_mode=False)",
        "from fgbench.cli import app; app(['choose', '--max-latency', 'soon'], standalone_mode=False)",
        "from fgbench.cli import app; app(['visualize', '--help'], standalone_mode=False)",
        "import fgbench.sweep.sweep, fgbench.sweep.context, fgbench.cli.progress",
    ],
)
def test_help_errors_and_reports_do_not_import_torch(command):
    result = python("-c", f"{command}; import sys; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)")
    assert result.returncode == 0, result.stderr


def test_help_imports_neither_numpy_nor_rich():
    command = "from fgbench.cli import app; app(['throughput', '--help'], standalone_mode=False)"
    result = python("-c", f"{command}; import sys; sys.exit('numpy' in sys.modules or 'rich' in sys.modules)")
    assert result.returncode == 0, result.stderr


REFUSED = {
    "flops --models glism": "did you mean glsim",
    "flops --backbones vit_bse_patch16_224": "did you mean",
    "flops --selector glss": "did you mean gls",
    "flops --models cal --backbone resnet1001": "did you mean resnet101",
    "throughput --engine torhc": "did you mean torch",
    "throughput --models glsim tarnsfg": "did you mean transfg",
    "throughput --backbone vit_base_patch16_224.augreg": "did you mean",
    "accuracy --model glism": "did you mean glsim",
    "accuracy --dataset synthetics": "did you mean synthetic",
    "accuracy --dataset-options clases=3": "it has:",
    "accuracy --model-options topk=3": "it has:",
    "accuracy --optimizer sdg": "timm has no optimizer",
    "accuracy --quality --judged glss": "did you mean gls",
    "accuracy --checkpoint nowhere.pth": "no checkpoint file",
    "visualize a.png --selectors glss": "did you mean gls",
    "visualize a.png --model tpskg": "cannot be reproduced",
    "visualize a.png --checkpoint nowhere.pth": "no checkpoint file",
    "regress --baseline reports/baseline.json --models glism": "did you mean glsim",
    "report tabel1": "did you mean table1",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_wrong_name_is_told_without_torch(words):
    command = "from fgbench.cli import app; import sys; code = app(sys.argv[1:], standalone_mode=False)"
    result = python("-c", f"{command}; sys.exit(code + ('torch' in sys.modules))", *words.split())
    assert result.returncode == 2, result.stderr
    assert REFUSED[words] in result.stderr


@pytest.mark.parametrize("kind", ["selectors", "models", "datasets", "reports", "backbones"])
def test_every_kind_is_listed_without_torch(kind):
    command = f"from fgbench.cli import app; app(['list', '{kind}'], standalone_mode=False)"
    result = python("-c", f"{command}; import sys; sys.exit('torch' in sys.modules)")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) > 5


@pytest.mark.parametrize("words", ["['list', 'reports']", "['report', 'table9']"])
def test_reports_are_listed_and_made_without_torch(words):
    command = f"from fgbench.cli import app; app({words}, standalone_mode=False)"
    result = python("-c", f"{command}; import sys; sys.exit('torch' in sys.modules)")
    assert result.returncode == 0, result.stderr
    assert "able 9" in result.stdout


def test_the_module_runs_as_a_command():
    result = python("-m", "fgbench", "--version")
    assert result.stdout.startswith("fgbench 0.")
