"""Files and folders that appear whole or not at all: the one way in which sepcon writes results.

A result is first written under a scratch name, which begins with a dot and is random, so that no
other process uses it, on other machines neither. Then it is flushed to the disk (fsync) and renamed
in one step, and the folder around it is flushed as well. So what is seen under its final name is
whole, even after a power cut. If anything goes wrong, the scratch is removed and what was there
before stays.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sepcon.errors import SepconError, WriteError, write_error

if TYPE_CHECKING:
    import numpy as np

_SCRATCH = re.compile(
    r"\..+\.[0-9a-f]{32}"
    # What versions before this one have left where they were killed.
    r"|\.step-\d+\.\w{8}|\..+\.\d+\.part|\..+\.\d+\.npz|\.unfinished|\.work\.pickle"
    r"|embeddings-\d+-of-\d+\.tmp"
)
# Some file systems cannot bring a folder to the disk by itself, and say so.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Gives an empty scratch file, which becomes `path` at the end of the block.

    Args:
      path: the file; its folder must exist. A link of that name is replaced, not followed.
      durable: whether the file is flushed to the disk, which takes some milliseconds; False for
        what nobody needs after a power cut.

    Yields:
      The path of the scratch file, to write into.

    Raises:
      WriteError: it cannot be written; what was there stays.
    """
    with told_if_unwritable(path):
        scratch = _scratch_beside(path.parent)
        try:
            # Anew, so that nothing that is there is written into, be it by a link.
            os.close(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            yield scratch
            if durable:
                _to_disk(scratch, os.O_NOFOLLOW)
            os.replace(scratch, path)
        finally:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)
        if durable:
            _to_disk(path.parent)


@contextlib.contextmanager
def whole_folder(path: Path, *, scratch_in: Path | None = None) -> Iterator[Path]:
    """Gives an empty scratch folder, which becomes `path` at the end of the block.

    A folder that exists under that name is exchanged for it, in one step where the system can.

    Args:
      path: the folder; its parents are made.
      scratch_in: the folder that holds the scratch meanwhile, on the same disk; by default the
        parent of `path`.

    Yields:
      The path of the scratch folder, to write into.

    Raises:
      WriteError: it cannot be written; what was there stays.
    """
    with told_if_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = _scratch_beside(scratch_in or path.parent)
        scratch.mkdir()
        try:
            with _told_as(path):
                yield scratch
            for folder, _, names in os.walk(scratch):
                for name in [*names, "."]:
                    _to_disk(Path(folder, name))
            _put_in_place(scratch, path)
        finally:
            _remove(scratch)
        _to_disk(path.parent)


@contextlib.contextmanager
def told_if_unwritable(path: str | os.PathLike, *, cure: str = "") -> Iterator[None]:
    """Turns the errors of a full, broken or read-only disk into a `WriteError` that names `path`.

    Args:
      path: what is written.
      cure: what the user can do, see `write_error`.

    Raises:
      WriteError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise write_error(path, error, cure=cure) from error


@contextlib.contextmanager
def _told_as(path: Path) -> Iterator[None]:
    """Names the folder that is to be in errors of what is written into its scratch."""
    try:
        yield
    except WriteError as error:
        raise write_error(path, error.__cause__ or error) from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays into an .npz file as `numpy.savez` does, whole or not at all.

    `numpy.savez` itself leaves its archive open when the disk is full.

    Args:
      path: the file.
      arrays: name -> numbers or text of any shape.

    Raises:
      WriteError: it cannot be written; what was there stays.
    """
    # The command line needs this module before it may load numpy, see `sepcon.cli.command`.
    import numpy as np

    with whole_file(path) as scratch, zipfile.ZipFile(scratch, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def scratch_folder(path: Path) -> Path:
    """Makes a folder for unfinished results that several processes write into.

    Args:
      path: the folder, of a name that all of them know.

    Returns:
      The same path.

    Raises:
      SepconError: a link has that name; what it points to must not be written or removed.
      OSError: the folder cannot be made.
    """
    if path.is_symlink():
        raise SepconError(f"{path}: is a link, expected a folder of the run; remove the link")
    path.mkdir(parents=True, exist_ok=True)
    return path


def remove_leftovers(folder: Path) -> None:
    """Removes the scratch files and folders of processes that were killed while writing.

    Only the owner of the folder may call this, while nobody else is writing there.

    Args:
      folder: the folder; what is below its subfolders stays.

    Raises:
      WriteError: the folder cannot be read.
    """
    if folder.is_dir():
        with told_if_unwritable(folder):
            for path in folder.iterdir():
                if _SCRATCH.fullmatch(path.name):
                    _remove(path)


def _scratch_beside(folder: Path) -> Path:
    return folder / f".scratch.{uuid.uuid4().hex}"


def _to_disk(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (error.errno in _NO_FOLDER_SYNC and path.is_dir()):
            raise
    finally:
        os.close(descriptor)


def _put_in_place(scratch: Path, path: Path) -> None:
    """Renames a folder; afterwards `scratch` is gone, or is what was there before."""
    if not os.path.lexists(path):
        scratch.rename(path)
        return
    if _exchange(scratch, path):
        return
    before = _scratch_beside(scratch.parent)
    path.rename(before)
    try:
        scratch.rename(path)
    except OSError:
        before.rename(path)
        raise
    _remove(before)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two names in one step; False where the system or the disk cannot."""
    try:
        rename = _LIBC.renameat2
    except AttributeError:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0


def _remove(path: Path) -> None:
    """Removes a scratch file or folder, of a link the link alone, as far as it goes."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
