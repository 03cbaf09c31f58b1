"""Runs the command line: `python -m sepcon`."""

import sys

from sepcon.cli import main

if __name__ == "__main__":
    sys.exit(main())
