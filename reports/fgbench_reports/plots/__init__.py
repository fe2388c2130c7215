"""Figures for papers and pages: a report per module, one look for all of them."""
