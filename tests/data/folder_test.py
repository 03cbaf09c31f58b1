import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from esc50_stub import tone

from sepcon.audio import decode
from sepcon.data.audio_folder import find_audio, survey_audio
from sepcon.data.clip_examples import ClipExamples
from sepcon.data.clips import ClipDataset, subset
from sepcon.data.folder import folder
from sepcon.data.labels import read_labels
from sepcon.data.stream import TrainingStream
from sepcon.errors import SepconError, raised_in_graph


def stream_of(clips: ClipDataset, *, clip_samples: int, **settings: int) -> TrainingStream:
    examples = ClipExamples(clips, clip_seconds=clip_samples / clips.sample_rate_hz)
    return TrainingStream(examples=examples, **settings)


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    root = tmp_path / "audio"
    for name, rate_hz in [("b.wav", 16000), ("a.flac", 44100), ("deep/er/c.OGG", 22050)]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {"wav": "WAV", "flac": "FLAC", "ogg": "OGG"}[name.rsplit(".")[-1].lower()]
        soundfile.write(path, tone(500, 0.3, rate_hz), rate_hz, format=kind)
    (root / ".hidden").mkdir()
    soundfile.write(root / ".hidden" / "x.wav", tone(500), 16000)
    soundfile.write(root / "._b.wav", tone(500), 16000, format="WAV")
    (root / "notes.txt").write_text("not audio, and not called so")
    return root


def test_files_come_sorted_by_path_as_decode_file_reads_them(audio: Path) -> None:
    clips = folder(path=str(audio))
    assert (clips.num_clips, clips.class_names, clips.clip_samples) == (3, (), None)
    elements = list(clips.build().as_numpy_iterator())
    assert [e["id"].decode() for e in elements] == ["a.flac", "b.wav", "deep/er/c.OGG"]
    for element in elements:
        expected = decode.decode_file(audio / element["id"].decode())
        np.testing.assert_array_equal(element["audio"], expected)
        assert element["labels"].shape == (0,)
    again = list(clips.build().as_numpy_iterator())
    for first, second in zip(elements, again, strict=True):
        np.testing.assert_array_equal(first["audio"], second["audio"])


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_clips_are_cut_or_padded_to_one_length(audio: Path, seconds: float) -> None:
    clips = folder(path=str(audio), clip_seconds=seconds)
    samples = round(seconds * 16000)
    assert clips.clip_samples == samples
    assert clips.build().element_spec["audio"].shape == (samples,)
    for element in clips.build().as_numpy_iterator():
        whole = decode.decode_file(audio / element["id"].decode())
        kept = min(samples, len(whole))
        np.testing.assert_array_equal(element["audio"][:kept], whole[:kept])
        assert not element["audio"][kept:].any()


