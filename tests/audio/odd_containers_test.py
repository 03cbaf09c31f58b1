"""Containers that libsndfile mishears or refuses: heard in full, or what is wrong is told."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_bytes import ID3V2, PIPE, RATE, chunk, encoded, fmt, riff, tone, without_length

from sepcon.audio.decode import decode_file
from sepcon.audio.files import AudioError, read_header

PCM = tone().astype("<i2").tobytes()
BIG = tone().astype(">i2").tobytes()
ID3V1 = b"TAG" + b"\0" * 125
LIST = chunk(b"LIST", b"INFOISFT\4\0\0\0tool")
UNKNOWN = (1 << 64) - 1
UNKNOWN_32 = 0xFFFFFFFF
FFMPEG = (1 << 63) - 1


def aiff(kind: bytes, frames: int, sound_bytes: int, form_bytes: int, sound: bytes = BIG) -> bytes:
    common = struct.pack(">hIh", 1, frames, 16) + bytes.fromhex("400cfa00000000000000")
    if kind == b"AIFC":
        common += b"NONE\0\0"
    body = kind + chunk(b"COMM", common, order=">")
    body += chunk(b"SSND", b"\0" * 8 + sound, size=sound_bytes, order=">")
    return b"FORM" + struct.pack(">I", form_bytes) + body


def rf64(magic: bytes, sound_bytes: int, behind: bytes = b"") -> bytes:
    sizes = struct.pack("<QQQI", sound_bytes, sound_bytes, sound_bytes // 2, 0)
    body = b"WAVE" + chunk(b"ds64", sizes) + fmt() + chunk(b"data", PCM, size=0xFFFFFFFF)
    return magic + b"\xff" * 4 + body + behind


def w64(claimed: int | None = None) -> bytes:
    data = bytearray(encoded("W64", "PCM_16"))
    if claimed is not None:
        place = data.index(b"data") + 16
        data[16:24] = data[place : place + 8] = struct.pack("<Q", claimed)
    return bytes(data)


def caf(claimed: int | None = None) -> bytes:
    data = bytearray(encoded("CAF", "PCM_16"))
    if claimed is not None:
        place = data.index(b"data") + 4
        data[place : place + 8] = struct.pack(">q", claimed)
    return bytes(data)


def au(claimed: int) -> bytes:
    data = bytearray(encoded("AU", "PCM_16"))
    data[8:12] = struct.pack(">I", claimed)
    return bytes(data)


WHOLE = {
    **{
        f"{kind.decode()} {name}": aiff(kind, *sizes)
        for kind in (b"AIFF", b"AIFC")
        for name, sizes in {
            "whole": (4000, 8008, 8054 if kind == b"AIFF" else 8060),
            "never closed": (0, 0, 0),
            "closed without its sizes": (0, 8, 46),
            "of SoX in a pipe": (0x7F000000 // 2, 0x7F000008, 0x7F00002E),
            "unknown": (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        }.items()
    },
    "AIFF never closed, tag": aiff(b"AIFF", 0, 0, 0) + ID3V2,
    "RF64": rf64(b"RF64", 8000),
    "RF64 never closed": rf64(b"RF64", 0),
    "RF64 of a pipe": rf64(b"RF64", UNKNOWN),
    "RF64 of a pipe, tag": rf64(b"RF64", UNKNOWN, ID3V1),
    "BW64": rf64(b"BW64", 8000),
    "BW64, chunk behind": rf64(b"BW64", 8000, LIST),
    "BW64 of a pipe": rf64(b"BW64", UNKNOWN),
    "Wave64": w64(),
    "Wave64, tag": w64() + ID3V1,
    "Wave64, other tag": w64() + ID3V2,
    "Wave64, text": w64() + b"a line\r\n" * 9,
    "Wave64 of ffmpeg in a pipe": w64(FFMPEG),
    "Wave64 unknown, tag": w64(UNKNOWN) + ID3V1,
    "Wave64 never closed": w64(0),
    "CAF": caf(),
    "CAF, tag": caf() + ID3V1,
    "CAF of a pipe": caf(-1),
    "CAF of a pipe, tag": caf(-1) + ID3V2,
    "CAF never closed": caf(0),
    "AU of a pipe": au(0xFFFFFFFF),
    "AU of a pipe, tag": au(0xFFFFFFFF) + ID3V1,
    "AU of a pipe, other tag": au(0xFFFFFFFF) + ID3V2,
    "AU never closed": au(0),
    "WAV of a pipe, chunk": riff(fmt(), chunk(b"data", PCM, size=UNKNOWN_32), LIST, size=PIPE),
    "WAV of a pipe, ID3v2": riff(fmt(), chunk(b"data", PCM, size=UNKNOWN_32), size=UNKNOWN_32)
    + ID3V2,
    "WAV never closed, chunk": riff(fmt(), chunk(b"data", PCM, size=0), LIST, size=0),
    "WAV, only the RIFF size": riff(fmt(), chunk(b"data", PCM, size=0)),
    "WAV, tag in front": ID3V2 + riff(fmt(), chunk(b"data", PCM)),
    "FLAC of a pipe, zeros": without_length(encoded("FLAC", "PCM_16")) + b"\0" * 700,
    "FLAC of a pipe, one zero": without_length(encoded("FLAC", "PCM_16")) + b"\0",
    "FLAC of a pipe, line end": ID3V2 + without_length(encoded("FLAC", "PCM_16")) + b"\r\n",
    "FLAC of a pipe, ID3v2": without_length(encoded("FLAC", "PCM_16")) + ID3V2,
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_all_samples_and_nothing_else_are_heard(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(WHOLE[name])
    np.testing.assert_array_equal(decode_file(tmp_path / "x"), tone())


BAD = {
    "CAF cut off": (caf()[:-3000], "is cut off, its header claims 8004 bytes"),
    "BW64 cut off": (rf64(b"BW64", 8000)[:-3000], "is cut off, its header claims 8000 bytes"),
    "AIFF cut off": (aiff(b"AIFF", 4000, 8008, 8054)[:-3000], "is cut off, its header claims"),
    "AIFF empty": (aiff(b"AIFF", 0, 8, 46, b""), "holds no samples"),
    "Wave64 cut off": (w64()[:-3000], "is cut off, its header claims 8000 bytes"),
    "WAV empty, chunk behind": (riff(fmt(), chunk(b"data", b""), LIST, size=0), "holds no samples"),
    "two WAV files": (2 * riff(fmt(), chunk(b"data", PCM)), "holds several recordings"),
    "two FLAC files": (2 * encoded("FLAC", "PCM_16"), "holds several recordings"),
    "two Ogg files": (2 * encoded("OGG", "VORBIS"), "holds several recordings"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_whole_is_refused(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(AudioError, match=message):
        decode_file(tmp_path / "x")


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM"])
def test_a_block_that_is_not_whole_makes_no_noise(tmp_path: Path, subtype: str) -> None:
    """As a pipe that broke leaves it: libsndfile would make up the rest of the block."""
    data = encoded("WAV", subtype)
    place = data.index(b"data") + 4
    (tmp_path / "x").write_bytes(data)
    whole = decode_file(tmp_path / "x")
    open_end = data[:4] + b"\xff" * 4 + data[8:place] + b"\xff" * 4 + data[place + 4 :]
    (tmp_path / "x").write_bytes(open_end[:-100])
    heard = decode_file(tmp_path / "x")
    assert 0 < len(whole) - len(heard) < 1100
    np.testing.assert_array_equal(heard, whole[: len(heard)])


def flac_claiming(count: int) -> bytes:
    data = bytearray(encoded("FLAC", "PCM_16"))
    data[22:26] = struct.pack(">I", count)
    return bytes(data)


@pytest.mark.parametrize(
    "count, message", [(2000, "is damaged|its last frame ends"), (9000, "cut")]
)
def test_a_flac_header_that_claims_another_length_is_told(
    tmp_path: Path, count: int, message: str
) -> None:
    (tmp_path / "x").write_bytes(flac_claiming(count))
    with pytest.raises(AudioError, match=message):
        decode_file(tmp_path / "x")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.97, 0.999])
@pytest.mark.parametrize("behind", [b"", b"\r\n", b"\0" * 40])
def test_a_cut_flac_of_a_pipe_is_not_taken_for_a_whole_one(
    tmp_path: Path, share: float, behind: bytes
) -> None:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(0).normal(size=40000), RATE, format="FLAC")
    whole = without_length(file.getvalue())
    (tmp_path / "x").write_bytes(whole[: int(share * len(whole))] + behind)
    with pytest.raises(AudioError, match=r"is damaged near sample|is cut off"):
        decode_file(tmp_path / "x")


@pytest.fixture(scope="module")
def mp3() -> bytes:
    """Two seconds of variable bitrate: first quiet, then loud."""
    generator, file = np.random.default_rng(0), io.BytesIO()
    samples = generator.normal(size=2 * RATE) * np.repeat([0.001, 0.2], RATE)
    soundfile.write(file, samples, RATE, format="MP3", bitrate_mode="VARIABLE")
    return file.getvalue()


def without_info(data: bytes) -> bytes:
    """Without the first frame, which alone says how many there are: it is 288 bytes here."""
    assert data[13:17] == b"Xing"
    return data[288:]


def with_frames(data: bytes, count: int) -> bytes:
    return data[:21] + struct.pack(">I", count) + data[25:]


def without_count(data: bytes) -> bytes:
    return data[:20] + bytes([data[20] & 0xFE]) + data[21:]


MP3S: dict[str, Callable[[bytes], bytes]] = {
    "without an info frame": without_info,
    "without an info frame, tags": lambda data: ID3V2 + without_info(data) + ID3V1,
    "junk in front": lambda data: b"\0" * 3000 + without_info(data),
    "an info frame of the wrong number": lambda data: with_frames(data, 20),
    "an info frame of no number": lambda data: with_frames(data, 0),
    "an info frame without a number": without_count,
}


@pytest.mark.parametrize("name", MP3S)
def test_all_frames_of_an_mp3_file_are_heard(tmp_path: Path, mp3: bytes, name: str) -> None:
    """libsndfile alone ends where it estimates the end, or where the info frame says."""
    (tmp_path / "whole").write_bytes(mp3)
    (tmp_path / "x").write_bytes(MP3S[name](mp3))
    whole, heard = decode_file(tmp_path / "whole"), decode_file(tmp_path / "x")
    assert len(whole) == 2 * RATE
    # Without the encoder's own word its delay of two or three frames is not cut off.
    assert 0 <= len(heard) - len(whole) < 2000
    assert read_header(tmp_path / "x").num_frames == len(heard)
    np.testing.assert_allclose(np.std(heard[-8000:]), np.std(whole[-8000:]), rtol=0.1)


def test_mp3_files_put_together_are_heard_in_full(tmp_path: Path, mp3: bytes) -> None:
    (tmp_path / "x").write_bytes(mp3 + without_info(mp3) + mp3)
    assert 0 <= len(decode_file(tmp_path / "x")) - 6 * RATE < 6000


def test_an_mp3_file_of_an_encoder_is_left_as_it_is(tmp_path: Path, mp3: bytes) -> None:
    for bitrate in ("CONSTANT", "VARIABLE"):
        file = io.BytesIO()
        samples = 0.1 * np.random.default_rng(1).normal(size=(30000, 2))
        soundfile.write(file, samples, 44100, format="MP3", bitrate_mode=bitrate)
        (tmp_path / "x").write_bytes(file.getvalue())
        expected, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
        assert read_header(tmp_path / "x").num_frames == len(expected)


def test_a_cut_mp3_file_with_an_info_frame_is_found(tmp_path: Path, mp3: bytes) -> None:
    (tmp_path / "x").write_bytes(mp3[: len(mp3) // 2])
    with pytest.raises(AudioError, match="is cut off, its header claims"):
        decode_file(tmp_path / "x")
