"""An independent list of texts that a terminal or the log of a CI would execute as commands."""

from __future__ import annotations

import re

CONTROLS = (
    *range(0x00, 0x20),  # C0: ESC, CR, BEL, …
    0x7F,  # DEL
    *range(0x80, 0xA0),  # C1: 0x9b begins what ESC [ does
    *(0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),  # the direction of writing
    *(0x2028, 0x2029),  # line and paragraph
    *range(0xD800, 0xE000),  # lone surrogates
)
FORBIDDEN = frozenset(map(chr, CONTROLS)) - {"\n"}
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
COMMANDS = re.compile(r"\s*::|.*##\w*\[")  # of GitHub, of GitHub's first runners and Azure, TeamCity
HOSTILE = (
    "\x1b]0;title\x07\x1b[2J\x9b31m\x7f",
    "a\n::error file=x::y",
    "\u2028::set-env name=A::b\r::add-path::/tmp",
    "##[error]x ##vso[task.setvariable variable=a]b\n##[group]",
    "\u202eevil\u2066 \udcff \x85 \u200f",
    "::stop-commands::x",
    "  \t::warning::[red]x[/] :heart: [/nothing]",
    "###vso[a]#[b]",
)


def obeyed(text: str, *, colours: bool = False) -> list[str]:
    """The lines of a text that a terminal or a CI would obey; colours may be the terminal's own."""
    lines = (COLOURS.sub("", text) if colours else text).split("\n")
    return [line for line in lines if FORBIDDEN.intersection(line) or COMMANDS.match(line)]
