#!/usr/bin/env bash
# Format, lint, types and tests, in an environment of its own. Continuous integration runs just this.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/environment.sh tools/requirements-dev.lock .venv-dev

export TF_CPP_MIN_LOG_LEVEL=2 CUDA_VISIBLE_DEVICES=-1 OPENBLAS_NUM_THREADS=1
# Else each of the processes that tests start compiles every module of sepcon anew.
unset PYTHONDONTWRITEBYTECODE
echo "== format"
"$PYTHON" -m ruff format --check .
echo "== lint"
"$PYTHON" -m ruff check .
echo "== types"
"$PYTHON" -m mypy sepcon tools
echo "== tests"
# Three workers for two cores, as many tests wait for processes of their own; none with threads of numpy's, which spin. A file stays on one worker.
"$PYTHON" -m pytest -q -n "${SEPCON_TEST_WORKERS:-3}" --dist loadfile --no-loadscope-reorder \
    --durations 15 "$@"
