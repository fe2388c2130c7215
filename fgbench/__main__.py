"""The ``fgbench`` command, and ``python -m fgbench``."""

import sys


def main() -> None:
    """Import and run the commands; an interrupt in the first moments is one line as well."""
    try:
        from fgbench.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("fgbench: interrupted\n")
        sys.exit(130)  # 128 + SIGINT, as in fgbench.shell, which is not there yet


if __name__ == "__main__":
    main()
