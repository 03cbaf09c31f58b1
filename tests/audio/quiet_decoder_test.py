"""The MP3 decoder is not heard on standard error; whatever else writes there is."""

import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from sepcon.audio.decode import decode_file
from sepcon.audio.files import AudioError
from sepcon.audio.quiet_decoder import quiet_decoder

CHATTER = (
    b"[src/libmpg123/layer3.c:INT123_do_layer3():1844] error: dequantization failed!\n"
    b"Note: Illegal Audio-MPEG-Header 0x00000000 at offset 2397.\nNote: Trying to resync...\n"
    b"\nWarning: Xing stream size off by more than 1%, fuzzy seeking may be even more fuzzy!\n"
)


@contextlib.contextmanager
def standard_error_in(path: Path) -> Iterator[Callable[[], bytes]]:
    """Sends file descriptor 2 to a file; gives what returns the content so far."""
    kept = os.dup(2)
    with open(path, "wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield path.read_bytes
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_the_decoders_lines_are_dropped_and_all_others_come_through(tmp_path: Path) -> None:
    with standard_error_in(tmp_path / "said") as said:
        with quiet_decoder():
            os.write(2, b"\rbar 10%" + b"\n" + CHATTER + b"a line of somebody else\n")
            os.write(2, CHATTER)
            before = said()
        os.write(2, b"\rbar 20%")
        after = said()
    assert before == b""
    assert after == b"\rbar 10%\na line of somebody else\n\rbar 20%"


def test_of_several_threads_each_lets_others_be_heard(tmp_path: Path) -> None:
    inside, leave = threading.Event(), threading.Event()

    def decode() -> None:
        with quiet_decoder():
            inside.set()
            leave.wait()
            os.write(2, CHATTER)

    other = threading.Thread(target=decode, daemon=True)
    with standard_error_in(tmp_path / "said") as said:
        with quiet_decoder():
            other.start()
            inside.wait()
            os.write(2, b"first\n" + CHATTER)
        # The other is still inside; nobody has to wait for it to be heard.
        heard = [said()]
        os.write(2, b"second\n")
        leave.set()
        other.join()
        heard.append(said())
        os.write(2, b"third\n")
        heard.append(said())
    assert heard == [b"first\n", b"first\nsecond\n", b"first\nsecond\nthird\n"]


def test_a_damaged_mp3_file_is_decoded_or_refused_in_silence(tmp_path: Path) -> None:
    file = io.BytesIO()
    samples = np.random.default_rng(0).normal(0.0, 0.1, 20000)
    soundfile.write(file, samples, 16000, format="MP3")
    whole, heard = file.getvalue(), 0
    for seed in range(20):
        damaged = bytearray(whole)
        for place in np.random.default_rng(seed).integers(0, len(whole), 6):
            damaged[place] ^= 0x55
        (tmp_path / f"{seed}.mp3").write_bytes(damaged)
    with standard_error_in(tmp_path / "said") as said:
        for path in tmp_path.glob("*.mp3"):
            with contextlib.suppress(AudioError):
                heard += len(decode_file(path)) > 0
        silence = said()
        for path in tmp_path.glob("*.mp3"):
            with contextlib.suppress(soundfile.LibsndfileError):
                soundfile.read(path)
        without = said()
    assert heard > 5
    assert silence == b""
    assert b"libmpg123" in without or b"Note: " in without  # There was something to hear.
