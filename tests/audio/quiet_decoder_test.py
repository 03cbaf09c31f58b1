"""Silence on standard error, for one and for several at a time."""

import os
import threading
from pathlib import Path

from sepcon.audio.files import quiet_decoder


def test_the_last_to_leave_brings_standard_error_back(tmp_path: Path) -> None:
    kept = os.dup(2)
    said = tmp_path / "said"
    with open(said, "wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        inside, leave = threading.Event(), threading.Event()

        def decode() -> None:
            with quiet_decoder():
                inside.set()
                leave.wait()
                os.write(2, b"second ")

        other = threading.Thread(target=decode)
        with quiet_decoder():
            other.start()
            inside.wait()
            os.write(2, b"first ")
        os.write(2, b"still silent ")
        leave.set()
        other.join()
        os.write(2, b"heard")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert said.read_bytes() == b"heard"
