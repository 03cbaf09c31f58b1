"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

from sepcon import startup

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

REPOSITORY = Path(__file__).resolve().parents[1]
# Whole chains of commands; begun first, lest one worker ends long after the other.
LONGEST = ("documents_test.py", "quickstart_test.py", "gin_files_test.py", "faults_test.py")


def pytest_collectstart() -> None:
    """Loads TensorFlow as commands do, where tests are collected: not in the parent of workers."""
    startup.load_tensorflow()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first (tools/check.sh has workers take them in this order)."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


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
