"""What can be measured: a model, one selector by itself, a v·A kernel."""
