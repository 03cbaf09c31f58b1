"""Checks file names that were read from a file before they are joined to a folder."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from sepcon.errors import SepconError, printable


def path_inside(root: Path, name: str, *, source: Path) -> Path:
    """Joins a name to a folder and makes sure that the result lies inside the folder.

    Args:
      root: the folder.
      name: a relative path, as a file says it.
      source: the file that says it, for the message.

    Returns:
      root / name.

    Raises:
      SepconError: the name leads out of the folder, by itself or by a link on the way.
    """
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    path = root.joinpath(*parts) if parts and "\0" not in name else root
    around = os.path.realpath(path.parent)
    inside = os.path.commonpath([around, os.path.realpath(root)]) == os.path.realpath(root)
    if path == root or path.is_absolute() != root.is_absolute() or ".." in parts or not inside:
        raise SepconError(
            f"{printable(str(source))}: names {printable(repr(name))}, which is not below "
            f"{printable(str(root))}; correct or remove the file"
        )
    return path
