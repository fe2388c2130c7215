"""Results: typed records, the store, files of rows, and what a result was measured on. No torch."""
