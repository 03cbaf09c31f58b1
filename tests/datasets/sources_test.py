"""What each importer makes of the published format of its data set, with all that goes wrong."""

import builtins
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from esc50_stub import write_esc50
from import_fixtures import (
    SEGMENTS,
    WAV_KINDS,
    sound,
    write_audio,
    write_audioset,
    write_parquet,
    write_urbansound8k,
)

from sepcon.audio.decode import decode_bytes, decode_file
from sepcon.audio.files import AudioError
from sepcon.data.folder import folder
from sepcon.datasets.audioset.parquet import audioset_parquet
from sepcon.datasets.audioset.segments import audioset_segments
from sepcon.datasets.esc50 import layout as esc50
from sepcon.datasets.folders import audio_folder, esc50_folder, urbansound8k_folder
from sepcon.errors import SepconError
from sepcon.importing.clip_source import ClipSource
from sepcon.importing.import_shard import convert_shard
from sepcon.importing.manifest import ManifestRow
from sepcon.scenes.recipe import SceneRecipe
from sepcon.scenes.recordings import open_recordings


def rows_of(source: ClipSource) -> list[ManifestRow]:
    return [each.row for each in convert_shard(source.read, source.references)]


def audio_of(source: ClipSource) -> dict[str, np.ndarray | AudioError]:
    loaded = source.read([each for each in source.references if not each.reason])
    return {reference.id: audio for reference, audio in loaded}


def segments(root: Path, **changes: str) -> ClipSource:
    paths = {
        "segments_csv": str(root / "eval_segments.csv"),
        "audio_dir": str(root / "audio"),
        "classes_csv": str(root / "class_labels_indices.csv"),
    }
    return audioset_segments(**(paths | changes))


def test_segments_of_audioset(tmp_path: Path) -> None:
    source = segments(write_audioset(tmp_path))
    assert source.name == "audioset_eval"
    assert source.class_names[1] == "Male speech, man speaking"
    rows = rows_of(source)
    assert len(rows) == len(SEGMENTS)
    for row, (video_id, _, labels, file, numbers, reason) in zip(rows, SEGMENTS, strict=True):
        assert (row.id, row.source, row.label_numbers, row.fold) == (
            video_id,
            file,
            numbers,
            "eval",
        )
        assert row.reason == reason, row
        gone = [mid for mid in labels.split(",") if mid in ("/m/gone", "/t/dd0")]
        assert row.unknown_labels == ";".join(gone)
        heard = row.reason in ("", "silent")
        assert bool(row.seconds) == heard
        if heard and not file.endswith("mp3"):
            assert float(row.seconds) == pytest.approx(0.25, abs=1e-3)


def test_audio_that_no_segment_names_is_told(tmp_path: Path) -> None:
    root = write_audioset(tmp_path)
    assert segments(root).note == ""
    write_audio(root / "audio" / "somebodyelse.wav", 1)
    assert "1 audio files" in segments(root).note


@pytest.mark.parametrize(
    "name",
    [
        "{}",
        "Y{}",
        "{}_30000",
        "{}_30",
        "{}_000030",
        "{}_30.0",
        "{}_30.000",
        "{}_30_40",
        "{}_30000_40000",
        "{}_30.000_40.000",
        "Y{}_30000",
        "deep/er/{}_30.0_40.0",
    ],
)
def test_the_common_file_names_of_audioset(tmp_path: Path, name: str) -> None:
    root = write_audioset(tmp_path)
    (root / "eval_segments.csv").write_text(
        '# a\n# b\n# c\n-_Video0-id, 30.000, 40.000, "/m/09x0r"'
    )
    write_audio(root / "audio" / f"{name.format('-_Video0-id')}.wav", 0)
    (reference,) = segments(root).references
    assert reference.source == f"{name.format('-_Video0-id')}.wav"
    assert reference.reason == ""


