"""Reports of what was measured here, as it is: no published figures beside it."""
