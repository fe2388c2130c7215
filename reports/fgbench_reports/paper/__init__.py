"""The tables of the paper, laid out as published, with what was counted and measured here beside them."""
