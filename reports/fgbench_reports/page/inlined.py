"""Anchors, SVG and policies for a page in which figures and styles are inline."""

from __future__ import annotations

import base64
import hashlib
import re

TAG = re.compile(r"<[A-Za-z][^<>]*>")
ATTRIBUTE = re.compile(r'(?<=\s)([\w:.-]+)="([^"]*)"')
STYLE = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)
VIEW_BOX = re.compile(r'<svg[^>]*\sviewBox="[-\d.]+[ ,]+[-\d.]+[ ,]+(\d+\.?\d*)[ ,]')
# Attributes that refer to ids by url(#…). In other attributes such a string is text.
PAINT = frozenset("clip-path fill filter marker-end marker-mid marker-start mask stroke style".split())
# Ids of the page itself.
TAKEN = ("content", "contents", "environment", "conventions", "rows", "said", "tip")


class Anchors:
    """Unique anchors for names: letters, digits, - and _ of the name, and a number if the anchor is taken.

    No anchor has two hyphens in a row, since two hyphens separate it from the ids of a figure.
    """

    def __init__(self) -> None:
        self._taken = set(TAKEN)

    def take(self, *names: str) -> str:
        """A new anchor for a name, or for several names joined by hyphens."""
        plain = re.sub(r"[^A-Za-z0-9_]+", "-", "-".join(names)).strip("-") or "part"
        anchor, number = plain, 1
        while anchor in self._taken:
            number += 1
            anchor = f"{plain}-{number}"
        self._taken.add(anchor)
        return anchor


def inline_svg(svg: str, anchor: str) -> str:
    """The SVG without its XML prologue, with ids that are unique in the page: ``x`` becomes ``anchor--x``.

    Raises ValueError if there is no ``<svg``.
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
    """The largest width of an SVG on the page in CSS pixels: its letters of 7 units are 13 px high.

    None if it has no usable viewBox.
    """
    found = VIEW_BOX.search(svg)
    return float(found[1]) * 13 / 7 if found else None


def styles_in(svg: str) -> list[str]:
    """The text of every style element."""
    return STYLE.findall(svg)


def digest(text: str) -> str:
    """The hash by which a Content-Security-Policy allows this inline text."""
    hashed = base64.b64encode(hashlib.sha256(text.encode()).digest())
    return f"'sha256-{hashed.decode()}'"


def policy(script: str, styles: list[str]) -> str:
    """A Content-Security-Policy that allows no requests and no other script than this one.

    Style attributes are allowed, since figures use them; they cannot request anything either.
    """
    hashes = " ".join(dict.fromkeys(map(digest, styles)))
    return (
        f"default-src 'none'; script-src {digest(script)}; style-src {hashes}; style-src-attr 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
