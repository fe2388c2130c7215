"""The studies that fgbench knows: Tables 4, 5 and 11 to 15 of GLSim, and controls that the field leaves out. No torch.

Source: GLSim, arXiv 2407.12891, sections 5.4, D.2 and D.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.results.paper import MODEL_SELECTORS, SELECTING_MODELS
from fgbench.results.recipe import AUGREG
from fgbench.results.reduced_name import reduced_names
from fgbench.study.condition import Condition, Setting, Study
from fgbench.study.own import read_study

TABLE_MODELS = ("resnet101", "cal", "vit", "transfg", "ffvt", "glsim")  # of Tables 4 and 11
PLAIN = "vit"
REDUCTIONS = ("evit", "tome")
KEEP_RATES = (0.9, 0.7, 0.5)
NEAR = 0.03  # costs that differ by less are one
SELECTORS = ("gls", "rollout", "attention", "random", "centre")  # of patches, as GLSim takes them
WITHOUT_AGGREGATOR = {"aggregator": False, "fusion": "confidence"}


def _plain(**fields: object) -> Condition:
    return Condition(name=PLAIN, model=PLAIN, **fields)  # type: ignore[arg-type]


def table4(setting: Setting) -> list[Condition]:
    """Models side by side; a data set at a time."""
    names = setting.models or TABLE_MODELS
    there = PLAIN in names
    return [Condition(name=name, model=name, against=PLAIN if there and name != PLAIN else None) for name in names]


def table5(setting: Setting) -> list[Condition]:
    """Components of GLSim: section 5.4."""
    return [
        _plain(),
        Condition(name="aggregator alone", model="glsim", options={"crops": False}, against=PLAIN),
        Condition(name="crops alone", model="glsim", options=WITHOUT_AGGREGATOR, against=PLAIN),
        Condition(name="glsim", model="glsim", against=PLAIN),
    ]


def table11(setting: Setting) -> list[Condition]:
    """Levels of augmentation, on every model, at two image sizes: section D.2."""
    small = setting.image_sizes[0]
    sizes = setting.image_sizes if len(setting.image_sizes) > 1 else (small, 2 * small)

    def name(model: str, size: int, level: str) -> str:
        return f"{model} at {size}, {level}"

    first = next(iter(AUGREG))
    return [
        Condition(
            name=name(model, size, level),
            model=model,
            image_size=size,
            recipe={"augreg": level},
            against=None if level == first else name(model, size, first),
        )
        for model in setting.models or TABLE_MODELS
        for size in sizes
        for level in AUGREG
    ]


def table12(setting: Setting) -> list[Condition]:
    """Random crops with and without the aggregator: section D.3.1."""
    random = Condition(name="random crops", model="glsim", selector="random", against=PLAIN)
    return [
        _plain(),
        replace(random, name="random crops, no aggregator", options=WITHOUT_AGGREGATOR),
        replace(random, name="random crops, aggregator"),
        Condition(name="glsim", model="glsim", against=PLAIN),
    ]


def table13(setting: Setting) -> list[Condition]:
    """Numbers O of patches that the crop holds: section D.3.2."""
    counts = (4, 8, 16, 32)
    return [
        _plain(),
        *(Condition(name=f"O = {count}", model="glsim", options={"top_k": count}, against=PLAIN) for count in counts),
    ]


def table14(setting: Setting) -> list[Condition]:
    """Measures of similarity: section D.3.3."""
    # The cosine is GLSim's own: its runs are those of other studies.
    options: dict[str, dict[str, str]] = {"cosine": {}, "l1": {"metric": "l1"}, "l2": {"metric": "l2"}}
    return [
        _plain(),
        *(Condition(name=name, model="glsim", options=some, against=PLAIN) for name, some in options.items()),
    ]


def table15(setting: Setting) -> list[Condition]:
    """Backbones of two patch sizes: section D.3.4."""
    backbones = setting.backbones or ("vit_base_patch16_224", "vit_base_patch32_224")
    if len(backbones) < 2:
        do = "give two with --backbones, such as vit_base_patch16_224 vit_base_patch32_224"
        raise FgbenchError("table15 compares backbones of several patch sizes, got", backbones[0], do)
    found = []
    for backbone in backbones:
        plain = f"vit on {backbone}"
        found += [
            Condition(name=plain, model=PLAIN, backbone=backbone),
            Condition(name=f"glsim on {backbone}", model="glsim", backbone=backbone, against=plain),
        ]
    return found


def equal_cost(setting: Setting) -> list[Condition]:
    """Every model beside the plain ViT, and beside plain ViTs that cost the same: larger images, overlap, depth."""
    names = [name for name in setting.models or SELECTING_MODELS if name != PLAIN]
    plain = _plain()
    found, base = [plain], setting.cost(plain)
    for name in names:
        model = Condition(name=name, model=name, against=PLAIN)
        found.append(model)
        wanted = setting.cost(model)
        if wanted > base * (1 + NEAR):
            found += [replace(control, against=name) for control in _controls(setting, name, wanted)]
    return found


def _controls(setting: Setting, name: str, wanted: int) -> Iterator[Condition]:
    """Plain ViTs that cost about as much as a model."""
    side, step, depth = setting.image_sizes[0], setting.side_step, setting.depth
    plain = _plain()
    ways: dict[str, Callable[[int], Condition]] = {
        "at {} px": lambda count: replace(plain, image_size=side + count * step),
        "overlap {}": lambda count: replace(plain, options={"overlap": count}),
        "{} blocks": lambda count: replace(plain, options={"depth": depth + count}),
    }
    most = {"at {} px": 10 * side // step, "overlap {}": step - 1, "{} blocks": 10 * depth}
    for words, make in ways.items():
        count = _nearest(wanted, most[words], lambda count, make=make: setting.cost(make(count)))  # type: ignore[misc]
        if count:
            shown = {"at {} px": side + count * step, "{} blocks": depth + count}.get(words, count)
            yield replace(make(count), name=f"vit {words.format(shown)}, as {name}")


def _nearest(wanted: int, most: int, cost: Callable[[int], int]) -> int:
    """The count from 0 up whose cost is nearest; costs rise with the count."""
    low, high = 0, most
    while low < high:  # the first one that costs as much or more
        middle = (low + high) // 2
        low, high = (low, middle) if cost(middle) >= wanted else (middle + 1, high)
    return min({max(low - 1, 0), low}, key=lambda count: abs(cost(count) - wanted))


def selectors(setting: Setting) -> list[Condition]:
    """One model with one selector after the other, beside the plain ViT; against a random choice."""
    names = setting.selectors or SELECTORS
    (model,) = setting.models or ("glsim",)
    baseline = "random" if "random" in names else None
    own = MODEL_SELECTORS.get(model)  # its runs are those of other studies
    lines = [
        Condition(
            name=name,
            model=model,
            selector=None if name == own else name,
            against=None if name == baseline else baseline,
        )
        for name in names
    ]
    return [_plain(against=baseline), *lines]


def keep_rate(setting: Setting) -> list[Condition]:
    """Reductions of tokens, at several rates, beside the plain ViT."""
    bases = setting.models or (PLAIN,)
    found = [Condition(name=base, model=base) for base in bases]
    for base in bases:
        names = reduced_names([base], setting.reductions or REDUCTIONS, setting.keep_rates or KEEP_RATES)
        found += [Condition(name=name, model=name, against=base) for name in names if name != base]
    return found


def _study(name: str, title: str, conditions: Callable[[Setting], list[Condition]], *takes: str) -> Study:
    return Study(name=name, title=title, conditions=conditions, takes=frozenset(takes))


STUDIES = {
    study.name: study
    for study in (
        _study("table4", "Table 4: models", table4, "models"),
        _study("table5", "Table 5: components of GLSim", table5),
        _study("table11", "Table 11: augmentation", table11, "models", "image_sizes"),
        _study("table12", "Table 12: random crops", table12),
        _study("table13", "Table 13: patches in the crop", table13),
        _study("table14", "Table 14: similarity", table14),
        _study("table15", "Table 15: patch size", table15, "backbones"),
        _study("equal-cost", "Models beside a plain ViT of the same cost", equal_cost, "models"),
        _study("selectors", "One model, every selector", selectors, "models", "selectors"),
        _study("keep-rate", "Token reduction", keep_rate, "models", "reductions", "keep_rates"),
    )
}


def study_of(name: str, plugin_files: Sequence[str] | None = None) -> Study:
    """A study by its name, or out of a file that ends in ``.toml``.

    Raises:
        UnknownNameError: No study has the name.
        FgbenchError: The file is no study, or nothing was named.

    """
    if name.lower().endswith(".toml"):
        return read_study(Path(name), plugin_files)
    if not name:
        raise FgbenchError("no study was named", do=f"known: {', '.join(STUDIES)}, or a file .toml")
    if name not in STUDIES:
        raise UnknownNameError("study", name, STUDIES)
    return STUDIES[name]
