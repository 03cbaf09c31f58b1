"""Fixtures shared by all tests."""

import gc
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import warm_python
from no_stacks import take_no_stacks

from sepcon import startup

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
warm_python.prepare()

REPOSITORY = Path(__file__).resolve().parents[1]
# Those that take longest, first: the workers then end together.
LONGEST = (
    "documents_test.py",
    "quickstart_test.py",
    "gin_files_test.py",
    "finetune_test.py",
    "encoders_test.py",
    "distribution_test.py",
    "causal_test.py",
    "before_the_move_test.py",
    "separate_test.py",
    "waveform_test.py",
    "separation_benchmarks_test.py",
    "plan_test.py",
    "resume_test.py",
    "separation_test.py",
    "faults_test.py",
    "pretraining_test.py",
    "network_test.py",
    "benchmark_test.py",
    "sound_scenes_test.py",
    "synthetic_test.py",
    "mixit_test.py",
    "train_separator_test.py",
    "load_test.py",
    "loop_test.py",
    "optimizers_test.py",
    "export_test.py",
    "command_test.py",
    "transfer_test.py",
    "packaged_weights_test.py",
    "recording_separator_test.py",
    "beam_test.py",
)


def pytest_collectstart() -> None:
    """Loads TensorFlow as commands do, where tests are collected: not in the parent of workers."""
    if "tensorflow" not in sys.modules:
        startup.load_tensorflow()
        take_no_stacks()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first (tools/check.sh has workers take them in this order)."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


def pytest_collection_finish() -> None:
    """Leaves what all tests share out of every later search for garbage."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """Searches each file's objects for garbage once, and leaves what stays out of later searches.

    Else a search looks through the graphs of all files before: after a few hundred tests it takes
    the better part of a second, and there are several in a file.
    """
    yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Material beside the project: real recordings and golden vectors. Skips where it is absent."""
    path = REPOSITORY.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"needs the shared material at {path}, which is not there")
    return path
