"""A command loads TensorFlow without what Keras would bring along, and hides it from nobody."""

import gc
import importlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

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
seldom = "tensorflow.python.feature_column.feature_column", "keras.src.applications.resnet"
import keras, tensorflow as tf
with tf.summary.create_file_writer("log").as_default(step=1):
    tf.summary.text("a", "b"), tf.summary.scalar("c", 1.0)
    tf.summary.image("d", tf.zeros([1, 4, 4, 1])), tf.summary.audio("e", tf.zeros([1, 9, 1]), 9)
print([name for name in seldom if name in sys.modules])
print(tf.compat.v1.placeholder.__name__, tf.lite.TFLiteConverter.__name__)
print(keras.applications.ResNet50.__name__, "numeric_column" in dir(tf.feature_column))
"""


def test_a_command_does_not_load_what_keras_would_bring_along(tmp_path):
    output = subprocess.run(
        [sys.executable, "-c", COMMAND], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    expected = ["1 True True []", "[]", "placeholder TFLiteConverterV2", "ResNet50 True"]
    assert output.stdout.splitlines() == expected, output.stderr


def test_a_failed_import_leaves_everything_as_it_was(monkeypatch):
    def fail(name: str) -> None:
        assert sys.modules["pandas"] is None
        assert not gc.isenabled()
        raise ImportError(f"no {name}")

    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    before, finders = dict(sys.modules), list(sys.meta_path)
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ImportError, match="no tensorflow"):
        startup.load_tensorflow()
    assert sys.modules == before
    assert sys.meta_path == finders
    assert gc.isenabled()


@pytest.fixture
def seldom(tmp_path, monkeypatch):
    """The file of a module that is to be loaded when something of it is asked for."""
    monkeypatch.setattr(startup, "_LATER", {"seldom"})
    monkeypatch.setattr(sys, "meta_path", [startup._LaterFinder(), *sys.meta_path])
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "seldom.py"
    sys.modules.pop("seldom", None)


def test_a_module_is_loaded_once_when_something_of_it_is_asked_for(seldom):
    note = "import time; open(__file__ + '.loaded', 'a').write('x'); time.sleep(0.1); value = 7\n"
    seldom.write_text(note)
    module = importlib.import_module("seldom")
    assert not hasattr(module, "__wrapped__")
    assert module.__file__ == str(seldom)
    loaded = seldom.with_name("seldom.py.loaded")
    assert not loaded.exists()
    with ThreadPoolExecutor(4) as pool:
        values = list(pool.map(lambda _: module.value, range(4)))
    assert values == [7] * 4
    assert loaded.read_text() == "x"
    with pytest.raises(AttributeError, match="'seldom' has no attribute 'nothing'"):
        module.nothing  # noqa: B018
    assert "value" in dir(module)


def test_a_module_that_fails_fails_whenever_it_is_asked(seldom):
    seldom.write_text("raise ImportError('no such library')\n")
    module = importlib.import_module("seldom")
    for _ in range(2):
        with pytest.raises(ImportError, match="no such library"):
            module.value  # noqa: B018
