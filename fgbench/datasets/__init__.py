"""Data sets by name: the ten of the paper, folders and lists of one's own, timm's readers, and synthetic images."""
