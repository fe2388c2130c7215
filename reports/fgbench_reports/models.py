"""The table of ``fgbench flops --models``: a whole model beside its plain backbone, and what its parts cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fgbench_reports.cost_table import Line, Row, cost_cells, cost_table, grouped, impls_of

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

NOTES = {
    "full": "FLOPs are 2·MACs + every element-wise, reduction, softmax and comparison operation",
    "fvcore": "FLOPs are what fvcore totals: MACs, and norms at 4 or 5 operations per element",
}
PARTS = (
    "MACs are the multiply–adds of matrix products and convolutions; {flops}. % is FLOPs over those of one pass of "
    "the plain backbone, without overlapping patches.",
    "pass 1: the whole image, with the maps that a published selector wants; selector: scores; crop: box, cut, resize; "
    "pass 2: all further passes; fusion: selected tokens, last blocks, heads (CAL's belong to its passes).",
)


def model_tables(rows: Sequence[Row]) -> Iterable[Table]:
    """One terminal table per convention, model, backbone and selector."""
    for (convention, model, backbone, selector), group in _models(rows).items():
        impls = impls_of(group)
        title = f"{model} · {backbone} · {_chosen(selector)}convention {convention}"
        blocks = [
            _lines(_plain(rows, convention, backbone, size), some, impls)
            for size, some in grouped(group, "image_size").items()
        ]
        yield cost_table(title, "part", impls, blocks)


def model_notes(rows: Sequence[Row]) -> list[str]:
    """What the columns and the parts are."""
    conventions = dict.fromkeys(row["convention"] for row in rows)
    return [part.format(flops=NOTES[convention]) for convention in conventions for part in PARTS]


def model_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The same as a DataFrame of printed cells, one line per model, size and part."""
    import pandas as pd

    impls, lines = impls_of(rows), []
    for (convention, model, backbone, selector), group in _models(rows).items():
        for size, some in grouped(group, "image_size").items():
            key = {"convention": convention, "model": model, "backbone": backbone, "selector": selector or "–"}
            for line in _lines(_plain(rows, convention, backbone, size), some, impls):
                lines.append({**key, **line})
    return pd.DataFrame(lines)


def _models(rows: Sequence[Row]) -> dict[tuple[str, str, str, str | None], list[Row]]:
    return grouped([row for row in rows if row["model"]], "convention", "model", "backbone", "selector")


def _plain(rows: Sequence[Row], convention: str, backbone: str, size: int) -> list[Row]:
    wanted = (None, convention, backbone, size)
    return [row for row in rows if (row["model"], row["convention"], row["backbone"], row["image_size"]) == wanted]


def _lines(plain: Sequence[Row], rows: Sequence[Row], impls: Sequence[str]) -> Iterable[Line]:
    """One size of one model: its backbone, the model, its parts."""
    if plain:
        yield {**_head(plain[0]), "part": "(backbone)", **cost_cells(plain, impls)}
    for part, group in grouped(rows, "part").items():
        yield {**_head(group[0]), "part": f"  {part}" if part else group[0]["model"], **cost_cells(group, impls)}


def _head(row: Row) -> Line:
    return {"size": str(row["image_size"]), "N": "–" if row["num_tokens"] is None else str(row["num_tokens"])}


def _chosen(selector: str | None) -> str:
    return f"{selector} · " if selector else ""
