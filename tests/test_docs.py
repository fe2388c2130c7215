"""The documentation: links lead somewhere, the page of the API is the code's, every page is in the index."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import typer
from helpers.api_page import CONTRACTS, MODULES, api_page, public_names

from fgbench.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "reports/gallery/README.md")),
    *sorted(DOCS.glob("*.md")),
]
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        words = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        while (name := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_every_page_is_in_the_index():
    shown = set(LINK.findall((DOCS / "index.md").read_text(encoding="utf-8")))
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= shown


def test_docs_hold_no_programs():
    assert not list(DOCS.rglob("*.py"))


def test_the_page_of_the_api_is_the_codes():
    page, text = DOCS / "api.md", api_page()
    if os.environ.get("FGBENCH_UPDATE_SNAPSHOTS"):
        page.write_text(text, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == text, "FGBENCH_UPDATE_SNAPSHOTS=1 pytest tests/test_docs.py writes it"


@pytest.mark.parametrize("module", [*MODULES, *CONTRACTS])
def test_every_public_name_has_an_entry(module):
    section = (DOCS / "api.md").read_text(encoding="utf-8").partition(f"## {module}\n")[2].partition("\n## ")[0]
    assert re.findall(r"^### (\w+)$", section, re.MULTILINE) == public_names(module)


def test_every_name_that_an_example_of_a_plug_in_imports_has_an_entry():
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in ("CONTRIBUTING.md", "docs/reduction.md"))
    examples = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "fgbench/cli" not in code]
    imported = {
        (module, name.strip())
        for code in examples
        for module, names in re.findall(r"^from (fgbench\S*) import (.+)$", code, re.MULTILINE)
        for name in names.split(",")
    }
    assert ("fgbench.measure.engine", "Engine") in imported
    assert {(module, name) for module, name in imported if name not in public_names(module)} == set()


def test_terms_of_the_glossary_stand_once():
    terms = re.findall(r"^### (.+)$", (DOCS / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(terms) == len(set(terms)) > 40


@pytest.mark.parametrize(
    "status", ["ok", "unconverged", "contended", "oom", "oom_inferred", "timeout", "crashed", "error"]
)
def test_every_status_is_explained(status):
    assert re.search(rf"\b{status}\b", (DOCS / "glossary.md").read_text(encoding="utf-8"))
    assert f"`{status}`" in (DOCS / "measuring.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.parametrize(
    "phrase", ["cries wolf", "cry wolf", "what selection buys", "nobody disturbed", "nox -s cost times", "docs/cost.py"]
)
def test_no_page_has_a_phrase_that_readers_stumble_over(page, phrase):
    assert phrase not in page.read_text(encoding="utf-8").lower().replace("\n", " ")


def commands_of(page: Path) -> list[tuple[str, str]]:
    """The commands that a page shows as code, and the words behind them."""
    text = page.read_text(encoding="utf-8")
    fenced = [part for part in CODE.findall(text) if not part.startswith("```python")]
    code = [*fenced, *re.findall(r"`([^`\n]+)`", CODE.sub("", text))]
    shown = re.compile(r"(?:^|[\s/])fgbench ([a-z][a-z-]*)(.*)", re.MULTILINE)
    return [found for part in code for found in shown.findall(part.replace("\\\n", " "))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_that_a_page_shows_exist(page):
    known = typer.main.get_command(app).commands
    for command, words in commands_of(page):
        assert command in known, command
        flags = {flag for option in known[command].params for flag in (*option.opts, *option.secondary_opts)}
        assert set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", words)) <= {*flags, "--help"}, (command, words)
