"""Sweeps and trainings on the nodes of a Ray cluster: the same code in the same isolation, and one store here."""
