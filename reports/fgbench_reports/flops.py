"""The table of ``fgbench flops``: per size and selector, published and fast, beside the paper's figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fgbench_reports.numbers import as_printed, percent, with_prefix
from fgbench_reports.published import SOURCE, flops_percents

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

Row = Mapping[str, Any]

NOTES = {
    "full": (
        "MACs are the multiply–adds of matrix products and convolutions; FLOPs are 2·MACs + every element-wise, "
        "reduction, softmax and comparison operation. % is FLOPs over the backbone's FLOPs.",
        "published starts from the N×N maps that its backbone has to keep for it; fast starts from queries and "
        "keys, keeps no map, and pays for recomputing them: the larger count for sacm, and for rollout at small sizes.",
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
    from rich.markup import escape
    from rich.table import Table

    for (convention, backbone), group in _grouped(rows, "convention", "backbone").items():
        impls = _impls(group)
        table = Table(
            title=f"{escape(backbone)} · convention {convention}",
            title_justify="left",
            title_style="bold",
            box=_box(),
            padding=0,  # with this, the lines fit 80 columns
        )
        for heading in ("size", "N", "selector"):
            table.add_column(heading, justify="left" if heading == "selector" else "right", overflow="fold")
        for impl in impls:
            for heading in ("MACs", "FLOPs", "%"):
                table.add_column(f"{impl}\n{heading}" if heading == "MACs" else f"\n{heading}", justify="right")
        table.add_column("paper\n%", justify="right", style="dim")
        for lines in _grouped(group, "image_size").values():
            for index, line in enumerate(_lines(lines, impls, beside_paper)):
                cells = [line["size"] if index == 0 else "", line["N"], escape(line["selector"])]
                for impl in impls:
                    cells += [line[f"{impl} MACs"], line[f"{impl} FLOPs"], _coloured(line[f"{impl} %"])]
                table.add_row(*cells, line["paper %"], style="bold" if index == 0 else None)
            table.add_section()
        yield table


def flops_notes(rows: Sequence[Row]) -> list[str]:
    """What differs between the columns and why: three lines per convention."""
    return [note for convention in dict.fromkeys(row["convention"] for row in rows) for note in NOTES[convention]]


def flops_frame(rows: Sequence[Row], *, beside_paper: bool = True) -> pd.DataFrame:
    """The same table as a DataFrame of printed cells, one line per backbone, size and selector."""
    import pandas as pd

    impls = _impls(rows)
    lines = []
    for (convention, backbone, _), group in _grouped(rows, "convention", "backbone", "image_size").items():
        for line in _lines(group, impls, beside_paper):
            lines.append({"convention": convention, "backbone": backbone, **line})
    return pd.DataFrame(lines)


def _grouped(rows: Sequence[Row], *keys: str) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        key = tuple(row[name] for name in keys)
        groups.setdefault(key if len(keys) > 1 else key[0], []).append(row)
    return groups


def _impls(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["impl"] for row in rows if row["impl"])) or ["published"]


def _lines(rows: Sequence[Row], impls: Sequence[str], beside_paper: bool) -> Iterable[dict[str, str]]:
    """One size of one backbone: the backbone's line, then a line per selector."""
    for selector, group in _grouped(rows, "selector").items():
        by_impl = {row["impl"]: row for row in group}
        first = group[0]
        key = (first["backbone"].partition(".")[0], selector, first["image_size"])
        line = {
            "size": str(first["image_size"]),
            "N": str(first["num_tokens"]),
            "selector": selector or "(backbone)",
        }
        printed = flops_percents().get(key, "") if selector and beside_paper else ""
        for impl in impls:
            row = by_impl.get(impl) or by_impl.get(None)
            line[f"{impl} MACs"] = with_prefix(row["macs"]) if row else "–"
            line[f"{impl} FLOPs"] = with_prefix(row["flops"]) if row else "–"
            line[f"{impl} %"] = _percent(row, printed) if row else "–"
        line["paper %"] = printed
        yield line


def _percent(row: Row, printed: str) -> str:
    value = row["percent_of_backbone"]
    return as_printed(value, printed) if printed and row["convention"] == "paper" else percent(value)


def _coloured(cell: str) -> str:
    try:
        value = float(cell.lstrip("<"))
    except ValueError:
        return cell
    if value == 100:
        return cell
    return f"[{'red' if value > 100 else 'yellow' if value > 5 else 'green'}]{cell}[/]"


def _box() -> Any:
    from rich import box

    return box.SIMPLE_HEAD
