"""Two revisions against each other: prepared alike, and measured in one job. No torch."""
