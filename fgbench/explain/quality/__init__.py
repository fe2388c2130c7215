"""What selection finds: parts where their boxes are known, and what the model's prediction rests on everywhere."""
