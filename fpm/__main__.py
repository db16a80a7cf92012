"""`python -m fpm` runs the command line, and so does the program `fpm`."""

import signal
import sys
from runpy import run_module

from fpm.interruption import attend, is_interrupted


def main() -> None:
    """The command line. Ctrl-C before it begins or after it has ended is no traceback either."""
    attend()
    try:
        run_module("fpm.commands.cli", run_name="__main__")
    except SystemExit:
        raise
    except BaseException:
        if is_interrupted():
            sys.exit(130)
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
