"""`nox` runs everything that must hold; `nox -s bench` measures what must be fast."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

GALLERY = Path("reports") / "gallery"  # saved rows, and the report of them
SEEDS = ("1", "2", "3", "4", "5")
DRAWN = ("--dataset-options", "train_images=1000", "test_images=2000", "--epochs", "15", "--test-every", "15")
DRAWN += ("--seeds", *SEEDS)
DEVICE = "cuda" if shutil.which("nvidia-smi") else "cpu"

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
    slowest = ("--durations", "40", "--durations-min", "10")
    session.run(
        "pytest", "-n", "2", *slowest, *session.posargs, env={"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
    )


@nox.session
def thorough(session: nox.Session) -> None:
    """Further cases of what the tests ask already; before a release."""
    session.install(".[dev]")
    session.run(
        "pytest",
        "-n",
        "2",
        "-m",
        "thorough",
        *session.posargs,
        env={"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""},
    )


@nox.session
def regress(session: nox.Session) -> None:
    """What selectors and models cost, exactly, against reports/baseline.json."""
    session.install(".")
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    outputs = ("--markdown", summary, "--annotations") if summary else ()
    session.run("fgbench", "regress", "--baseline", "reports/baseline.json", *outputs)


@nox.session
def bench(session: nox.Session) -> None:
    """Published against fast, and whole commands; fails where a target is missed. A file after ``--`` runs alone."""
    session.install(".[dev]")
    files = () if any(word.startswith("tests/") for word in session.posargs) else ("tests/benchmarks",)
    session.run(
        "pytest",
        *files,
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
    """Trains small models on the drawn data set, some on fewer tokens, and fills docs/accuracy.md."""
    session.install(".")
    models = ("vit", "glsim", "transfg", "ffvt", "ramstrans", "dcal")
    reduced = ("vit+evit@0.7", "vit+evit@0.5", "vit+tome@0.7")
    store = ("--store", _store(session))
    small = ("--backbones", "vit_fgbench_patch12_96", "--sizes", "96", "--num-classes", "20")
    train = ("fgbench", "accuracy", *DRAWN, "--device", DEVICE, *store, *session.posargs)
    session.run(*train, "--model", *models, "--quality")
    session.run(*train, "--model", "vit", "--model-options", "overlap=4")
    session.run(*train, "--model", *reduced)
    session.run("fgbench", "flops", "--models", *models, *reduced, *small, *store)
    session.run("fgbench", "throughput", "--model", *models, *reduced, *small, "--batch-sizes", "1", "8", "32", *store)
    _export(session, "accuracy", "accuracy", "selection_quality", "flops", "throughput")
    _fill(session, "accuracy", "docs/accuracy.md")


@nox.session
def studies(session: nox.Session) -> None:
    """Trains the studies of docs/findings.md, those on emoji where FGBENCH_EMOJI names their folder; hours.

    ``-- table5`` trains one. Runs are shared with the session ``accuracy``; what is finished is not trained again.
    """
    session.install(".")
    place = ("--device", DEVICE, "--store", _store(session), "-o", os.devnull)
    models = ("vit", "glsim", "transfg", "ffvt", "ramstrans", "dcal")
    for name in session.posargs or ("table5", "table12", "selectors", "table13", "table14", "equal-cost", "emoji"):
        if name == "emoji":
            folder = os.environ.get("FGBENCH_EMOJI")
            for subset in ("animals", "faces") if folder else ():
                data = ("--dataset", "emoji", "--data-dir", folder, "--dataset-options", f"subset={subset}")
                session.run("fgbench", "study", "table4", "--models", *models, *data, "--seeds", *SEEDS, *place)
        else:
            session.run("fgbench", "study", name, *DRAWN, *place)
    _export(session, "studies", "study", "accuracy", "predictions")
    _fill(session, "studies", "README.md", "docs/findings.md")


@nox.session
def pretrain(session: nox.Session) -> None:
    """Draws a world of objects, and pretrains the shipped backbone on it; hours, and it goes on where it was killed."""
    session.install(".")
    folder = str(Path(session.create_tmp()) / "pretraining")
    weights = "fgbench/pretraining/weights/vit_fgbench_patch12_96.safetensors"
    session.run("python", "-m", "fgbench.pretraining", folder, "--weights", weights, *session.posargs)


@nox.session
def cost(session: nox.Session) -> None:
    """Measures every selector by itself, and fills docs/cost.md; ``-- --sizes 224`` is shorter."""
    session.install(".")
    session.run("fgbench", "selection", "--kernels", "--device", DEVICE, "--store", _store(session), *session.posargs)
    _export(session, "selection", "selection", "backend")
    _fill(session, "selection", "docs/cost.md")


@nox.session
def engines(session: nox.Session) -> None:
    """Measures eight models in the engines of a CPU and the parts of five, and fills reports/gallery/engines.md."""
    session.install(".[onnx,openvino]")
    selecting = ("vit", "glsim", "transfg", "ffvt", "cal")
    models = (*selecting, "resnet101", "convnext_tiny", "swin_tiny_patch4_window7_224")
    place = ("--sizes", "224", "--device", "cpu", "--store", _store(session), "-o", os.devnull)
    sweep = ("fgbench", "throughput", "--model", *models, "--batch-sizes", "1", "8", *place)
    session.run(*sweep, "--engine", "torch", "onnxruntime", "openvino", *session.posargs)
    session.run(*sweep, "--engine", "onnxruntime", "openvino", "--dtype", "int8", *session.posargs)
    session.run(*sweep, "--compile", *session.posargs)
    parts = ("fgbench", "throughput", "--model", *selecting, "--batch-sizes", "1", *place)
    session.run(*parts, "--by-part", *session.posargs)
    _export(session, "throughput", "throughput", name="engines")
    _fill(session, "throughput", "reports/gallery/engines.md")


@nox.session
def audit(session: nox.Session) -> None:
    """Asks every model what it promises, then those with a released behaviour that breaks it; fills docs/audit.md."""
    session.install(".")
    on_vit = ("vit", "transfg", "ffvt", "ramstrans", "aftrans", "dcal", "ev", "glsim", "ielt", "r2trans", "simtrans")
    on_vit += ("aatrans", "accvit", "falvit", "pim", "herbs", "mpsa")
    vit, swin = ("--backbones", "test_vit"), ("--backbones", "swin_tiny_patch4_window7_224", "--size", "224")
    asked = [
        (*on_vit, *vit),
        ("resnet101", "cal", "--backbones", "resnet18"),
        ("vitnet", *swin),
        ("simtrans", "mpsa", *vit, "--model-options", "test_dropout=true"),
        ("mpsa", *vit, "--model-options", "normalize=batch"),
        ("r2trans", *vit, "--model-options", "predict=mixture"),
        ("vitnet", *swin, "--model-options", "prototype_order=released"),
    ]
    rows: list[str] = []
    for number, words in enumerate(asked):
        earlier = ("--rows", rows[-1]) if rows else ()
        rows.append(str(Path(session.create_tmp(), f"audit{number}.json")))
        page = ("--fill", "docs/audit.md") if number + 1 == len(asked) else ()
        size = () if "--size" in words else ("--size", "160")
        options = (*size, "--device", "cpu", "--format", "json", "-o", rows[-1], *earlier, *page)
        session.run("fgbench", "audit", *words, *options, *session.posargs, success_codes=[0, 1])


@nox.session
def reports(session: nox.Session) -> None:
    """Makes reports/gallery/report of the saved rows; ``-- --measure`` counts and sweeps first."""
    session.install(".")
    if "--measure" in session.posargs:
        models = ("resnet101", "cal", "vit", "transfg", "ffvt", "ramstrans", "dcal", "glsim")
        counted = _store(session, "counted.db")
        Path(counted).unlink(missing_ok=True)  # rows that other versions counted are not of this report
        count = ("fgbench", "flops", "--sizes", "224", "448", "768", "1024", "--store", counted, "-o", os.devnull)
        session.run(*count, "--convention", "full", "paper")
        more = ("aftrans", "ev", "ielt", "r2trans", "simtrans", "aatrans", "accvit", "falvit")
        more += ("pim", "herbs", "mpsa", "vitnet")
        session.run(*count, "--models", *models, *more)
        _export(session, "flops", "flops", name="counted", store=counted)
        sweep = ("--sizes", "224", "448", "--batch-sizes", "1", "2", "4", "8", "--impl", "fast", "published")
        place = ("--device", DEVICE, "--store", _store(session))
        session.run("fgbench", "throughput", "--model", *models, *sweep, "--budget", "30m", *place)
        _export(session, "throughput", "throughput")
        beside = ("vit", "glsim", *more, "vit+evit@0.7", "vit+tome@0.7", "vit+topk@0.7")
        once = ("--sizes", "224", "--batch-sizes", "8", "--impl", "fast", "-o", os.devnull)
        timed = ("--device", DEVICE, "--store", _store(session, "systems.db"))
        session.run("fgbench", "throughput", "--model", *beside, *once, *timed)
        _export(session, "systems", "throughput", store=timed[-1])
    folder = GALLERY / "report"
    shutil.rmtree(folder, ignore_errors=True)
    rows = [row for room in ("accuracy", "flops", "selection", "systems", "throughput") for row in _rows(room)]
    session.run("fgbench", "report", "--rows", *rows, "--output", str(folder))


@nox.session
def pages(session: nox.Session) -> None:
    """Fills the measured blocks of README.md and docs/ from the saved rows; the simulation takes minutes."""
    session.install(".")
    _fill(session, "accuracy", "docs/accuracy.md")
    _fill(session, "studies", "README.md", "docs/findings.md")
    _fill(session, "selection", "docs/cost.md")
    _fill(session, "throughput", "reports/gallery/engines.md")
    _fill(session, "regress", "docs/regress.md")


def _store(session: nox.Session, name: str = "rows.db") -> str:
    """A store that stays: an interrupted session goes on where it was."""
    return str(Path(session.create_tmp()) / name)


def _rows(room: str) -> list[str]:
    return sorted(map(str, (GALLERY / room).glob("*.json")))


def _export(session: nox.Session, room: str, *kinds: str, name: str = DEVICE, store: str | None = None) -> None:
    file = str(GALLERY / room / f"{name}.json")
    session.run("fgbench", "export", *kinds, "--by-section", "--store", store or _store(session), "--output", file)


def _fill(session: nox.Session, room: str, *pages: str) -> None:
    session.run("fgbench", "report", "--fill", *pages, "--rows", *_rows(room))


@nox.session
def timm_list(session: nox.Session) -> None:
    """Writes the names and shapes of the timm that is installed into fgbench/plugins/timm; two minutes."""
    session.install(".")
    session.run("python", "-m", "fgbench.models.timm_list", *session.posargs)
