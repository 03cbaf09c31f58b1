"""Reads the files that sepcon has written; damage is one line that names the file.

Files are cut off by full disks, edited by hand and mixed up between versions. Whatever is wrong
with one, and whatever exception Python raises for it, the user gets the file's name and the cure.
"""

from __future__ import annotations

import contextlib
import csv
import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sepcon.errors import SepconError, one_line, printable, refuse_pipe

# What a reader meets in a file that is cut off, edited, or not of this kind at all.
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    ImportError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    csv.Error,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextlib.contextmanager
def told_if_damaged(path: Path, *, cure: str) -> Iterator[None]:
    """Turns the exceptions that reading a damaged file raises into a SepconError that names it.

    Args:
      path: the file that is read.
      cure: what the user can do.

    Raises:
      SepconError: the block raised one of `DAMAGE`.
    """
    try:
        yield
    except DAMAGE as error:
        reason = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else str(error)
        reason = one_line(ValueError(getattr(error, "strerror", None) or reason))
        raise SepconError(
            f"{printable(str(path))}: is damaged or of another version ({reason}); {cure}"
        ) from error


def read_json(path: Path, *, cure: str) -> dict[str, Any]:
    """Reads a file that holds a JSON object.

    Args:
      path: the file; it must exist.
      cure: what the user can do if it is damaged.

    Returns:
      The object.

    Raises:
      SepconError: the file cannot be read or holds something else.
    """
    with told_if_damaged(path, cure=cure):
        refuse_pipe(path)
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"it holds a {type(content).__name__}, expected an object")
        return content
