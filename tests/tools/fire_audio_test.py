"""A few hundred mutated files: each is decoded or refused; and what the table would show if not."""

import sys
from pathlib import Path

import numpy as np
import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import fire_audio  # noqa: E402


def test_mutated_files_are_decoded_or_refused_and_nothing_else(tmp_path: Path) -> None:
    table = fire_audio.fire(num_files=420, seed=5, keep=tmp_path / "faults")
    assert table.faults == []
    assert not (tmp_path / "faults").exists()
    assert sum(table.counts.values()) == 420
    assert table.total(fire_audio.DECODED) > 80
    assert table.total(fire_audio.REFUSED) > 80
    assert "| all |" in table.text()


def test_a_change_depends_on_seed_and_number_alone() -> None:
    whole = fire_audio.originals(np.random.default_rng(3))
    few = list(fire_audio.mutations(whole, 3, 5))
    assert few == list(fire_audio.mutations(whole, 3, 8))[:5]
    assert few != list(fire_audio.mutations(whole, 4, 5))
    assert all(data != whole[kind] for _, kind, data in few)


FAULTY = {
    "os.abort()": fire_audio.CRASHED,
    "time.sleep(60)": fire_audio.HUNG,
    "raise OSError('x')": fire_audio.OTHER,
    "bytes(3 << 30)": fire_audio.OTHER,
    "os.write(2, b'chatter')": fire_audio.CHATTER,
}


@pytest.mark.parametrize("deed", FAULTY)
def test_a_decoder_at_fault_is_seen_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    """Each third file meets a decoder that does something it must not."""
    code = (
        "import os, sys, time; sys.path.insert(0, sys.argv.pop(1)); import numpy, fire_audio\n"
        "import sepcon.audio.decode as decode; from pathlib import Path\n"
        "def decode_file(path):\n"
        f"    if b'fault' in Path(path).read_bytes(): {deed}\n"
        "    return numpy.ones(9, numpy.int16)\n"
        "decode.decode_file = decode_file\n"
        "sys.exit(fire_audio.main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, str(TOOLS)]
    monkeypatch.setattr(fire_audio, "DECODER_COMMAND", command)
    files = [b"good", b"fault", b"good"]
    monkeypatch.setattr(
        fire_audio, "mutations", lambda *_: ((n, "x", data) for n, data in enumerate(files))
    )
    table = fire_audio.fire(num_files=3, seconds=5.0, memory_bytes=1 << 30, keep=tmp_path / "kept")
    assert table.counts == {("x", fire_audio.DECODED): 2, ("x", FAULTY[deed]): 1}
    assert len(table.faults) == 1
    assert [path.read_bytes() for path in (tmp_path / "kept").iterdir()] == [b"fault"]
