"""The web page of a report: one file that needs no other, no network, and no script to be read."""

from fgbench_reports.page.content import FigureBlock, Link, Page, Section, TableBlock
from fgbench_reports.page.page import to_html

__all__ = ["FigureBlock", "Link", "Page", "Section", "TableBlock", "to_html"]
