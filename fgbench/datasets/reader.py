"""Readers of layouts: they find the folder, check its layout, and report a problem in one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from fgbench.datasets.dataset import DataSet, DatasetError, FileSplit, Published
from fgbench.datasets.files import found, listed
from fgbench.datasets.walk import SHOWN, images_in_no_list

Layout = Literal["auto", "official", "manifest"]


class Reader:
    """A function that reads one layout. Called with a folder and options, it opens the data set.

    Args:
        read: Function (folder, options) → DataSet; its name is that of the data set.
        holds: Description of the folder's content, for ``fgbench list datasets`` and errors.
        folder: Name of the folder that the official archive unpacks to; users may give this folder or its parent.
        needs: Files and folders without which it is not this layout; ``a or b`` where it may be either.
        published: Counts of the published data set.
        fallback: Function (folder, name) → DataSet for another layout (CSV lists), which is used if the official one is
            not there, or on ``layout=manifest``.
        by_list: Whether the layout has lists of its images; images that are in no list are counted and named.
    """

    def __init__(
        self,
        read: Callable[..., DataSet],
        *,
        holds: str,
        folder: str = "",
        needs: Sequence[str] = (),
        published: Published | None = None,
        fallback: Callable[[Path, str], DataSet | None] | None = None,
        by_list: bool = True,
    ) -> None:
        functools.update_wrapper(self, read)
        self.name, self.read, self.holds, self.folder, self.needs = read.__name__, read, holds, folder, tuple(needs)
        self.published, self.fallback, self.by_list = published, fallback, by_list

    @property
    def __signature__(self) -> inspect.Signature:
        """The options of the layout, and ``layout`` where there is a choice."""
        signature = inspect.signature(self.read, eval_str=True)
        if self.fallback is None:
            return signature
        choice = inspect.Parameter("layout", inspect.Parameter.KEYWORD_ONLY, default="auto", annotation=Layout)
        return signature.replace(parameters=[*signature.parameters.values(), choice])

    def __call__(self, data_dir: Path | None, **options: Any) -> DataSet:
        """Open the data set in a folder.

        Raises:
            DatasetError: The folder is missing, or has another layout.
        """
        if data_dir is None:
            raise DatasetError("no folder was given for the data set", self.name, f"give --data-dir with {self.holds}")
        if not data_dir.is_dir():
            what = "a file, not the folder of a data set:" if data_dir.exists() else "no such folder:"
            raise DatasetError(what, str(data_dir), f"--data-dir must hold {self.holds}")
        dataset = self._open(data_dir, options.pop("layout", "auto") if self.fallback else "auto", options)
        left_out = (*dataset.left_out, *_unlisted(dataset)) if self.by_list else dataset.left_out
        return replace(dataset, name=self.name, published=self.published, left_out=left_out)

    def _open(self, data_dir: Path, layout: Layout, options: dict[str, Any]) -> DataSet:
        places = [place for place in (data_dir / self.folder, data_dir) if place.is_dir()]
        official = next((place for place in places if not self._lacks(place)), None)
        if official is not None and layout != "manifest":
            return self.read(official, **options)
        if self.fallback is not None and layout != "official":
            for place in places:
                if (dataset := self.fallback(place, self.name)) is not None:
                    return dataset
        if layout == "manifest":
            raise DatasetError("no train_val.csv or train.csv in", str(data_dir), found(data_dir))
        # The message is about the folder that lacks least.
        nearest = min(places, key=lambda place: len(self._lacks(place)))
        lacking = f"it lacks {listed(self._lacks(nearest))}"
        raise DatasetError(
            f"not the layout of {self.name}:", str(nearest), f"expected {self.holds}; {lacking}; {found(nearest)}"
        )

    def _lacks(self, place: Path) -> list[str]:
        return [need for need in self.needs if not any((place / other).exists() for other in need.split(" or "))]


def _unlisted(dataset: DataSet) -> Iterator[str]:
    """A sentence on images that are in no list: their number and the first names."""
    paths: dict[Path, set[str]] = {}
    for split in (dataset.train, dataset.test):
        if isinstance(split, FileSplit):
            paths.setdefault(split.root, set()).update(split.paths)
    for root, listed_paths in paths.items():
        if unlisted := images_in_no_list(root, listed_paths):
            count = "1 image that is" if len(unlisted) == 1 else f"{len(unlisted):,} images that are"
            yield f"left out: {count} in no list: {listed(unlisted, SHOWN)}"


def reads(**facts: Any) -> Callable[[Callable[..., DataSet]], Reader]:
    """Decorate a function (folder, options) → DataSet; see :class:`Reader` for the facts."""
    return lambda read: Reader(read, **facts)
