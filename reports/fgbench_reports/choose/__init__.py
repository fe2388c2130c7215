"""Which measured configuration to deploy: limits, Pareto fronts, advice."""
