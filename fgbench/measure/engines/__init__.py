"""Engines, which run subjects: one per file, registered in the entry-point group ``fgbench.engines``."""
