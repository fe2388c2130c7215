"""Counted rows come from the cache if nothing that they depend on has changed, and are equal."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import timm
from timm.models import vision_transformer
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.flops import count_backbones, count_models, counted_cache
from fgbench.flops.counted_cache import CountedCache, library_version
from fgbench.flops.grid import CountGrid
from fgbench.flops.models import model_rows
from fgbench.flops.rows import flops_rows
from fgbench.plugins import tried_first
from fgbench.plugins.files import add_plugin_files
from fgbench.plugins.kinds import KINDS
from fgbench_selectors import selectors
from fgbench_selectors.entries import Entry
from fgbench_selectors.plugins import module_name

REQUEST = CountGrid(
    sizes=(96, 112), backbones=("test_vit", "vit_base_patch16_siglip_224"), conventions=("full", "paper")
)
MODELS = CountGrid(models=("glsim", "vit", "cal"), sizes=(96,), conventions=("full", "fvcore"))
PLUGIN = """
from fgbench_selectors import Needs, Selector

class Mine(Selector):
    needs, score_shape = Needs(tokens=True), ("batch", "patches")

    def published(self, features):
        return features.read_tokens()[:, 1:].norm(dim=-1)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FGBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    forget()
    known = set(sys.modules)
    yield tmp_path / "cache"
    for name in ("helper", "between"):  # of the tests: nobody else finds them
        if name not in known:
            sys.modules.pop(name, None)
    forget()


def forget() -> None:
    """Have versions and code looked at anew, as in another process."""
    counted_cache._own_code.cache_clear()


@pytest.fixture
def counters(monkeypatch):
    """How often a backbone or a model is counted."""
    times = {"backbones": 0, "models": 0}
    for module, name, key in (
        (count_backbones, "_count_backbone", "backbones"),
        (count_models, "count_model", "models"),
    ):
        real = getattr(module, name)

        def counted(*args, real=real, key=key, **options):
            times[key] += 1
            return real(*args, **options)

        monkeypatch.setattr(module, name, counted)
    return times


def run(request=REQUEST, *, keeps=True, reads=True):
    said: list[str] = []
    rows = model_rows if request.models else flops_rows
    report = lambda error: said.append(str(error))  # noqa: E731
    found = list(rows(request, report, notice=report, cache=CountedCache(keeps=keeps, reads=reads)))
    return [asdict(row) for row in found], said


@pytest.mark.parametrize(
    ("request_", "counts"), [(REQUEST, {"backbones": 4, "models": 0}), (MODELS, {"backbones": 0, "models": 7})]
)
def test_the_second_time_nothing_is_counted_and_rows_and_notices_are_the_same(request_, counts, folder, counters):
    plain = run(request_, keeps=False)
    assert counters == counts
    assert run(request_) == plain
    assert counters == {name: 2 * value for name, value in counts.items()}
    assert run(request_) == plain
    assert counters == {name: 2 * value for name, value in counts.items()}
    assert run(request_, reads=False) == plain
    assert counters == {name: 3 * value for name, value in counts.items()}


def test_sizes_that_are_there_are_taken_and_others_counted(folder, counters):
    run(REQUEST)
    counters.update(backbones=0)
    run(CountGrid(sizes=(96, 112, 128), backbones=("test_vit",), conventions=("full", "paper")))
    assert counters["backbones"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"num_classes": 7},
        {"patch_stride": 12},
        {"impls": ("fast",)},
        {"conventions": ("fvcore",)},
        {"selectors": ("gls",)},
        {"fused_attention": True},
    ],
    ids=str,
)
def test_other_options_are_other_counts(change, folder, counters):
    base = {"sizes": (96,), "backbones": ("test_vit",)}
    run(CountGrid(**base))
    run(CountGrid(**base, **change))
    assert counters["backbones"] == 2


def test_a_setting_of_timm_and_changed_code_are_counted_anew(folder, counters, monkeypatch):
    request = CountGrid(sizes=(96,), backbones=("test_vit",))
    run(request)
    monkeypatch.setenv("TIMM_FUSED_ATTN", "0")
    forget()
    run(request)
    assert counters["backbones"] == 2
    monkeypatch.setattr(counted_cache, "OWN_PACKAGES", ("fgbench_selectors",))
    forget()
    run(request)
    assert counters["backbones"] == 3


