"""Counting of work: operators that run, the paper's closed forms, and a cross-check of both."""
