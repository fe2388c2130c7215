"""What ``fgbench list`` shows of a plug-in of each kind, in words and whole numbers alone."""

from __future__ import annotations

from typing import Any

LONGEST = 200  # characters of a description


def selector_facts(selector: Any) -> dict[str, Any]:
    """What it reads, the axes of its scores, its description."""
    shape = f"({', '.join(selector.score_shape)})"
    return {"reads": _reads(selector.needs), "scores": shape, "description": first_line(selector.__doc__)}


def model_facts(model: Any) -> dict[str, Any]:
    """Its backbone, the scores that it can select by, its description."""
    return {
        "backbone": model.default_backbone,
        "selects by": " or ".join(f"({', '.join(shape)})" for shape in model.accepts) or "–",
        "description": first_line(model.__doc__),
    }


def dataset_facts(reader: Any) -> dict[str, Any]:
    """The counts that were published, what ``--data-dir`` must hold, its description."""
    published = getattr(reader, "published", None)
    counts = {"classes": "", "train": "", "test": ""}
    if published is not None:
        counts = {"classes": published.classes, "train": published.train_images, "test": published.test_images}
    return {**counts, "layout": getattr(reader, "holds", ""), "description": first_line(reader.__doc__)}


def engine_facts(engine: Any) -> dict[str, Any]:
    """The devices that it runs on, its precisions, its description."""
    return {
        "devices": " ".join(engine.devices),
        "dtypes": " ".join(engine.dtypes),
        "description": first_line(engine.__doc__),
    }


def report_facts(report: Any) -> dict[str, Any]:
    """Its description."""
    return {"description": first_line(report.__doc__)}


def first_line(doc: str | None) -> str:
    """The first line of a docstring as a description."""
    return (doc or "").strip().partition("\n")[0].rstrip(".").replace("``", "")[:LONGEST]


def _reads(needs: Any) -> str:
    """``q, k of blocks 1…L−1`` and the like, of a ``Needs`` or what a source says of one."""
    blocks = getattr(needs, "blocks", None)
    parts = ["tokens"] if getattr(needs, "tokens", False) else []
    if blocks is not None:
        start, stop = blocks.start, blocks.stop
        first = "1" if start is None else _block(start)
        last = "L" if stop is None else _block(stop - 1)
        steps = f" in steps of {blocks.step}" if blocks.step not in (None, 1) else ""
        parts.append(f"q, k of block {last}" if first == last else f"q, k of blocks {first}…{last}{steps}")
    return " and ".join(parts)


def _block(index: int) -> str:
    if index >= 0:
        return str(index + 1)
    return "L" if index == -1 else f"L−{-index - 1}"
