"""A coarse world that is drawn, and the small backbone that learns from it and is shipped."""
