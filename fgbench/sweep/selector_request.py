"""The request of ``fgbench selection``: which selectors and kernels, at which sizes, and how. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fgbench.errors import FgbenchError
from fgbench.options import (
    AGAIN,
    DEVICE,
    DTYPE,
    MAX_TIME,
    OUTPUT_SECTION,
    PLUGINS,
    RETRY,
    SELECTORS,
    SIZES,
    THREADS,
    many,
    one,
    one_of,
    real_paths,
    switch,
    whole,
)
from fgbench.results import paper
from fgbench.values import MAX_BATCH_SIZE, names, whole_number

TOKENS = (50, 101, 145, 197, 290, 401, 577, 785, 1025, 1370, 2305)  # N of the kernels: grids of 7 to 48 patches
MAPS = (12, 96)  # B·H: one image and eight
SELECTOR_DTYPES = ("float32", "tf32", "float16", "bfloat16")
MAX_TOKENS = 2**20
WHAT, HOW = "What to measure", "How"


def _numbers_of_tokens(words: Sequence[str]) -> list[int]:
    return [whole_number(word, "number of tokens", 197, MAX_TOKENS) for word in names(words, "number of tokens")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionRequest:
    """The selectors, sizes and kernels to measure, and how."""

    selectors: Annotated[Sequence[str] | None, SELECTORS.but(help="'fgbench list selectors'", default="all"), WHAT] = (
        None
    )
    image_sizes: Annotated[Sequence[int], SIZES.but(default="224 448 768 1024"), WHAT] = paper.IMAGE_SIZES
    batch_size: Annotated[
        int,
        one("--batch-size", "images of a batch", "N", read=whole("batch size", 1, MAX_BATCH_SIZE)),
        WHAT,
    ] = 1
    kernels: Annotated[bool, switch("--kernels", "measure the kernels of v·A over numbers of tokens as well"), WHAT] = (
        False
    )
    tokens: Annotated[
        Sequence[int],
        many("--tokens", "of --kernels", "N…", read=_numbers_of_tokens, default="50 to 2305, eleven numbers"),
        WHAT,
    ] = TOKENS
    maps: Sequence[int] = MAPS  # B·H of the kernels
    device: Annotated[str | None, DEVICE, HOW] = None  # None: cuda where there is one
    dtype: Annotated[
        str, DTYPE.of_one(help="float32, tf32, float16 or bfloat16", read=one_of("dtype", SELECTOR_DTYPES)), HOW
    ] = "float32"
    threads: Annotated[int | None, THREADS, HOW] = None  # None: as many as torch takes
    cap_s: Annotated[float | None, MAX_TIME.but(default="3s, on a GPU 6s; kernels 0.6s"), HOW] = None
    again: Annotated[bool, AGAIN, HOW] = False
    retry: Annotated[bool, RETRY, HOW] = False
    plugins: Annotated[Sequence[str], PLUGINS.but(read=real_paths), OUTPUT_SECTION] = ()

    def check(self) -> None:
        """Refuse options that contradict each other, and unknown names."""
        from fgbench.plugins.names import check_selectors

        if tuple(self.tokens) != TOKENS and not self.kernels:
            raise FgbenchError("--tokens is for the kernels of v·A", do="give --kernels as well")
        check_selectors(self.selectors, self.plugins)
