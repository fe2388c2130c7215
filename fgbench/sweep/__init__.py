"""Time, memory and energy of whole models: a sweep whose figures can be trusted and cannot be lost."""
