"""Plug-ins, data sets and environments with wrong content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fuzz.case import Case, Draw
from fuzz.saved import STYLES, odd_values
from fuzz.values import WORDS, mutated, write_paths
from helpers.dataset_layouts import LAYOUTS

SELECTOR = """
from fgbench_selectors import Needs, Selector
import torch

class Odd(Selector):
    {doc}
    {name}
    needs = {needs}
    score_shape = {shape}

    def published(self, features):
        {body}
"""
REPORT = """
import pandas as pd
from fgbench_reports.report import Missing, Report, Table

class Odd(Report):
    {doc}
    {name}
    title = {title}

    def items(self, data):
        {body}
"""
RAISED = (
    *("ValueError('\\x1b[31m')", "KeyError(())", "RecursionError('x' * 9000)", "MemoryError()", "OSError(2, 'x')"),
    *("StopIteration()", "AssertionError()", "UnicodeDecodeError('utf-8', b'x', 0, 1, 'y')"),
    "ZeroDivisionError('a\\nb')",
)
SCORES = (
    *("features.read_tokens()[:, features.num_prefix_tokens:, 0]", "None", "1.0", "torch.zeros(2)", "[[1.0]]"),
    *("torch.full((1, 4), float('nan'))", "features.tokens.nothing", "torch.zeros(1, 4, dtype=torch.int8)"),
)
ITEMS = (
    *("yield 1", "return None", "return 5", "yield Missing(what=1, command=None)", "yield None", "return [Table]"),
    "yield Table(name='a', title=None, frame=None, printed=None, names=None)",
    "f = pd.DataFrame({'a': [1]}); yield Table(name='a/b', title='t', frame=f, printed=f, names=['z'])",
    "f = pd.DataFrame({'a': [1]}); yield Table(name='a', title='t', frame=f, printed=f[:0], names=['a'], notes=3)",
)


def plug_ins(draw: Draw, files: Mapping[str, bytes]) -> Case:
    """A file with a selector or a report, of which one thing or another is odd."""
    odd = repr(draw.choice([odd_values(draw), draw.choice(WORDS)])).replace("nan", "float('nan')")
    odd = odd.replace("inf", "1e999")

    def perhaps(usual: str, *others: str) -> str:
        return usual if draw.random() < 0.7 else draw.choice(others)

    name = perhaps("name = 'odd'", f"name = {odd}", "", "name = 'gls'")
    doc = perhaps("'''What it sees.'''", "", repr(draw.choice(WORDS)), f"__doc__ = {odd}")
    raising = f"raise {draw.choice(RAISED)}"
    style, plugged = ["-f", draw.choice(STYLES)], ["--plugin", "odd.py"]
    small = ["--backbone", "test_vit", "--size", "32"]
    if draw.random() < 0.5:
        text = SELECTOR.format(
            name=name,
            doc=doc,
            needs=perhaps("Needs(tokens=True)", "Needs()", "None", odd),
            shape=perhaps('("batch", "patches")', '("batch",)', "()", odd),
            body=draw.choice([raising, *(f"return {scores}" for scores in SCORES)]),
        )
        commands = [
            ["list", "selectors", *plugged, *style],
            ["flops", "--selectors", "odd", "--backbones", "test_vit", "--sizes", "32", *plugged, *style],
            ["visualize", "a.png", "--selectors", "odd", *small, *plugged, "-f", "json"],
        ]
    else:
        title = perhaps("'t'", odd)
        text = REPORT.format(name=name, doc=doc, title=title, body=draw.choice([raising, *ITEMS]))
        commands = [["list", "reports", *plugged, *style], ["report", "odd", "--rows", "rows.json", *plugged, *style]]
    if draw.random() < 0.1:
        text = draw.choice([raising, "import nothing", "x = 1", "", "class", f"name = {odd}", "raise SystemExit(0)"])
    if draw.random() < 0.1:
        text = mutated(draw, text.encode("utf-8", "replace")).decode("latin-1")
    Path("odd.py").write_bytes(text.encode("utf-8", "surrogatepass"))
    Path("rows.json").write_bytes(files["rows.json"])
    Path("a.png").write_bytes(files["picture.png"])
    return Case(words=draw.choice(commands))


def data_sets(draw: Draw, files: Mapping[str, bytes]) -> Case:
    """A small data set in the layout of a large one, in which some files are broken, missing or odd."""
    name = draw.choice([*sorted(LAYOUTS), *sorted({*LAYOUTS} - {"dogs", "flowers"}) * 3])  # these two take longer
    root = Path("data")
    LAYOUTS[name](root)
    Path("w.safetensors").write_bytes(files["weights.safetensors"])
    there = sorted(path for path in root.rglob("*") if path.is_file())
    lists = [path for path in there if path.suffix not in (".jpg", ".png", ".jpeg")] or there
    for _ in range(draw.randrange(1, 4)):
        path = draw.choice(draw.choice([lists, there]))
        kind = draw.randrange(6)
        if not path.exists() or path.is_dir() or path.is_symlink():
            continue
        if kind < 3:
            path.write_bytes(mutated(draw, path.read_bytes()))
        elif kind == 3:
            path.unlink()
        elif kind == 4:
            path.unlink()
            draw.choice([path.mkdir, lambda path=path: path.symlink_to(path.name)])()
        else:
            path.with_name(
                draw.choice(["\x1b", "\udcff", "a\nb", "é", ".hidden", "x" * 200]) + path.suffix
            ).write_bytes(b"odd")
    options = (
        ["--dataset-options", draw.choice(["norm=half", "norm=x", "classes=3", "=", "a=b"])]
        if draw.random() < 0.2
        else []
    )
    words = ["accuracy", "--dataset", name, "--data-dir", "data", *options, *draw.choice([[], ["--read-all"]])]
    test = ["--test-only", "--checkpoint", "w.safetensors", "--model", "vit", "--backbone", "test_vit", "--sizes", "32"]
    return Case(words=[*words, *test, "--device", "cpu", "--threads", "1", "--workers", "0", "-f", "json"])


def environments(draw: Draw, files: Mapping[str, bytes]) -> Case:
    """Variables that commands and their libraries read."""
    for name in ("rows.json", "old.json", "new.json"):
        Path(name).write_bytes(files[name])
    paths = [path for path in write_paths(Path()) if not path.startswith("/")]
    numbers = ("", "0", "-1", "x", "1e3", "99999999999999999999", "１", "NaN", "true", " ", "zzz")
    known = {
        **dict.fromkeys(
            ("WORLD_SIZE", "RANK", "LOCAL_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "COLUMNS", "LINES"), numbers
        ),
        **dict.fromkeys(
            ("ACCELERATE_USE_CPU", "ACCELERATE_MIXED_PRECISION", "MASTER_PORT", "OMP_NUM_THREADS"), numbers
        ),
        **dict.fromkeys(("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "GITHUB_ACTIONS", "TF_BUILD"), numbers),
        **dict.fromkeys(
            ("GITHUB_STEP_SUMMARY", "FGBENCH_STORE", "HOME", "TMPDIR", "TORCH_HOME", "MPLCONFIGDIR"), paths
        ),
        **dict.fromkeys(("TERM", "LANG", "LC_ALL", "COLORTERM", "CUDA_VISIBLE_DEVICES"), WORDS),
    }
    chosen = draw.sample(sorted(known), draw.randrange(1, 4))
    environment = {name: draw.choice(known[name]).replace("\0", "") for name in chosen}
    summary = environment.get("GITHUB_STEP_SUMMARY", "m.md")
    words = draw.choice(
        [
            ["choose", "--rows", "rows.json"],
            ["choose"],
            ["report", "table9"],
            ["report", "throughput", "--rows", "rows.json"],
            ["list", draw.choice(["selectors", "reports", "datasets"])],
            ["flops", "--convention", "paper", "--sizes", "224", "--backbones", "vit_tiny_patch16_224"],
            ["regress", "--pytest-benchmark", "old.json", "new.json", "--markdown", summary],
            ["accuracy", "--dataset", "folder", "--data-dir", "missing"],
            ["--version"],
            ["--help"],
        ]
    )  # fmt: skip
    return Case(words=words, environment=environment)
