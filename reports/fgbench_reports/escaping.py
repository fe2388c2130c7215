"""Text from data as text: what Markdown, LaTeX or a spreadsheet would read as its own is escaped."""

from __future__ import annotations

import re

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


def markdown_text(text: str) -> str:
    """Text for a cell of a pipe table, or inside a paragraph, on one line."""
    escaped = re.sub(r"[\\|*`\[~$]|<(?=[A-Za-z/!?])|&(?=#?\w+;)", r"\\\g<0>", text)
    beside_words = r"(?<![^\W_])_|_(?![^\W_])"  # inside a word, or alone, an underscore is no markup
    return re.sub(beside_words, r"\\_", escaped) if len(re.findall(beside_words, escaped)) > 1 else escaped


def markdown_paragraph(text: str) -> str:
    """Text for a paragraph of its own: nothing at its beginning makes a heading, a list or a quotation of it."""
    escaped = markdown_text(text.strip())
    escaped = re.sub(r"^[#>+=_-]", r"\\\g<0>", escaped)
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", escaped)


def latex_text(text: str) -> str:
    """Text for a cell of a tabular, on one line."""
    apart = re.split(r"(?<=-)(?=-)", text)  # LaTeX makes one dash of two hyphens, as of those of an option
    escaped = "{}".join(part.translate(_LATEX_CODES) for part in apart)
    return re.sub(r"^[*\[]", r"{\g<0>}", escaped)  # the command before would take these as its own option


def spreadsheet_text(text: str) -> str:
    """Text for a cell of a CSV that people open: what a spreadsheet would run has an apostrophe before it."""
    written = re.sub("[\0\ud800-\udfff]", "\ufffd", text)  # what no file of text can hold
    return f"'{written}" if written.startswith(SPREADSHEET_BEGINNINGS) else written
