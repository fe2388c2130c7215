"""What a model promises: the same answer for the same image, whatever is around it, in every process."""