@pytest.mark.parametrize(
    "line", ["-id, 0.000, 10.000", "-id, ten, 20.000, /m/09x0r", "-id, 10.0, 10.0, /m/09x0r"]
)
def test_a_malformed_segment_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    root = write_audioset(tmp_path)
    with open(root / "eval_segments.csv", "a") as file:
        file.write(f"{line}\n")
    with pytest.raises(SepconError, match=rf"eval_segments\.csv: line {4 + len(SEGMENTS)} is"):
        segments(root)


@pytest.mark.parametrize(
    "table, message",
    [
        ("index,mid,display_name\n1,/m/09x0r,Speech\n", "class number 0 has index 1"),
        ("index,mid,display_name\n0,/m/1,A\n1,/m/1,B\n", "a mid in two rows"),
        ("mid,display_name\n/m/09x0r,Speech\n", "column index is missing"),
        ("", "is empty; expected a table with the columns index,mid,display_name"),
        ("index;mid;display_name\n1;/m/09x0r;Speech\n", "class number 0 has index 1"),
        ('index,mid,display_name\n0,/m/1,"A\n', "cannot be read as a table"),
        ("index,mid,display_name\n0,/m/1,A,b\n", "line 2 has 4 columns"),
    ],
)
def test_a_malformed_table_of_classes(tmp_path: Path, table: str, message: str) -> None:
    root = write_audioset(tmp_path)
    (root / "class_labels_indices.csv").write_text(table)
    with pytest.raises(SepconError, match=message):
        segments(root)


def test_what_is_missing_of_audioset_is_named(tmp_path: Path) -> None:
    root = write_audioset(tmp_path)
    with pytest.raises(SepconError, match=r"no\.csv: no such file; give a segment CSV"):
        segments(root, segments_csv=str(root / "no.csv"))
    with pytest.raises(SepconError, match=r"no\.csv: no such file; expected a table with"):
        segments(root, classes_csv=str(root / "no.csv"))
    with pytest.raises(SepconError, match="no such folder"):
        segments(root, audio_dir=str(root / "no"))


def parquet(root: Path) -> ClipSource:
    classes = str(root / "class_labels_indices.csv")
    return audioset_parquet(parquet_dir=str(root / "eval"), classes_csv=classes)


def test_parquet_of_audioset(tmp_path: Path) -> None:
    source = parquet(write_parquet(tmp_path))
    rows = rows_of(source)
    assert source.name == "audioset_eval"
    assert [row.reason for row in rows[:23]] == [""] * 23
    bad = ["empty", "damaged", "not audio", "missing", "no known label", "duplicate id"]
    assert [row.reason for row in rows[23:]] == bad
    assert rows[9].seconds == "0.250"
    assert [row.source for row in rows[8:12]] == [
        "00.parquet#8",
        "00.parquet#9",
        "01.parquet#0",
        "01.parquet#1",
    ]
    assert rows[3].label_numbers == (0, 3)
    assert {row.fold for row in rows} == {"eval"}


@pytest.mark.parametrize("numbers", [[0], [3, 4, 9, 10], [1, 11, 12, 22], [19, 20]])
def test_any_rows_of_parquet_files_are_read(tmp_path: Path, numbers: list[int]) -> None:
    from import_fixtures import flac

    source = parquet(write_parquet(tmp_path))
    loaded = list(source.read([source.references[number] for number in numbers]))
    for number, (reference, audio) in zip(numbers, loaded, strict=True):
        assert reference.id == f"-{number:010d}"
        np.testing.assert_array_equal(audio, decode_bytes(flac(number), "x"))


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    root = write_parquet(tmp_path)
    source = parquet(root)
    path = root / "eval" / "01.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:2000] + bytes(len(whole) // 2) + whole[2000 + len(whole) // 2 :])
    audio = list(audio_of(source).values())
    assert not any(isinstance(each, AudioError) for each in audio[:10])
    faults = [each for each in audio[10:20] if isinstance(each, AudioError)]
    assert {fault.kind for fault in faults} == {"damaged"}
    assert len(faults) > 3
    path.write_bytes(whole[:-20])
    with pytest.raises(SepconError, match=r"01\.parquet: is not a whole parquet file"):
        parquet(root)
    path.unlink()
    assert len(parquet(root).references) == len(source.references) - 10


