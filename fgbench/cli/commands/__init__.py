"""A file per command: parse, call, render. Torch is imported inside them, so that ``--help`` does not wait."""
