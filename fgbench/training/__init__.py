"""Training and testing models: recipe, search of the learning rate, evaluation, results in the store."""
