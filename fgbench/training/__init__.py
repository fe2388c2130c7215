"""What selection buys: data sets, the training recipe, training and evaluation."""