def test_damage_is_counted_anew_and_mended(folder, counters):
    plain = run()
    for file in folder.iterdir():
        file.write_bytes(b"\0" + file.read_bytes()[:-3])
    counters.update(backbones=0)
    assert run() == plain
    assert counters["backbones"] == 4
    assert run() == plain
    assert counters["backbones"] == 4


def test_a_plug_in_is_counted_anew_when_its_file_changes(folder, counters):
    def count(text: str):
        Path("mine.py").write_text(text)
        selectors._from_files.clear()
        forget()
        selectors.add_file("mine.py")
        return run(CountGrid(sizes=(96,), backbones=("test_vit",), selectors=("mine",)))

    first = count(PLUGIN)
    assert count(PLUGIN) == first
    assert counters["backbones"] == 1
    other = count(PLUGIN.replace("norm(dim=-1)", "square().sum(dim=-1)"))
    assert counters["backbones"] == 2
    assert other != first


HELPERS = {
    "imported": "import helper\n",
    "on a path of its own": "import sys; sys.path.insert(0, 'beside')\nimport helper\n",
    "named by words": "import importlib\nhelper = importlib.import_module('hel' + 'per')\n",
    "imported by what is imported": "import between\nhelper = between.helper\n",
    "imported when it is called": "class Late:\n    @property\n    def TIMES(self):\n"
    "        import helper\n        return helper.TIMES\nhelper = Late()\n",
}


