"""``fgbench list``: what can be named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fgbench.cli.errors import problems_told
from fgbench.cli.options import OutputOptions, PluginOptions
from fgbench.errors import FgbenchError
from fgbench.options import argument, one_of
from fgbench.results.output import emit_as, prints_on_stderr
from fgbench.values import split_list

KINDS = ("selectors", "models", "reductions", "datasets", "engines", "reports", "studies", "backbones")

NOT_PRINTED = ("selects by",)  # axes of scores, which programs read


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """What is listed."""

    kind: Annotated[str, argument("KIND", ", ".join(KINDS), read=one_of("kind", KINDS))] = "selectors"
    names: Annotated[
        Sequence[str],
        argument(
            "[NAME…]", "only those with one of these in their names", several=True, default="all", read=split_list
        ),
    ] = ()

    def shown(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows that were asked for. Raises :class:`FgbenchError` for a word that no name has in it."""
        for word in self.names:
            if not any(_has(row, word) for row in rows):
                raise FgbenchError(
                    f"no name in the list of {self.kind} contains", word, f"'fgbench list {self.kind}' has all"
                )
        return [row for row in rows if not self.names or any(_has(row, word) for word in self.names)]


def _has(row: dict[str, Any], word: str) -> bool:
    return word.casefold() in str(row["name"]).casefold()


def list_(options: ListOptions, plugin: PluginOptions, output: OutputOptions) -> None:
    """List what can be named, such as selectors, models, data sets, engines, reports and studies."""
    from fgbench.cli.listing import rows_of
    from fgbench.plugins.files import add_plugin_files
    from fgbench_reports.tables.render import render_words

    with problems_told() as problems:
        with prints_on_stderr():
            add_plugin_files(plugin.plugins, problems.append)
            rows = options.shown(rows_of(options.kind, problems.append))
        emit_as(
            output.style,
            render_words(rows, output.style, to_file=output.to_file, not_printed=NOT_PRINTED),
            output.output,
        )
