"""What ``fgbench regress`` counts and measures; it is judged in :mod:`fgbench_reports.regression`."""
