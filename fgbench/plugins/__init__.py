"""What can be named: registries of entry points, and what is known of their names before anything is imported."""
