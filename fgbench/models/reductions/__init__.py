"""Token reduction: between two blocks, or inside of one, some tokens are dropped, merged or set aside."""
