"""A command loads TensorFlow without what Keras would bring along, and hides it from nobody."""

import gc
import importlib
import os
import signal
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
        [sys.executable, "-c", COMMAND],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    expected = ["1 True True []", "[]", "placeholder TFLiteConverterV2", "ResNet50 True"]
    assert output.stdout.splitlines() == expected, output.stderr
    assert [line.split(":")[0] for line in output.stderr.splitlines()] == ["sepcon"]


LOG = b"""I0000 00:00:1795859.1 port.cc:153] oneDNN custom operations are on.
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
W0000 00:00:1795859.2 a.cc:1] a warning
E0000 00:00:1795859.3 a.cc:2] an error
a line of somebody else's
F0000 00:00:1795859.4 cpu_feature_guard.cc:80] this processor lacks AVX
"""


@pytest.mark.parametrize("level, passed", [("", 6), ("0", 6), ("1", 4), ("2", 3), ("3", 2)])
def test_the_log_of_loading_is_as_wanted_also_where_loading_ends_the_process(level, passed):
    program = f"""
import os
from sepcon import startup
with startup._early_log_as_wanted():
    os.write(2, {LOG!r})
    os.abort()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        stderr=subprocess.PIPE,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": level},
        check=False,
    )
    assert ended.returncode == -signal.SIGABRT
    lines = LOG.splitlines(keepends=True)
    kept = {6: lines, 4: lines[2:], 3: lines[3:], 2: lines[4:]}
    assert ended.stderr == b"".join(kept[passed])


def test_standard_error_is_as_before_when_tensorflow_is_loaded(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    with startup._early_log_as_wanted():
        os.write(2, LOG)
    os.write(2, b"I0000 00:00:1 after\n")
    told = capfd.readouterr().err.encode()
    assert told == b"".join(LOG.splitlines(keepends=True)[3:]) + b"I0000 00:00:1 after\n"


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
