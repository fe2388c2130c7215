"""The table of ``fgbench flops``: per size and selector, published and fast, beside the paper's figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fgbench_reports.cost_table import Line, Row, cost_cells, cost_table, grouped, impls_of
from fgbench_reports.published import SOURCE, flops_percents
from fgbench_reports.tables.numbers import as_printed

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

NOTES = {
    "full": (
        "MACs are the multiply–adds of matrix products and convolutions; FLOPs are 2·MACs + every element-wise, "
        "reduction, softmax and comparison operation. % is FLOPs over the backbone's FLOPs.",
        "published starts from the N×N maps that its backbone has to keep for it; fast starts from queries, "
        "keys and the log-sum-exp that fused attention returns, keeps no map, and pays for recomputing it: the larger "
        "count for sacm, and for rollout at small sizes.",
        f"paper: {SOURCE}. It counts psm and sacm on overlapped patches beside a backbone without overlap, and "
        "two operations per multiply–add beside a backbone in one; --convention paper reproduces it.",
    ),
    "fvcore": (
        "MACs are the multiply–adds of matrix products and convolutions; FLOPs are what fvcore totals: MACs, and "
        "norms at 4 or 5 operations per element. % is that over the backbone's.",
        "fvcore counts softmax, element-wise products, similarities and comparisons as nothing, so maws, gls and "
        "attention look free or nearly so; --convention full counts them.",
        f"paper: {SOURCE}, in a unit of its own; --convention paper reproduces it.",
    ),
    "paper": (
        f"Closed forms behind {SOURCE}, rounded as printed (cells of one or two digits from three). There is no "
        "fast column: the forms describe the published computation.",
        "They mix units: the backbone counts multiply–adds (the patch embedding twice), psm and rollout count two "
        "operations per multiply–add. MACs are the matrix products of each form alone.",
        "psm and sacm are counted on overlapped patches and divided by a backbone without overlap, unless "
        "--patch-stride sets one grid for all; --convention full divides like by like.",
    ),
}


def flops_tables(rows: Sequence[Row], *, beside_paper: bool = True) -> Iterable[Table]:
    """One terminal table per convention and backbone.

    ``beside_paper=False`` leaves the paper's figures out: on another grid than the paper's they compare with nothing.
    """
    for (convention, backbone), group in grouped(rows, "convention", "backbone").items():
        impls = impls_of(group)
        blocks = [_lines(lines, impls, beside_paper) for lines in grouped(group, "image_size").values()]
        title = f"{backbone} · convention {convention}"
        yield cost_table(title, "selector", impls, blocks, last="paper %")


def flops_notes(rows: Sequence[Row], *, beside_paper: bool = True) -> list[str]:
    """What differs between the columns and why, as far as these rows have such columns: up to three per convention."""
    notes = []
    for convention, some in grouped(rows, "convention").items():
        shown = beside_paper and any(_published(row) for row in some)
        both = {"published", "fast"} <= {row["impl"] for row in some}
        notes += [note for note in NOTES[convention] if _is_about(note, shown=shown, both=both)]
    return notes


def _is_about(note: str, *, shown: bool, both: bool) -> bool:
    """Whether a note speaks of a column that is there: the paper's, or published beside fast."""
    return (shown or not note.startswith("paper:")) and (both or not note.startswith("published starts"))


def _published(row: Row) -> str:
    """The paper's figure as it is printed; empty where it has none."""
    if not row["selector"]:
        return ""
    return flops_percents().get((row["backbone"].partition(".")[0], row["selector"], row["image_size"]), "")


def flops_frame(rows: Sequence[Row], *, beside_paper: bool = True) -> pd.DataFrame:
    """The same table as a DataFrame of printed cells, one line per backbone, size and selector."""
    import pandas as pd

    impls = impls_of(rows)
    lines = []
    for (convention, backbone, _), group in grouped(rows, "convention", "backbone", "image_size").items():
        for line in _lines(group, impls, beside_paper):
            lines.append({"convention": convention, "backbone": backbone, **line})
    return pd.DataFrame(lines)


def _lines(rows: Sequence[Row], impls: Sequence[str], beside_paper: bool) -> Iterable[Line]:
    """One size of one backbone: the backbone's line, then a line per selector."""
    for selector, group in grouped(rows, "selector").items():
        first = group[0]
        printed = _published(first) if beside_paper else ""
        line = {
            "size": str(first["image_size"]),
            "N": str(first["num_tokens"]),
            "selector": selector or "(backbone)",
            **cost_cells(group, impls),
            "paper %": printed,
        }
        if printed and first["convention"] == "paper":
            line[f"{first['impl']} %"] = as_printed(first["percent_of_backbone"], printed)
        yield line
