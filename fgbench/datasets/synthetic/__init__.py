"""Drawn images whose classes share the whole object and differ in two small parts."""
