"""A process that has neither sepcon nor Keras, for the tests of SavedModels."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import warm_python

# `None` in sys.modules makes an import fail: nothing of these two can be used by accident.
_BEFORE = """
import sys
sys.modules["sepcon"] = None
import numpy as np, tensorflow as tf
for name in [name for name in sys.modules if name.split(".")[0] == "keras"]:
    del sys.modules[name]
sys.modules["keras"] = None
model = tf.saved_model.load(sys.argv[1])
inputs = np.load(sys.argv[2])
results = {}
"""
_AFTER = "\nnp.savez(sys.argv[3], **results)\n"


def run_stranger(
    code: str, *, saved_model: Path, inputs: Mapping[str, np.ndarray], folder: Path
) -> Mapping[str, np.ndarray]:
    """Runs code that fills `results` from `model` and `inputs`, and returns the results."""
    np.savez(folder / "in.npz", **inputs)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    arguments = [str(saved_model), str(folder / "in.npz"), str(folder / "out.npz")]
    subprocess.run(
        [warm_python.path(), "-c", _BEFORE + code + _AFTER, *arguments],
        check=True,
        cwd=folder,
        env={**environment, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
    )
    return np.load(folder / "out.npz")
