"""`python -m fpm` runs the command line, and so does the program `fpm`."""

import signal
import sys


def main() -> None:
    """The command line. Ctrl-C before it begins or after it has ended is no traceback either."""
    try:
        from fpm.commands.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
