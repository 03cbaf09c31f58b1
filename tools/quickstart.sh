#!/usr/bin/env bash
# From a fresh machine to the table of the shallow benchmark, in one command.
#
#   tools/quickstart.sh                    the built-in scenes: no data set needed
#   tools/quickstart.sh --esc50 DIR        scenes from an ESC-50 folder in the official layout
#   tools/quickstart.sh --help             the other options
#
# Needs Python 3.11 or 3.12 and, the first time, a network with PyPI. Ctrl-C stops it; the same
# command goes on where it stopped.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
. tools/environment.sh tools/requirements.lock .venv
script=$PWD/tools/quickstart.py
# Paths on the command line are meant from where the user stands.
cd "$here"
exec "$PYTHON" "$script" "$@"
