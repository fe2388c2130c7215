"""The ``fgbench`` command, and ``python -m fgbench``."""

import os
import sys


def main() -> None:
    """Import and run the commands; an interrupt in the first moments is one line as well."""
    _fill_streams()
    try:
        from fgbench.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("fgbench: interrupted\n")
        sys.exit(130)  # 128 + SIGINT, as in fgbench.cli.errors, which is not there yet


def _fill_streams() -> None:
    """Put nothing where a standard stream is closed: a file that is opened there would take in what libraries print."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


if __name__ == "__main__":
    main()
