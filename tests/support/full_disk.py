"""A disk that is full after some bytes of a file, as the system has it."""

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def full_disk(file_bytes: int) -> Iterator[None]:
    """Lets every write behind so many bytes of a file fail; Python ignores the signal of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
