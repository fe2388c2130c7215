"""Experiments of many runs: the paper's tables of accuracy, and those of your own."""
