"""`python -m sonoseg` is `sonoseg`."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs one command; see `sonoseg.cli.main`. Ctrl-C ends it in one line, also while it is still starting."""
    try:
        from sonoseg.cli import main

        return main()
    except KeyboardInterrupt:
        sys.stderr.write("sonoseg: stopped\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
