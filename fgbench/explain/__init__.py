"""Scores, boxes and crops of selectors on pictures, for ``fgbench visualize`` and ``accuracy --quality``."""
