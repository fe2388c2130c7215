"""Worker processes: code that may crash or hang runs in a process that is forked with all modules loaded."""
