"""A plugin of pytest that prints the processor seconds of each file of tests, dearest first.

    tools/check.sh -p seconds_by_file

They are those of the process that runs the tests, of its children, and of what was forked for the
tests from the process that has TensorFlow loaded (see warm_python.py). Unlike the time of a clock
they hardly depend on what else the machine does: `LONGEST` in conftest.py follows them.
"""

import resource
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
import warm_python

_SHOWN = 40
_seconds: Counter[str] = Counter()


def _spent() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    before = _spent()
    try:
        return (yield)
    finally:
        _seconds[item.nodeid.partition("::")[0]] += _spent() - before


def pytest_collection_finish() -> None:
    _seconds["(start and collection)"] += _spent()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist hands over what it has counted."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["seconds_by_file"] = dict(_seconds)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _seconds.update(getattr(node, "workeroutput", {}).get("seconds_by_file", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    total = Counter(_seconds)
    for line in warm_python.spent_by_forks():
        total[line["test"].partition("::")[0]] += line["seconds"]
    terminalreporter.section("processor seconds")
    for name, seconds in total.most_common(_SHOWN):
        terminalreporter.write_line(f"{seconds:7.1f} {name}")
    minutes = sum(total.values()) / 60
    terminalreporter.write_line(f"{minutes:.1f} minutes in all")
