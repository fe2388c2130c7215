"""Files of weights: our own, and those that the authors of the models released."""
