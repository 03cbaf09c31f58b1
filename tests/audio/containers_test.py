"""Whole files with odd headers and tags are read in full; what misses something is found."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_bytes import (
    ID3V2,
    PIPE,
    RATE,
    chunk,
    encoded,
    fmt,
    ogg_page,
    ogg_pages,
    riff,
    stored,
    tone,
    without_length,
)

from sepcon.audio.decode import decode_file
from sepcon.audio.files import AudioError, open_audio, read_header


def whole_wavs() -> Iterator[tuple[str, bytes, int]]:
    """Name, content, and how many of the samples of `tone` are in it."""
    pcm = tone().astype("<i2").tobytes()
    for width, channels in [(2, 1), (3, 1), (3, 2), (2, 6), (4, 3), (3, 7)]:
        for unknown in (PIPE, 0x7FFFFFFF, 0xFFFFFFFF):
            claimed = unknown // (width * channels) * (width * channels)
            sound = chunk(b"data", stored(tone(), width, channels), size=claimed)
            riff_size = min(claimed + 36, 0xFFFFFFFF)
            name = f"from a pipe, {width} bytes, {channels} channels, {unknown:#x}"
            yield name, riff(fmt(width, channels), sound, size=riff_size), 4000
    yield "arecord in a pipe", riff(fmt(), chunk(b"data", pcm, size=0x80000000)), 4000
    for size in (0, 8, 36):
        yield f"never closed, {size}", riff(fmt(), chunk(b"data", pcm, size=0), size=size), 4000
    listed = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 32) + b"x" * 32)
    never = riff(fmt(), listed, chunk(b"data", pcm, size=0), size=0)
    yield "never closed behind a list", never, 4000
    big = (">i2", b"RIFX", ">")
    sound = chunk(b"data", tone().astype(big[0]).tobytes(), size=0, order=">")
    yield "never closed, other order", riff(fmt(order=">"), sound, size=0, magic=b"RIFX"), 4000
    odd = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 5) + b"tool\0")
    yield "odd chunk without its zero", riff(fmt(), odd, chunk(b"data", pcm)), 4000
    yield "odd chunk with its zero", riff(fmt(), odd + b"\0", chunk(b"data", pcm)), 4000
    for claimed, heard in [(8000 + 44, 4000), (8001, 4000), (7999, 3999), (7000, 3500)]:
        yield f"claims {claimed}", riff(fmt(), chunk(b"data", pcm, size=claimed)), heard
    yield "junk behind", riff(fmt(), chunk(b"data", pcm)) + b"\1junk" * 99, 4000
    yield "riff size 0", riff(fmt(), chunk(b"data", pcm), size=0), 4000
    tag = b"TAG" + b"\0" * 125
    yield "from a pipe, tag", riff(fmt(), chunk(b"data", pcm + tag, size=0xFFFFFFFF)), 4000
    yield "never closed, tag", riff(fmt(), chunk(b"data", pcm + tag, size=0), size=0), 4000


@pytest.mark.parametrize(
    "name, content, heard", list(whole_wavs()), ids=lambda value: str(value)[:50]
)
def test_whole_wav_files_are_heard_in_full(
    tmp_path: Path, name: str, content: bytes, heard: int
) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    np.testing.assert_array_equal(decode_file(tmp_path / "x.wav"), tone()[:heard])


def test_zeros_at_the_end_of_a_stream_are_sound(tmp_path: Path) -> None:
    samples = np.concatenate([tone(), np.zeros(500, np.int16)])
    for size in (0, 0xFFFFFFFF):
        sound = chunk(b"data", samples.astype("<i2").tobytes(), size=size)
        (tmp_path / "x.wav").write_bytes(riff(fmt(), sound, size=size))
        np.testing.assert_array_equal(decode_file(tmp_path / "x.wav"), samples)


@pytest.mark.parametrize("behind", [b"", b"TAG" + b"\0" * 125, chunk(b"LIST", b"INFO")])
def test_an_empty_recording_is_not_filled_with_what_stands_behind(
    tmp_path: Path, behind: bytes
) -> None:
    in_riff = behind if behind.startswith(b"LIST") else b""
    whole = riff(fmt(), chunk(b"data", b""), in_riff)
    (tmp_path / "x.wav").write_bytes(whole if in_riff else whole + behind)
    with pytest.raises(AudioError, match="holds no samples"):
        decode_file(tmp_path / "x.wav")


@pytest.mark.parametrize("claimed", [9000, 1 << 20, 0x7F000000, 0x90000000, 0xE0000000])
def test_a_cut_wav_file_is_found_whatever_it_claims(tmp_path: Path, claimed: int) -> None:
    pcm = tone().astype("<i2").tobytes()
    (tmp_path / "x.wav").write_bytes(riff(fmt(), chunk(b"data", pcm, size=claimed)))
    with pytest.raises(AudioError, match=f"claims {claimed} bytes of audio, but {claimed - 8000}"):
        read_header(tmp_path / "x.wav")


APE_ITEMS = struct.pack("<II", 5, 0) + b"Title\0Birds"
APE = APE_ITEMS + b"APETAGEX" + struct.pack("<4I", 2000, len(APE_ITEMS) + 32, 1, 0) + b"\0" * 8
LYRICS = b"LYRICSBEGIN" + b"la la"
TAGS = {
    "ID3v1": b"TAG" + b"\0" * 125,
    "long ID3v1": b"TAG+" + b"\0" * 223 + b"TAG" + b"\0" * 125,
    "APE": APE,
    "APE and ID3v1": APE + b"TAG" + b"x" * 125,
    "Lyrics3": LYRICS + f"{len(LYRICS):06d}LYRICS200".encode() + b"TAG" + b"\0" * 125,
    "ID3v2.4 behind": b"ID3\4\0\x10" + bytes([0, 0, 0, 9]) + b"x" * 9 + b"3DI\4\0\x10\0\0\0\x09",
    "line end": b"\r\n",
    "zeros": b"\0" * 999,
    "text": b"downloaded from somewhere\n",
    "APE header without its end": b"APETAGEX" + b"\xd0\7\0\0" + b"\0" * 300,
}


KINDS = {
    "flac": encoded("FLAC", "PCM_16"),
    "vorbis": encoded("OGG", "VORBIS"),
    "opus": encoded("OGG", "OPUS"),
    "mp3": encoded("MP3", "MPEG_LAYER_III"),
    "wav": encoded("WAV", "PCM_16"),
    "aiff": encoded("AIFF", "PCM_16"),
    "streamed flac": without_length(encoded("FLAC", "PCM_16")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tag", TAGS)
def test_what_stands_behind_a_whole_recording_takes_nothing_from_it(
    tmp_path: Path, kind: str, tag: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes(KINDS[kind])
    whole = decode_file(path)
    path.write_bytes(KINDS[kind] + TAGS[tag])
    if kind == "streamed flac" and tag == "APE header without its end":
        # It does not say where it ends: what is no known tag may be the rest of a damaged frame.
        with pytest.raises(AudioError, match="is damaged near sample"):
            decode_file(path)
    else:
        np.testing.assert_array_equal(decode_file(path), whole)


@pytest.mark.parametrize("kind", ["flac", "vorbis", "opus", "mp3", "streamed flac"])
def test_an_id3_tag_in_front_is_passed_over(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(KINDS[kind])
    whole = decode_file(path)
    for front in (ID3V2, ID3V2 + ID3V2):
        path.write_bytes(front + KINDS[kind] + TAGS["ID3v1"])
        np.testing.assert_array_equal(decode_file(path), whole)


@pytest.mark.parametrize("kind", ["flac", "mp3", "streamed flac"])
def test_padding_that_an_id3_tag_does_not_count_in_is_passed_over(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes(KINDS[kind])
    whole = decode_file(path)
    path.write_bytes(ID3V2 + b"\0" * 777 + KINDS[kind])
    np.testing.assert_array_equal(decode_file(path), whole)


@pytest.mark.parametrize("kind", ["vorbis", "opus"])
@pytest.mark.parametrize("tag", ["none", "ID3v1", "text"])
def test_a_cut_ogg_file_is_found_also_before_a_tag(tmp_path: Path, kind: str, tag: str) -> None:
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(0).normal(size=10 * RATE)
    soundfile.write(file, noise, RATE, format="OGG", subtype=kind.upper())
    whole, path = file.getvalue(), tmp_path / "x.ogg"
    for share in (0.3, 0.6, 0.99):
        path.write_bytes(whole[: int(share * len(whole))] + TAGS.get(tag, b""))
        with pytest.raises(AudioError, match=r"its last Ogg page is|begins no Ogg page"):
            decode_file(path)


def test_a_hole_in_an_ogg_file_is_found(tmp_path: Path) -> None:
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(0).normal(size=10 * RATE)
    soundfile.write(file, noise, RATE, format="OGG")
    whole = file.getvalue()
    (tmp_path / "x.ogg").write_bytes(whole[:9000] + whole[19000:])
    with pytest.raises(AudioError, match=r"x\.ogg: is damaged, byte \d+ begins no Ogg page"):
        decode_file(tmp_path / "x.ogg")


def test_a_chain_of_ogg_streams_is_named_and_not_heard_in_part(tmp_path: Path) -> None:
    (tmp_path / "x.ogg").write_bytes(KINDS["vorbis"] * 2)
    with pytest.raises(AudioError, match="several recordings one behind the other"):
        decode_file(tmp_path / "x.ogg")


OPUS = ogg_pages(KINDS["opus"])


def long_opus() -> list[bytes]:
    """Pages of two seconds: two of headers, then of a second each."""
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(0).normal(size=4 * RATE)
    soundfile.write(file, noise, RATE, format="OGG", subtype="OPUS")
    return ogg_pages(file.getvalue())


def test_pages_of_ogg_that_are_missing_are_found(tmp_path: Path) -> None:
    pages = long_opus()
    assert len(pages) >= 5
    (tmp_path / "x.opus").write_bytes(b"".join(pages[:3] + pages[4:]))
    with pytest.raises(AudioError, match=r"damaged, pages before byte \d+ are missing"):
        decode_file(tmp_path / "x.opus")


def test_a_station_that_was_listened_to_later_is_heard(tmp_path: Path) -> None:
    """Between the headers and the first page of sound others were sent."""
    pages = long_opus()
    (tmp_path / "x.opus").write_bytes(b"".join(pages))
    whole = decode_file(tmp_path / "x.opus")
    (tmp_path / "x.opus").write_bytes(b"".join(pages[:2] + pages[3:]))
    assert len(whole) - RATE - 400 <= len(decode_file(tmp_path / "x.opus")) < len(whole)


@pytest.mark.parametrize("position", [-1, 48_000])
def test_an_end_of_ogg_before_its_sound_is_found(tmp_path: Path, position: int) -> None:
    """libsndfile would hear a part without a word."""
    pages = long_opus()
    pages[-1] = ogg_page(pages[-1], position=position)
    (tmp_path / "x.opus").write_bytes(b"".join(pages))
    with pytest.raises(AudioError, match="does not say where the sound ends"):
        decode_file(tmp_path / "x.opus")


def test_an_end_of_ogg_that_cuts_the_last_page_is_heard_so(tmp_path: Path) -> None:
    pages = long_opus()
    (tmp_path / "x.opus").write_bytes(b"".join(pages))
    whole = decode_file(tmp_path / "x.opus")
    end = struct.unpack("<q", pages[-1][6:14])[0]
    pages[-1] = ogg_page(pages[-1], position=end - 900)
    (tmp_path / "x.opus").write_bytes(b"".join(pages))
    np.testing.assert_array_equal(decode_file(tmp_path / "x.opus"), whole[:-300])


def test_streams_of_sound_side_by_side_are_named_and_not_heard_in_part(tmp_path: Path) -> None:
    others = [ogg_page(page, serial=4242) for page in OPUS]
    beside = [OPUS[0], others[0], *OPUS[1:-1], *others[1:], OPUS[-1]]
    (tmp_path / "x.opus").write_bytes(b"".join(beside))
    with pytest.raises(AudioError, match="several streams of sound side by side"):
        decode_file(tmp_path / "x.opus")


def test_a_stream_of_something_else_beside_the_sound_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.opus").write_bytes(KINDS["opus"])
    whole = decode_file(tmp_path / "x.opus")
    head = ogg_page(OPUS[0].replace(b"OpusHead", b"fishead\0"), serial=4242)
    (tmp_path / "x.opus").write_bytes(b"".join([OPUS[0], head, *OPUS[1:]]))
    np.testing.assert_array_equal(decode_file(tmp_path / "x.opus"), whole)


def test_a_flac_file_without_its_end_is_found_though_a_tag_stands_there(tmp_path: Path) -> None:
    for kind in ("flac", "streamed flac"):
        cut = KINDS[kind][: len(KINDS[kind]) * 2 // 3]
        (tmp_path / "x.flac").write_bytes(cut + TAGS["ID3v1"])
        with pytest.raises(AudioError, match=r"is damaged near sample|is cut off"):
            decode_file(tmp_path / "x.flac")


@pytest.mark.parametrize("length", range(0, 64, 3))
@pytest.mark.parametrize("kind", [*KINDS, "au", "w64", "rf64"])
def test_the_first_bytes_of_any_file_are_refused(tmp_path: Path, kind: str, length: int) -> None:
    data = KINDS[kind] if kind in KINDS else encoded(kind.upper(), "PCM_16")
    path = tmp_path / "x"
    path.write_bytes(data[:length])
    with pytest.raises(AudioError) as caught:
        decode_file(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_part_of_a_file_is_read_in_any_size_of_block(tmp_path: Path) -> None:
    """What a decoder that calls back is given: a header that is not in the file, and the rest."""
    samples = tone(300_000)
    sound = chunk(b"data", samples.astype("<i2").tobytes(), size=0)
    (tmp_path / "x.wav").write_bytes(riff(fmt(), sound, size=0))
    with open_audio(tmp_path / "x.wav") as (header, blocks):
        assert header.num_frames == 300_000
        heard = np.concatenate(list(blocks))
    np.testing.assert_array_equal(heard * 32768, samples)
