"""Rows on their way out: as one list, or with their environment written once. No torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fgbench.results.files import SECTIONS
from fgbench.results.records import ABOUT, SCHEMA_VERSION, FlopsRow, Record


def exported(row: Record) -> dict[str, Any]:
    """A row with its environment, as ``--rows`` reads it back."""
    fields = row.as_dict(parts=True) if isinstance(row, FlopsRow) and row.stage is not None else row.as_dict()
    about = {name: fields.pop(name) for name in ABOUT}
    return {**fields, "environment": row["environment"], **about}


def by_section(rows: Sequence[Record]) -> dict[str, Any]:
    """Rows by section, and the environment that most of them share written once: the files of ``reports/gallery``.

    Args:
        rows: Of any kinds.

    Returns:
        ``schema_version``, ``environment``, and a list of rows for each section. The environment of a row is None where
        it is the shared one but for the time.

    """
    texts = [_as_text(row["environment"]) for row in rows]
    shared = max(Counter(texts).items(), key=lambda entry: entry[1], default=("{}", 0))[0]
    sections: dict[str, Any] = {}
    for section, kind in SECTIONS.items():
        chosen = [
            exported(row) | {"environment": None if text == shared else row["environment"] or {}}
            for row, text in zip(rows, texts, strict=True)
            if row.kind == kind
        ]
        sections |= {section: chosen} if chosen else {}
    return {"schema_version": SCHEMA_VERSION, "environment": json.loads(shared), **sections}


def _as_text(environment: Mapping[str, Any] | None) -> str:
    """An environment without the time, which is a row's own."""
    return json.dumps({name: value for name, value in (environment or {}).items() if name != "time"}, sort_keys=True)
