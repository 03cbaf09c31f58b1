#!/usr/bin/env bash
# Format, lint, types and tests, in environments of its own: all on the TensorFlow that an
# installation brings, and what the extra `tfio` changes on the one that tensorflow-io works with.
# Continuous integration runs just this.
set -euo pipefail
cd "$(dirname "$0")/.."

# What hears audio inside the graph, reads folders of it, and writes models for others to load.
TFIO_TESTS=(tests/audio tests/data/folder_test.py tests/verbs/odd_folders_test.py
  tests/models/products tests/inference/packaged_results_test.py)

# Both at once: a registry is waited for longer than it is listened to.
(. tools/environment.sh tools/requirements-tfio.lock .venv-tfio) &
tfio=$!
. tools/environment.sh tools/requirements-dev.lock .venv-dev
wait "$tfio"

export TF_CPP_MIN_LOG_LEVEL=2 CUDA_VISIBLE_DEVICES=-1 OPENBLAS_NUM_THREADS=1
# Else each of the processes that tests start compiles every module of sepcon anew.
unset PYTHONDONTWRITEBYTECODE
# Three workers for two cores, as many tests wait for processes of their own; none with threads of
# numpy's, which spin. A file stays on one worker.
workers=(-n "${SEPCON_TEST_WORKERS:-3}" --dist loadfile --no-loadscope-reorder)

echo "== format"
"$PYTHON" -m ruff format --check .
echo "== lint"
"$PYTHON" -m ruff check .
echo "== types"
"$PYTHON" -m mypy sepcon tools
if [ $# = 0 ]; then
  echo "== tests with tensorflow-io"
  .venv-tfio/bin/python -m pytest -q "${workers[@]}" "${TFIO_TESTS[@]}"
fi
echo "== tests"
"$PYTHON" -m pytest -q "${workers[@]}" --durations 15 "$@"
