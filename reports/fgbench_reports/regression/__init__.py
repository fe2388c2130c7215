"""Whether a change made something costlier: what is compared, the rules, and what is said about it. No torch."""
