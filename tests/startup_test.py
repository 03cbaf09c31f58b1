"""A command loads TensorFlow without what Keras would bring along, and hides it from nobody."""

import gc
import importlib
import subprocess
import sys

import pytest

from sepcon import startup

# That there is no such run ends the command after TensorFlow has been loaded.
COMMAND = """
import gc, sys
from sepcon import cli
code = cli.main(["export", "--gin_bindings=MODEL='nowhere'", "--run_dir=nowhere"])
names = ("matplotlib", "pandas", "sklearn")
loaded = [name for name in names if name in sys.modules]
print(code, gc.isenabled(), gc.get_freeze_count() > 100_000, loaded)
import matplotlib.pyplot, sklearn.manifold
"""


def test_a_command_does_not_load_what_keras_would_bring_along(tmp_path):
    output = subprocess.run(
        [sys.executable, "-c", COMMAND], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert output.stdout == "1 True True []\n", output.stderr


def test_a_failed_import_leaves_everything_as_it_was(monkeypatch):
    def fail(name: str) -> None:
        assert sys.modules["pandas"] is None
        assert not gc.isenabled()
        raise ImportError(f"no {name}")

    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    before = dict(sys.modules)
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ImportError, match="no tensorflow"):
        startup.load_tensorflow()
    assert sys.modules == before
    assert gc.isenabled()
