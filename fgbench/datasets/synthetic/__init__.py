"""Drawn images of birds; classes differ in two small parts only."""
