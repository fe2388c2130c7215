"""The models by name, through entry points. No torch before one is loaded."""

from __future__ import annotations

from fgbench_selectors.entries import Registry

# What cannot be built yet, and why: listed, so that nobody searches for it in vain.
NOT_REPRODUCIBLE = {
    "tpskg": "TPSKG (peak suppression and knowledge guidance): its formulas are not established; no code was published",
}


def _model_breach(candidate: object) -> str | None:
    from fgbench.models.model import model_breach

    return model_breach(candidate)


models = Registry("fgbench.models", "model", _model_breach)
