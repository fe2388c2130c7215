"""The two sides of a comparison: git revisions, the working tree, installed environments."""