def test_parquet_that_is_something_else(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet as pq

    root = write_parquet(tmp_path)
    pq.write_table(pa.table({"video_id": ["a"], "label": [1]}), root / "eval" / "z.parquet")
    with pytest.raises(SepconError, match=r"z\.parquet: column audio is missing"):
        parquet(root)
    with pytest.raises(SepconError, match=r"holds no \.parquet file"):
        audioset_parquet(
            parquet_dir=str(tmp_path / "none"), classes_csv=str(root / "class_labels_indices.csv")
        )


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, real = write_parquet(tmp_path), builtins.__import__

    def without_pyarrow(name: str, *arguments: object, **keywords: object) -> object:
        if name.split(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(SepconError, match=r"pip install 'sepcon\[parquet\]'"):
        parquet(root)


def test_bytes_decode_as_the_file_does_and_faults_name_the_clip(tmp_path: Path) -> None:
    for number, ending in enumerate(("wav", "flac", "ogg", "mp3")):
        path = tmp_path / f"x.{ending}"
        write_audio(path, number)
        np.testing.assert_array_equal(decode_bytes(path.read_bytes(), "x"), decode_file(path))
    # What was longer before leaves nothing behind.
    path = tmp_path / "short.wav"
    write_audio(path, 5, seconds=0.01)
    np.testing.assert_array_equal(decode_bytes(path.read_bytes(), "x"), decode_file(path))
    with pytest.raises(AudioError, match=r"^-clip: is not audio") as caught:
        decode_bytes(b"no sound", "-clip")
    assert caught.value.kind == "not audio"


def test_urbansound8k_in_wav_of_every_encoding(tmp_path: Path) -> None:
    root = write_urbansound8k(tmp_path / "UrbanSound8K")
    (root / "audio" / "fold10" / "1010-0-0-0.wav").unlink()
    source = urbansound8k_folder(path=str(tmp_path))
    rows = rows_of(source)
    assert len(source.class_names) == 10
    assert [row.fold for row in rows] == [str(fold) for fold in range(1, 11) for _ in range(2)]
    assert rows[0].group == "1001"
    assert rows[0].source == "audio/fold1/1001-2-0-0.wav"
    assert [row.label_numbers[0] for row in rows[:4]] == [2, 3, 4, 0]
    assert [row.id for row in rows if row.reason == "missing"] == ["1010-0-0-0.wav"]
    kept = [row for row in rows if not row.reason]
    assert len(kept) == 19 > len(WAV_KINDS)
    # Some encodings hold blocks of samples, the last of which is padded.
    assert all(0.249 < float(row.seconds) < 0.35 for row in kept)


def test_urbansound8k_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SepconError, match=r"metadata/UrbanSound8K\.csv is missing"):
        urbansound8k_folder(path=str(tmp_path))
    root = write_urbansound8k(tmp_path, folds=[1])
    table = root / "metadata" / "UrbanSound8K.csv"
    whole = table.read_text()
    table.write_text(whole.replace("children_playing", "dog_bark"))
    with pytest.raises(SepconError, match="line 2 is not a row of UrbanSound8K"):
        urbansound8k_folder(path=str(root))
    table.write_text(whole.replace("classID", "class_id"))
    with pytest.raises(SepconError, match="column classID is missing"):
        urbansound8k_folder(path=str(root))


def test_esc50_keeps_folds_and_recordings(tmp_path: Path) -> None:
    source = esc50_folder(path=str(write_esc50(tmp_path, folds=(1, 3), ending=".ogg")))
    rows = rows_of(source)
    assert len(rows) == 16
    assert {row.fold for row in rows} == {"1", "3"}
    assert rows[0].id == "1-1000-A-0.wav"
    assert rows[0].source == "audio/1-1000-A-0.ogg"
    assert rows[0].group == "1000"
    assert [source.class_names[row.label_numbers[0]] for row in rows[:3]] == [
        "dog",
        "dog",
        "rooster",
    ]


def test_a_folder_with_and_without_labels(tmp_path: Path) -> None:
    for number, name in enumerate(["-a.wav", "b.flac", "c/d.ogg", "e.wav"]):
        write_audio(tmp_path / name, number)
    plain = audio_folder(path=str(tmp_path))
    assert [row.id for row in rows_of(plain)] == ["-a.wav", "b.flac", "c/d.ogg", "e.wav"]
    assert plain.class_names == ()
    table = tmp_path / "labels.csv"
    table.write_text(
        "filename,label,source\n-a.wav,dog;cat,r1\nd.ogg,dog,r2\ne.wav,,\nz.wav,cat,\n"
    )
    labelled = audio_folder(path=str(tmp_path), labels_csv=str(table))
    assert labelled.class_names == ("cat", "dog")
    found = [(row.id, row.labels, row.group, row.reason) for row in rows_of(labelled)]
    assert found == [
        ("-a.wav", "0;1", "r1", ""),
        ("b.flac", "", "", "not in the table"),
        ("c/d.ogg", "1", "r2", ""),
        ("e.wav", "", "", "no known label"),
        ("z.wav", "", "", "missing"),
    ]


def test_every_way_in_reads_a_table_alike(tmp_path: Path) -> None:
    """The table of ESC-50 itself, for files of another ending."""
    root = write_esc50(tmp_path, folds=(1, 3), ending=".ogg") / "audio"
    rows = {row.filename: row for row in esc50.read_rows(tmp_path)}
    expected = {name.replace(".wav", ".ogg"): row.category for name, row in rows.items()}
    table = root / "labels.csv"
    (tmp_path / "meta" / "esc50.csv").rename(table)

    source = audio_folder(path=str(root), labels_csv=str(table))
    imported = {row.id: source.class_names[row.label_numbers[0]] for row in rows_of(source)}
    assert imported == expected
    assert {row.group for row in rows_of(source)} == {row.src_file for row in rows.values()}
    assert [row.fold for row in rows_of(source)] == ["1"] * 8 + ["3"] * 8

    clips = folder(path=str(root), labels_csv=str(table))
    read = {
        element["id"].decode(): clips.class_names[element["labels"].argmax()]
        for element in clips.build().as_numpy_iterator()
    }
    assert read == expected

    recordings = open_recordings("mine", clips_dir=str(root), recipe=SceneRecipe())
    names = [recordings.class_names[labels[0]] for labels in recordings.labels]
    assert dict(zip(recordings.ids, names, strict=True)) == expected
    assert sorted(recordings.groups) == sorted(row.src_file for row in rows.values())


def test_an_import_refuses_a_table_that_names_none_of_its_files(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", 0)
    table = tmp_path / "labels.csv"
    table.write_text("filename,label\nb.wav,dog\nc.wav,cat\n")
    with pytest.raises(SepconError, match=r"names 'b\.wav', .*; 2 of the 2 names"):
        audio_folder(path=str(tmp_path), labels_csv=str(table))


def test_seven_channels_are_averaged(tmp_path: Path) -> None:
    audio = sound(1, channels=7)
    soundfile.write(tmp_path / "x.wav", audio, 16000, subtype="FLOAT")
    source = audio_folder(path=str(tmp_path))
    expected = np.rint(32768 * audio.astype(np.float32).mean(axis=1))
    assert np.abs(audio_of(source)["x.wav"] - expected).max() <= 1


def test_converting_needs_no_tensorflow() -> None:
    code = (
        "import sys, sepcon.verbs.import_clips, sepcon.datasets.folders, "
        "sepcon.datasets.audioset.parquet, sepcon.datasets.audioset.segments; "
        "print({'tensorflow', 'pyarrow'} & set(sys.modules))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "set()"
