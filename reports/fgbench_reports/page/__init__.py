"""The web page of a report: one file, readable without other files, without a network and without scripts."""

from fgbench_reports.page.content import FigureBlock, Link, Page, Section, TableBlock
from fgbench_reports.page.page import to_html

__all__ = ["FigureBlock", "Link", "Page", "Section", "TableBlock", "to_html"]
