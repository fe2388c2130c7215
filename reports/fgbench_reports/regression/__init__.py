"""Regressions: comparisons of counts, times and memory, their rules and their formats. No torch."""
