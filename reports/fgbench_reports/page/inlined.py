"""Parts that are made elsewhere, ready to stand in a page."""

from __future__ import annotations

import base64
import hashlib
import re

TAG = re.compile(r"<[A-Za-z][^<>]*>")
ATTRIBUTE = re.compile(r'(?<=\s)([\w:.-]+)="([^"]*)"')
STYLE = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)
VIEW_BOX = re.compile(r'<svg[^>]*\sviewBox="[-\d.]+[ ,]+[-\d.]+[ ,]+(\d+\.?\d*)[ ,]')
# Attributes that hold url(#…); any other is text, and may look like it.
PAINT = frozenset("clip-path fill filter marker-end marker-mid marker-start mask stroke style".split())
# What the page itself calls its parts.
TAKEN = ("content", "contents", "environment", "conventions", "rows", "said", "tip")


class Anchors:
    """Gives every name an anchor of its own: its letters, digits, - and _, numbered where two names come to the same.

    No anchor holds two hyphens in a row: what a figure calls its parts is put behind them.
    """

    def __init__(self) -> None:
        self._taken = set(TAKEN)

    def take(self, *names: str) -> str:
        """The anchor of a name, or of one inside another."""
        plain = re.sub(r"[^A-Za-z0-9_]+", "-", "-".join(names)).strip("-") or "part"
        anchor, number = plain, 1
        while anchor in self._taken:
            number += 1
            anchor = f"{plain}-{number}"
        self._taken.add(anchor)
        return anchor


def inline_svg(svg: str, anchor: str) -> str:
    """An SVG without its XML prologue, whose ids cannot be those of another one: ``x`` becomes ``anchor--x``.

    Raises ValueError where there is no ``<svg``.
    """
    start = svg.find("<svg")
    if start < 0:
        raise ValueError(f"the figure {anchor!r} is no SVG: it begins with {svg[:40]!r}, and <svg is nowhere in it")

    def rename(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name == "id":
            value = f"{anchor}--{value}"
        elif name in ("aria-labelledby", "aria-describedby"):
            value = " ".join(f"{anchor}--{one}" for one in value.split())
        elif name in ("href", "xlink:href") and value.startswith("#"):
            value = f"#{anchor}--{value[1:]}"
        elif name in PAINT:
            value = value.replace("url(#", f"url(#{anchor}--")
        return f'{name}="{value}"'

    def rename_all(tag: re.Match[str]) -> str:
        text = tag[0]
        return ATTRIBUTE.sub(rename, text) if 'id="' in text or "#" in text or "edby=" in text else text

    return TAG.sub(rename_all, svg[start:].rstrip())


def width_px(svg: str) -> float | None:
    """How wide an SVG stands on a page where there is room, in CSS pixels: its letters of 7 units are 13 px high.

    None where its viewBox does not say.
    """
    found = VIEW_BOX.search(svg)
    return float(found[1]) * 13 / 7 if found else None


def styles_in(svg: str) -> list[str]:
    """The text of every style element."""
    return STYLE.findall(svg)


def digest(text: str) -> str:
    """The source expression by which a policy allows this inline text."""
    hashed = base64.b64encode(hashlib.sha256(text.encode()).digest())
    return f"'sha256-{hashed.decode()}'"


def policy(script: str, styles: list[str]) -> str:
    """A Content-Security-Policy under which nothing is fetched and no script runs but this one.

    Style attributes are allowed, as figures are full of them; they can fetch nothing either.
    """
    hashes = " ".join(dict.fromkeys(map(digest, styles)))
    return (
        f"default-src 'none'; script-src {digest(script)}; style-src {hashes}; style-src-attr 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
