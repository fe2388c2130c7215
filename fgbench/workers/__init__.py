"""Processes for what may crash or hang: one that has all modules loaded, and workers that are forked from it."""
