"""What runs a subject: one engine per file, registered in the entry-point group ``fgbench.engines``."""
