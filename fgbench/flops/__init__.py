"""Counting: the paper's closed forms, what really runs, and each against the other."""