def test_a_table_labels_the_files(audio: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("filename,labels\na.flac,dog; cat\nc.OGG,dog\nc.OGG,bird\n")
    clips = folder(path=str(audio), labels_csv=str(table))
    assert clips.class_names == ("bird", "cat", "dog")
    labels = {e["id"].decode(): e["labels"].tolist() for e in clips.build().as_numpy_iterator()}
    assert labels == {"a.flac": [0, 1, 1], "deep/er/c.OGG": [1, 0, 1]}


def test_bad_files_are_named_counted_and_skipped(
    audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (audio / "broken.wav").write_text("not audio")
    flac = (audio / "a.flac").read_bytes()
    (audio / "cut.flac").write_bytes(flac[: len(flac) // 2])
    soundfile.write(audio / "silent.wav", np.zeros(99), 16000)
    clips = folder(path=str(audio), max_skipped_share=0.5)
    said = capsys.readouterr().err
    assert "3 files decoded, 2 undecodable skipped" in said
    assert "broken.wav: is not audio" in said
    assert "cut.flac: is damaged" in said
    assert "1 silent skipped" in said
    assert "silent.wav" in said
    assert len(list(clips.build())) == clips.num_clips == 3
    assert clips.left_out is not None
    assert clips.left_out.keys() == {"broken.wav", "cut.flac", "silent.wav"}
    assert "is damaged" in clips.left_out["cut.flac"]
    with pytest.raises(SepconError, match=r"2 of 6 files cannot be decoded, more than .* 0\.05"):
        folder(path=str(audio))
    # Headers alone do not show a cut FLAC.
    quick = folder(path=str(audio), max_skipped_share=0.5, decode_first=False)
    assert quick.num_clips == 5


def test_links_to_folders_are_followed_once_and_folders_are_no_files(
    audio: Path, tmp_path: Path
) -> None:
    (audio / "loop").symlink_to(audio)
    (audio / "called.wav").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    soundfile.write(elsewhere / "z.wav", tone(300), 16000)
    (audio / "link").symlink_to(elsewhere)
    names = [str(path.relative_to(audio)) for path in find_audio(audio)]
    assert names == ["a.flac", "b.wav", "deep/er/c.OGG", "link/z.wav"]


def test_what_looks_like_audio_and_is_none_is_named(tmp_path: Path) -> None:
    for name in ("with.wav", "empty.wav", "with.wav/deep.wav"):
        (tmp_path / name).mkdir()
    (tmp_path / "with.wav" / "a.wav").write_bytes(b"x")
    (tmp_path / "loop.wav").symlink_to(tmp_path)
    found = survey_audio(tmp_path)
    assert found.paths == [tmp_path / "with.wav" / "a.wav"]
    names = ("empty.wav", "loop.wav", "with.wav/deep.wav")
    assert list(found.faults) == [tmp_path / name for name in names]
    for path, fault in found.faults.items():
        assert fault.startswith(f"{path}: is a folder (or a link to one) that holds no audio")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    fault = survey_audio(tmp_path).faults[tmp_path / "locked"]
    assert fault.startswith(f"{tmp_path / 'locked'}: cannot be listed (Permission denied)")


def test_a_locked_folder_is_named_by_whoever_reads_the_rest(
    audio: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (audio / "locked").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    told = f"sepcon: skipped {audio / 'locked'}: cannot be listed (Permission denied)"
    clips = folder(path=str(audio))
    assert clips.left_out is not None
    assert clips.left_out.keys() == {"locked"}
    assert told in capsys.readouterr().err
    assert len(find_audio(audio)) == 3
    assert told in capsys.readouterr().err
    find_audio(audio, tell=False)
    assert capsys.readouterr().err == ""


def test_formats_that_are_not_read_are_counted_and_the_cure_is_told(
    audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.m4a", "b.M4A", "deep/c.webm"):
        (audio / name).write_bytes(b"\0\0\0\x1cftypM4A " + b"\0" * 99)
    assert folder(path=str(audio)).num_clips == 3
    said = capsys.readouterr().err
    assert (
        "3 files of formats that are not read here: 2 .m4a (a.m4a, ...), 1 .webm (c.webm)" in said
    )
    assert "ffmpeg -i IN -vn OUT.flac" in said
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "memo.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + b"\0" * 99)
    with pytest.raises(
        SepconError, match=r"holds no audio; .* 1 \.m4a \(memo\.m4a\).*ffmpeg -i IN"
    ):
        folder(path=str(tmp_path / "phone"))
    with pytest.raises(SepconError, match=r"memo\.m4a: is not audio .*it is MP4.*ffmpeg -i IN"):
        decode.decode_file(tmp_path / "phone" / "memo.m4a")


def test_a_file_without_an_ending_counts_by_its_first_bytes(tmp_path: Path) -> None:
    kinds = ["AIFF", "AU", "CAF", "FLAC", "MP3", "OGG", "RF64", "W64", "WAV"]
    for kind in kinds:
        soundfile.write(tmp_path / f"a {kind}", tone(500), 16000, format=kind)
    (tmp_path / "Makefile").write_text("all:\n\ttrue\n")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 99)
    os.mkfifo(tmp_path / "pipe")
    found = [path.name for path in survey_audio(tmp_path).paths]
    assert found == [f"a {kind}" for kind in kinds]


NAMES = [
    b"caf\xe9.wav",
    b"new\nline.wav",
    b"quote\"and'.wav",
    b"-dash.wav",
    b"back\\slash.wav",
    b"%s{0}$HOME.wav",
    "\N{BIRD}.wav".encode(),
    "e\u0301.wav".encode(),
    b"x" * 251 + b".wav",
]


@pytest.mark.parametrize("plain", [True, False])
def test_any_name_of_a_file_is_its_id(tmp_path: Path, plain: bool) -> None:
    for number, name in enumerate(NAMES):
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
            samples = np.full(100 + number, 0.1)
            soundfile.write(file, samples, 16000 if plain else 8000, format="WAV")
    clips = folder(path=str(tmp_path))
    elements = list(clips.build().as_numpy_iterator())
    assert sorted(element["id"] for element in elements) == sorted(NAMES)
    for element in elements:
        samples = decode.decode_file(os.fsdecode(os.fsencode(tmp_path) + b"/" + element["id"]))
        np.testing.assert_array_equal(element["audio"], samples)
    stream = stream_of(clips, batch_size=9, seed=0, clip_samples=50, num_uniforms=0)
    assert "caf\udce9.wav" in stream.describe(0)


def stored_noise(root: Path, count: int, kind: str) -> list[Path]:
    paths = [root / f"{number:02d}.{kind}" for number in range(count)]
    for number, path in enumerate(paths):
        samples = np.random.default_rng(number).normal(0.0, 0.1, 2000)
        soundfile.write(path, samples, 16000, format=kind.upper())
    return paths


@pytest.mark.parametrize("kind", ["wav", "flac"])
@pytest.mark.parametrize("loss", ["removed", "cut"])
def test_a_file_lost_in_training_is_named_once_and_the_next_takes_its_place(
    tmp_path: Path, kind: str, loss: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = stored_noise(tmp_path, 8, kind)
    clips = folder(path=str(tmp_path), max_skipped_share=0.3)
    stream = stream_of(clips, batch_size=8, seed=3, clip_samples=2000, num_uniforms=2)
    before = next(iter(stream.batches(1)))
    capsys.readouterr()
    lost = [2, 7]
    for number in lost:
        if loss == "removed":
            paths[number].unlink()
        else:
            paths[number].write_bytes(paths[number].read_bytes()[:1000])
    replaced = {2: 3, 7: 0}
    for _ in range(2):
        after = next(iter(stream.batches(1)))
        expected = [replaced.get(number, number) for number in before["position"].numpy()]
        for row, number in enumerate(expected):
            samples = decode.decode_file(paths[number])
            np.testing.assert_array_equal(after["audio"][row], samples)
        # The random numbers are those of the place, whichever clip stands there.
        for name in ("position", "uniforms", "state_uniform"):
            np.testing.assert_array_equal(after[name], before[name])
    said = capsys.readouterr().err
    assert said.count("sepcon: skipped") == 2
    for number in lost:
        assert f"sepcon: skipped {paths[number]}: " in said
    assert "it could be read when the run began; the next file takes its place" in said
    paths[4].unlink()
    with pytest.raises(tf.errors.OpError) as caught:
        list(stream.batches(1).take(2))
    fault = raised_in_graph(caught.value)
    assert fault is not None
    assert str(fault).startswith(f"{paths[4]}: no such file")
    assert "that makes 3 of 8 files, more than the share of 0.3" in str(fault)


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_where_another_clip_would_be_wrong_a_lost_file_ends_the_run_with_its_name(
    tmp_path: Path, kind: str
) -> None:
    paths = stored_noise(tmp_path, 4, kind)
    clips = folder(path=str(tmp_path), max_skipped_share=1.0)
    paths[1].write_bytes(paths[1].read_bytes()[:1000])
    part = subset(clips, num_clips=3)
    stream = stream_of(part, batch_size=3, seed=0, clip_samples=100, num_uniforms=0)
    for dataset in (clips.build(), part.build(), stream.batches(0)):
        with pytest.raises(tf.errors.OpError) as caught:
            list(dataset.take(4))
        fault = raised_in_graph(caught.value)
        assert fault is not None
        assert str(fault).startswith(f"{paths[1]}: is ")
        assert "\n" not in str(fault)


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(SepconError, match="none: no such folder"):
        folder(path=str(tmp_path / "none"))
    with pytest.raises(SepconError, match="holds no audio; expected files ending in"):
        folder(path=str(tmp_path))
    (tmp_path / "x.wav").write_text("x")
    with pytest.raises(SepconError, match=r"x\.wav: is a file; give the folder"):
        folder(path=str(tmp_path / "x.wav"))
    with pytest.raises(SepconError, match="1 of 1 files cannot be decoded"):
        folder(path=str(tmp_path))


@pytest.mark.parametrize(
    "text, message",
    [
        ("filename,labels\nzzz.wav,dog\n", r"line 2 names 'zzz\.wav', which is not in"),
        ("a.flac\n", "it has one column and no labels"),
        ("filename,labels\n", "holds no label"),
        ("a.flac,;\n", "holds no label"),
    ],
)
def test_bad_tables_are_named(audio: Path, tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(SepconError, match=message):
        read_labels(table, find_audio(audio), audio)


def test_missing_and_binary_tables_are_named(audio: Path, tmp_path: Path) -> None:
    with pytest.raises(SepconError, match=r"none\.csv: no such file"):
        read_labels(tmp_path / "none.csv", find_audio(audio), audio)
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SepconError, match="cannot be read as a UTF-8 table"):
        read_labels(tmp_path / "bad.csv", find_audio(audio), audio)


def test_a_file_name_that_occurs_twice_needs_its_folder(audio: Path, tmp_path: Path) -> None:
    soundfile.write(audio / "deep" / "b.wav", tone(300), 16000)
    table = tmp_path / "labels.csv"
    table.write_text("deep/b.wav,dog\n")
    labels = read_labels(table, find_audio(audio), audio)
    assert labels.paths == (audio / "deep" / "b.wav",)
    table.write_text("b.wav,dog\n")  # at the top: its relative path
    assert read_labels(table, find_audio(audio), audio).paths == (audio / "b.wav",)
    soundfile.write(audio / "deep" / "er" / "d.wav", tone(300), 16000)
    soundfile.write(audio / "deep" / "d.wav", tone(300), 16000)
    table.write_text("d.wav,dog\n")
    with pytest.raises(SepconError, match=r"more than once: deep/d\.wav or deep/er/d\.wav"):
        read_labels(table, find_audio(audio), audio)


def test_other_files_of_the_same_name_and_number_are_told_apart(tmp_path):
    digests = []
    for number, (names, seconds) in enumerate([("ab", 0.1), ("ab", 0.1), ("ac", 0.1), ("ab", 0.2)]):
        root = tmp_path / str(number) / "recordings"
        root.mkdir(parents=True)
        for name in names:
            noise = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * 16000))
            soundfile.write(root / f"{name}.wav", noise, 16000)
        digests.append(folder(path=str(root)).digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    table = tmp_path / "labels.csv"
    table.write_text("filename,label\na.wav,dog\nb.wav,cat\n")
    labelled = folder(path=str(tmp_path / "0" / "recordings"), labels_csv=str(table)).digest
    assert labelled != digests[0]
    assert labelled.partition(".")[0] == digests[0].partition(".")[0]


def test_files_are_left_out_by_name(tmp_path, capsys):
    for name in "abc":
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, 1600)
        soundfile.write(tmp_path / f"{name}.wav", noise, 16000)
    clips = folder(path=str(tmp_path), exclude=("b.wav", "d.wav"))
    assert [each["id"] for each in clips.build().as_numpy_iterator()] == [b"a.wav", b"c.wav"]
    told = capsys.readouterr().err
    assert "1 clips are left out by name; 1 names match no clip: 'd.wav'" in told
