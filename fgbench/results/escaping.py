"""Text from data as text: what a terminal, a CI's log, Markdown, LaTeX or a spreadsheet reads as its own is escaped.

All text from data goes through :func:`visible` before people see it, and what reaches a terminal or a log through
:func:`without_commands` as well. Files that programs read – JSON, CSV – hold text as it is.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable

_LATEX = {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{letter: f"\\{letter}" for letter in "{}$&#%_"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},  # OT1 prints ¡ ¿ — for them
    # Signs of our own that pdfLaTeX's fonts lack.
    **{"✓": r"\(\checkmark\)", "×": r"\(\times\)", "±": r"\(\pm\)", "·": r"\(\cdot\)", "→": r"\(\rightarrow\)"},
    **{"²": r"\textsuperscript{2}", "³": r"\textsuperscript{3}", "–": "--", "…": r"\ldots{}", "−": r"\(-\)"},
    **{"≥": r"\(\geq\)", "≤": r"\(\leq\)", "Δ": r"\(\Delta\)", "†": r"\dag{}"},
}
_LATEX_CODES = str.maketrans(_LATEX)
LATEX_NEEDS_MATHS = r"\checkmark"  # of amssymb
SPREADSHEET_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n")

# What a CI takes for a command in its log: at the beginning of a line, behind blanks and colours, "::" for GitHub; in
# any place "##[" for GitHub and "##vso[" for Azure (ActionCommand.cs of actions/runner, Command.cs of the Azure agent).
_AT_THE_BEGINNING = re.compile(r"(?m)((?:^|(?<=\r))(?:[^\S\n]|\x1b\[[0-9;]*m)*):(?=:)")
_ANYWHERE = re.compile(r"##(?=\w*\[)")
_BLANKS = re.compile(r"\r?\n|\t")


def visible(text: str) -> str:
    r"""Text on one line that a terminal shows, and does not obey.

    Line breaks, tabs and other blanks are a blank. What else cannot be printed is written as Python would write it,
    ``\x1b``: control characters, what turns the direction of writing, lone surrogates.
    """
    return text if text.isprintable() else "".join(map(_visible, _BLANKS.sub(" ", text)))


def _visible(letter: str) -> str:
    if letter.isprintable():
        return letter
    return " " if unicodedata.category(letter) == "Zs" else letter.encode("unicode_escape").decode("ascii")


def sentence(text: object) -> str:
    """A message that may have several lines as one, :func:`visible`."""
    return re.sub(" +", " ", visible(str(text))).strip()


def without_commands(text: str) -> str:
    r"""Lines of visible text in which a CI finds no command: of each one a character is written as ``\x3a:error::``."""
    return _ANYWHERE.sub(r"#\\x23", _AT_THE_BEGINNING.sub(r"\1\\x3a", text))


def log_line(text: object) -> str:
    """A message on one line that neither a terminal nor a CI obeys, be it at the beginning of its line or not."""
    return without_commands(visible(str(text)))


def json_text(text: str) -> str:
    """JSON as it is, but for what a terminal or a CI would obey: that is written as JSON's own escapes."""
    return re.sub(r"[^\n -~]", _json_letter, text).replace("##", r"#\u0023")  # both stand in strings alone


def _json_letter(found: re.Match[str]) -> str:
    letter = found[0]
    if letter.isprintable():
        return letter
    return f"\\u{ord(letter):04x}" if letter < "\U00010000" else json.dumps(letter)[1:-1]


def markdown_text(text: str) -> str:
    """Text for a cell of a pipe table, or inside a paragraph, on one line."""
    escaped = re.sub(r"[\\|*`\[~$]|<(?=[A-Za-z/!?])|&(?=#?\w+;)", r"\\\g<0>", visible(text))
    beside_words = r"(?<![^\W_])_|_(?![^\W_])"  # inside a word, or alone, an underscore is no markup
    return re.sub(beside_words, r"\\_", escaped) if len(re.findall(beside_words, escaped)) > 1 else escaped


def markdown_paragraph(text: str) -> str:
    """Text for a paragraph of its own: nothing at its beginning makes a heading, a list or a quotation of it."""
    escaped = markdown_text(text.strip())
    escaped = re.sub(r"^[#>+=_-]", r"\\\g<0>", escaped)
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", escaped)


def latex_text(text: str) -> str:
    """Text for a cell of a tabular, on one line."""
    apart = re.split(r"(?<=-)(?=-)", visible(text))  # LaTeX makes one dash of two hyphens, as of those of an option
    escaped = "{}".join(part.translate(_LATEX_CODES) for part in apart)
    return re.sub(r"^[*\[]", r"{\g<0>}", escaped)  # the command before would take these as its own option


def spreadsheet_text(text: str) -> str:
    """Text for a cell of a CSV that people open: what a spreadsheet would run has an apostrophe before it."""
    written = re.sub("[\0\ud800-\udfff]", "\ufffd", text)  # what no file of text can hold
    return f"'{written}" if written.startswith(SPREADSHEET_BEGINNINGS) else written


def csv_line(cells: Iterable[object]) -> str:
    """Cells as one line; every kind of line break in a cell is quoted."""
    # csv quotes a line break only where it is part of its own end of line, which is cut off again.
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\r\n").writerow(cells)
    return file.getvalue()[: -len("\r\n")] + "\n"


def visible_csv(text: str) -> str:
    """The same lines for people: every cell on one line, without anything that a terminal or a CI would obey."""
    lines = csv.reader(io.StringIO(text, newline=""))
    return without_commands("".join(csv_line(map(visible, cells)) for cells in lines))
