"""Data sets by name: the ten of the paper, your own folders and lists, timm's readers, and synthetic images."""
