"""Measure one point: a subject in an engine gives times, memory and energy that can be trusted."""
