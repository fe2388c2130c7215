"""Subjects, which are measured: a published model, any network, one selector by itself, a v·A kernel."""
