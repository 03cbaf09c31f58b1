"""Which revision of sepcon is running, to be recorded in its results."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
from pathlib import Path

import sepcon


@dataclasses.dataclass(frozen=True)
class Revision:
    """The state of the source.

    Attributes:
      commit: in full; None outside of a checkout.
      dirty: whether the package differs from the commit, new files included; None outside of one.
    """

    commit: str | None
    dirty: bool | None

    def __str__(self) -> str:
        """The commit, with `-dirty` behind it where it is so; the version outside of a checkout."""
        if self.commit is None:
            return sepcon.__version__
        return f"{self.commit}-dirty" if self.dirty else self.commit


@functools.cache
def running_revision() -> Revision:
    """Returns the revision of the running source."""
    return revision_of(Path(sepcon.__file__).resolve().parent)


def revision_of(package: Path) -> Revision:
    """Returns the revision of the source in a folder.

    Args:
      package: the folder. Changes elsewhere in the repository do not make it dirty.

    Returns:
      The revision; its values are None outside of a git checkout.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed copy inside somebody else's checkout must not claim that one's revision.
        git("ls-files", "--error-unmatch", "__init__.py")
        return Revision(git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", ".")))
    except (OSError, subprocess.CalledProcessError):
        return Revision(None, None)