@pytest.mark.parametrize("how", HELPERS)
def test_a_plug_in_is_counted_anew_when_what_it_imports_changes(how, folder, counters, monkeypatch):
    place = Path("beside")
    place.mkdir()
    (place / "between.py").write_text("import helper\n")
    (place / "helper.py").write_text("TIMES = 1\n")
    Path("mine.py").write_text(
        HELPERS[how] + PLUGIN.replace("norm(dim=-1)", "square().sum(dim=-1).repeat(helper.TIMES, 1, 1).sum(dim=0)")
    )
    monkeypatch.setattr(sys, "path", [*sys.path] if "path" in how else [str(place.absolute()), *sys.path])

    def count():
        """As in another process."""
        selectors._from_files.clear()
        for name in ("helper", "between"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        forget()
        selectors.add_file("mine.py")
        return run(CountGrid(sizes=(96,), backbones=("test_vit",), selectors=("mine",)))

    first = count()
    assert count() == first
    assert counters["backbones"] == 1
    (place / "helper.py").write_text("TIMES = 1 + 1 + 1\n")
    changed = count()
    assert counters["backbones"] == 2
    assert changed != first


TIMM_PLUGIN = """
from timm.models import register_model
from timm.models.vision_transformer import _create_vision_transformer

@register_model
def brought_vit(pretrained=False, **options):
    shape = {"patch_size": 16, "embed_dim": 64, "depth": DEPTH, "num_heads": 2}
    return _create_vision_transformer("vit_tiny_patch16_224", pretrained=pretrained, **{**shape, **options})
"""


@pytest.mark.parametrize(
    "request_",
    [
        CountGrid(sizes=(96,), backbones=("brought_vit",), selectors=("gls",)),
        CountGrid(models=("vit",), backbones=("brought_vit",), sizes=(96,)),
    ],
    ids=["selectors", "models"],
)
def test_a_backbone_of_a_plug_in_file_is_counted_anew_when_the_file_changes(request_, folder, counters):
    def count(depth: int):
        Path("mine.py").write_text(PLUGIN + TIMM_PLUGIN.replace("DEPTH", str(depth)))
        for kind in KINDS:
            kind.registry._from_files.clear()
        timm.models._registry._model_entrypoints.pop("brought_vit", None)  # as in another process
        forget()
        with tried_first():
            add_plugin_files(["mine.py"], pytest.fail)
            return run(request_)

    first = count(2)
    times = dict(counters)
    assert count(2) == first
    assert counters == times
    assert count(13) != first
    assert counters != times


def test_what_a_plug_in_does_to_timm_is_not_kept_for_others(folder, counters, monkeypatch):
    request = CountGrid(sizes=(96,), backbones=("test_vit",), selectors=("gls",))
    pool = vision_transformer.VisionTransformer.pool
    monkeypatch.setattr(vision_transformer.VisionTransformer, "pool", pool)  # restored at the end, too
    Path("mine.py").write_text(
        PLUGIN + "from timm.models.vision_transformer import VisionTransformer\npool = VisionTransformer.pool\n"
        "VisionTransformer.pool = lambda self, x, *more: pool(self, x * 2, *more)\n"
    )
    selectors.add_file("mine.py")
    patched = run(request)
    vision_transformer.VisionTransformer.pool = pool
    selectors._from_files.clear()
    sys.modules.pop(module_name(Path("mine.py")))
    assert run(request) == run(request, keeps=False) != patched


@pytest.mark.parametrize(
    "request_",
    [
        CountGrid(sizes=(96, 112), backbones=("vit_tiny_patch16_224_in21k",), selectors=("gls",)),
        CountGrid(models=("vit",), backbones=("vit_tiny_patch16_224_in21k",), sizes=(96, 112)),
    ],
    ids=["selectors", "models"],
)
def test_what_warns_warns_every_time_and_once(request_, folder):
    for _ in range(3):
        with pytest.warns(UserWarning, match="deprecated model name") as warned:
            run(request_)
        assert len(warned) == 1


def test_an_entry_that_nobody_can_load_keeps_nothing_from_being_kept(folder, counters, monkeypatch):
    Path("mine.py").write_text(PLUGIN)
    selectors.add_file("mine.py")
    taken = Entry("gls@zebra", "zebra", lambda: pytest.fail("it is not loaded"))
    monkeypatch.setattr(selectors, "_from_files", {**selectors._from_files, "gls@zebra": taken})
    for _ in range(2):
        run(CountGrid(sizes=(96,), backbones=("test_vit",), selectors=("mine",)))
    assert counters["backbones"] == 1


def test_without_sources_nothing_is_kept(folder, counters, monkeypatch):
    monkeypatch.setattr(counted_cache, "OWN_PACKAGES", ("fgbench", "_json"))
    for _ in range(2):
        run(CountGrid(sizes=(96,), backbones=("test_vit",)))
    assert counters["backbones"] == 2


def test_what_breaks_is_named_every_time_and_not_kept(folder, counters):
    Path("mine.py").write_text(PLUGIN.replace("norm(dim=-1)", "no_such_method()"))
    selectors.add_file("mine.py")
    request = CountGrid(sizes=(96,), backbones=("test_vit",), selectors=("mine", "gls"))
    (rows, said), (again, said_again) = run(request), run(request)
    assert (rows, said) == (again, said_again)
    assert len(said) == 1
    assert "no_such_method" in said[0]
    assert counters["backbones"] == 2


def test_the_cross_check_counts(folder, counters):
    request = CountGrid(sizes=(96,), backbones=("test_vit",))
    run(request)
    counters.update(backbones=0)
    run(CountGrid(sizes=(96,), backbones=("test_vit",), cross_check=True))
    assert counters["backbones"] >= 1


def test_again_counts(folder, counters):
    words = ["flops", "--backbones", "test_vit", "--sizes", "96", "--format", "json", "--store", str(folder / "s.db")]
    folder.mkdir()
    texts = [CliRunner().invoke(app, [*words, *more]).stdout for more in ((), (), ("--again",))]
    assert counters["backbones"] == 2
    assert json.loads(texts[0]) == json.loads(texts[1]) == json.loads(texts[2])


def test_versions_are_those_that_libraries_tell():
    import timm
    import torch

    assert library_version("torch") == torch.__version__
    assert library_version("timm") == timm.__version__
    assert library_version("no_such_library") is None


WITHOUT_TORCH = """
import sys
from fgbench.cli import app
app(sys.argv[1:], standalone_mode=False)
sys.exit("torch" in sys.modules)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["flops", "--sizes", "96", "--backbones", "test_vit"],
        ["flops", "--sizes", "96", "--models", "cal"],
        ["regress", "--baseline", "baseline.json"],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_a_repeated_yes_needs_no_torch(words, folder):
    made = ["regress", "--baseline", "baseline.json", "--update", "--models", "vit", "--selectors", "gls"]
    first = [*made, "--backbones", "test_vit", "--sizes", "96"] if words[0] == "regress" else words
    said = CliRunner().invoke(app, first)
    assert said.exit_code == 0, said.stderr
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    "options", [[], ["--patch-stride", "12"], ["--impl", "published", "--selectors", "gls", "sacm"]], ids=str
)
def test_the_closed_forms_need_no_torch_and_say_what_they_say_with_it(options, folder, monkeypatch):
    words = ["flops", "--convention", "paper", "--format", "json", *options]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr("fgbench.flops.rows.shape_of", lambda *_: None)  # as for a version without a list
    built = CliRunner().invoke(app, words)
    assert json.loads(built.stdout) == json.loads(done.stdout)
    assert built.stderr == done.stderr
