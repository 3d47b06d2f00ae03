"""`python -m sonoseg` is `sonoseg`."""

from __future__ import annotations

import sys

from sonoseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
