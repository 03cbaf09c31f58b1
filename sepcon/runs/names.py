"""Names that stand in files are never joined to a path unchecked: they may lead anywhere."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from sepcon.errors import SepconError, printable


def path_inside(root: Path, name: str, *, source: Path) -> Path:
    """Returns root / name, which is below `root`.

    Args:
      root: the folder.
      name: a relative path, as a file says it.
      source: the file that says it.

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
