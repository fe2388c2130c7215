"""Files of weights: those of fgbench, of timm, and those that the authors of the models released."""
