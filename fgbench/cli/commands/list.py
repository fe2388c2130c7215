"""``fgbench list``: what can be named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fgbench.cli.errors import problems_told
from fgbench.cli.options import OutputOptions, PluginOptions
from fgbench.options import argument, one_of
from fgbench.results.output import emit_as, prints_on_stderr

KINDS = ("selectors", "models", "reductions", "datasets", "engines", "reports", "backbones")

NOT_PRINTED = ("selects by",)  # axes of scores, which programs read


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """What is listed."""

    kind: Annotated[str, argument("KIND", ", ".join(KINDS), read=one_of("kind", KINDS))] = "selectors"


def list_(options: ListOptions, plugin: PluginOptions, output: OutputOptions) -> None:
    """List what can be named: selectors, models, reductions of tokens, data sets, engines, reports, backbones."""
    from fgbench.cli.listing import rows_of
    from fgbench.plugins.files import add_plugin_files
    from fgbench_reports.tables.render import render_words

    with problems_told() as problems:
        with prints_on_stderr():
            add_plugin_files(plugin.plugins, problems.append)
            rows = rows_of(options.kind, problems.append)
        emit_as(
            output.style,
            render_words(rows, output.style, to_file=output.to_file, not_printed=NOT_PRINTED),
            output.output,
        )
