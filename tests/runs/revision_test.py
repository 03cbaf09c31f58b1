"""The revision that runs and model cards note is that of the code that ran."""

import shutil
import subprocess

import pytest

import sepcon
from sepcon.runs.revision import Revision, revision_of, running_revision


def git(folder, *words):
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_the_revision_is_the_commit_and_tells_changes_of_the_package_alone(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    (checkout / "README.md").write_text("no code")
    found = revision_of(checkout / "package")
    assert found == Revision(head, False)
    assert str(found) == head
    (checkout / "package" / "new.py").write_text("a module that may well be imported")
    assert revision_of(checkout / "package") == Revision(head, True)
    assert str(revision_of(checkout / "package")) == f"{head}-dirty"


def test_a_copy_inside_somebody_elses_checkout_has_none_of_its_own(checkout):
    shutil.copytree(checkout / "package", checkout / "site-packages" / "package")
    assert revision_of(checkout / "site-packages" / "package") == Revision(None, None)


def test_outside_of_a_checkout_the_version_stands_for_the_commit(tmp_path):
    assert revision_of(tmp_path) == Revision(None, None)
    assert str(Revision(None, None)) == sepcon.__version__


def test_what_runs_here_is_this_checkout(repository):
    assert running_revision().commit in (git(repository, "rev-parse", "HEAD"), None)
