"""A folder as users have it: every verb hears the same of it, names what it cannot, and goes on."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from encoder_stub import write_run
from separator_stub import write_separator_run

from sepcon import cli
from sepcon.audio.decode import decode_file
from sepcon.audio.decode_in_graph import is_plain_wav
from sepcon.data import folder as folder_module
from sepcon.datasets.folders import audio_folder
from sepcon.embeddings.store import EmbeddingStore
from sepcon.importing.imported import imported
from sepcon.verbs.embed import embed
from sepcon.verbs.import_clips import import_clips

NAMES = [
    b"plain.wav",
    b"caf\xe9.wav",
    b"new\nline.wav",
    b"quote\"and'.wav",
    b"-dash.wav",
    b"%s{0}$HOME`id`.wav",
    b"noext",
    b"two.dots.v1.0.wav",
    "\N{BIRD}.wav".encode(),
    b"sub dir[1]/a.wav",
]
RATE = 16000


def sound(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(0.0, 3000.0, 12000).astype(np.int16)


def from_a_pipe(number: int, size: int) -> bytes:
    pcm = sound(number).astype("<i2").tobytes()
    header = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    rest = b"WAVEfmt " + header + b"data" + struct.pack("<I", size) + pcm
    return b"RIFF" + struct.pack("<I", size) + rest


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve recordings of 0.75 s, plain ones, one from a pipe and one that was never closed."""
    root = tmp_path_factory.mktemp("recordings")
    for number, name in enumerate(NAMES):
        path = root / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        with open(path, "wb") as file:
            soundfile.write(file, sound(number), RATE, format="WAV")
    (root / "pipe.wav").write_bytes(from_a_pipe(10, 0xFFFFFFFF))
    (root / "never closed.wav").write_bytes(from_a_pipe(11, 0))
    (root / "phone.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + b"\0" * 500)
    (root / "notes.txt").write_text("not audio")
    return root


IDS = {*NAMES, b"pipe.wav", b"never closed.wav"}
PASSED_OVER = "1 files of formats that are not read here: 1 .m4a (phone.m4a); convert them first"


def test_what_import_and_embed_hear_is_the_same_under_every_name(
    recordings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = f'SOURCE_DIR="{recordings}"'
    words = ["import", "--gin_file=runs/import.gin", "--gin_file=import/folder.gin"]
    words += [f"--gin_bindings={source}", f"--run_dir={tmp_path / 'imported'}"]
    assert cli.main([*words, "--gin_bindings=import_clips.processes=1"]) == 0
    assert PASSED_OVER in capfd.readouterr().err
    clips = imported(path=str(tmp_path / "imported"))
    of_import = {e["id"]: e["audio"] for e in clips.build().as_numpy_iterator()}
    assert of_import.keys() == IDS
    for name, audio in of_import.items():
        np.testing.assert_array_equal(audio, decode_file(recordings / os.fsdecode(name)))

    write_run(tmp_path / "encoder")
    words = ["embed", "--gin_file=runs/embed.gin", "--gin_file=data/folder.gin"]
    words += [f'--gin_bindings=MODEL="{tmp_path / "encoder"}"']
    words += [f'--gin_bindings=FOLDER="{recordings}"', "--gin_bindings=folder.clip_seconds=None"]
    assert cli.main([*words, f"--run_dir={tmp_path / 'of_folder'}"]) == 0
    assert PASSED_OVER in capfd.readouterr().err
    of_folder = EmbeddingStore(tmp_path / "of_folder" / "embeddings").load()
    of_import_too = embed(
        run_dir=tmp_path / "of_import", model=tmp_path / "encoder", clips=clips
    ).load()
    assert {os.fsencode(name) for name in of_folder.ids} == IDS
    assert of_folder.ids.tolist() == of_import_too.ids.tolist()
    np.testing.assert_array_equal(of_folder.embedding, of_import_too.embedding)


def test_separate_passes_the_same_names(
    recordings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = write_separator_run(tmp_path / "run")
    words = ["separate", str(recordings), "--separator", str(run), "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    captured = capfd.readouterr()
    assert "12 recordings separated, 0 failed" in captured.out
    assert PASSED_OVER in captured.err
    for number, name in enumerate(NAMES):
        channels = sorted((tmp_path / "out" / os.fsdecode(name)).glob("channel_*"))
        if not channels:  # The ending may be left out of the name.
            stem = Path(os.fsdecode(name)).with_suffix("")
            channels = sorted((tmp_path / "out" / stem).glob("channel_*"))
        parts = [soundfile.read(os.fsencode(path))[0] for path in channels]
        assert len(parts) == 3, name
        np.testing.assert_allclose(np.sum(parts, axis=0) * 32768, sound(number), atol=2)


def test_a_file_that_changes_while_embed_runs_ends_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "recordings"
    root.mkdir()
    for number in range(3):
        soundfile.write(root / f"{number}.wav", sound(number), RATE)
    assert is_plain_wav(root / "1.wav")
    check = folder_module._check_files

    def check_and_cut(*args, **kwargs):
        checked = check(*args, **kwargs)
        (root / "1.wav").write_bytes((root / "1.wav").read_bytes()[:5000])
        return checked

    monkeypatch.setattr(folder_module, "_check_files", check_and_cut)
    write_run(tmp_path / "encoder")
    words = ["embed", "--gin_file=runs/embed.gin", "--gin_file=data/folder.gin"]
    words += [f'--gin_bindings=MODEL="{tmp_path / "encoder"}"', f'--gin_bindings=FOLDER="{root}"']
    assert cli.main([*words, f"--run_dir={tmp_path / 'out'}"]) == 1
    said = capfd.readouterr().err
    assert f"sepcon: error: {root / '1.wav'}: is cut off, its header claims 24000 bytes" in said
    assert "Traceback" not in said


def test_an_import_that_was_overwritten_ends_embed_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, run = tmp_path / "recordings", tmp_path / "imported"
    root.mkdir()
    for number in range(3):
        soundfile.write(root / f"{number}.wav", sound(number), RATE)
    import_clips(run_dir=run, source=audio_folder(path=str(root)), processes=1)
    shard = run / "clips-00000.tfrecord"
    records = bytearray(shard.read_bytes())
    records[30000:34000] = np.random.default_rng(0).bytes(4000)  # in the second of three clips
    shard.write_bytes(records)
    write_run(tmp_path / "encoder")
    words = ["embed", "--gin_file=runs/embed.gin", "--gin_file=data/imported.gin"]
    words += [f'--gin_bindings=MODEL="{tmp_path / "encoder"}"', f'--gin_bindings=IMPORTED="{run}"']
    words += ["--gin_bindings=test/imported.part='all'", f"--run_dir={tmp_path / 'out'}"]
    assert cli.main(words) == 1
    said = capfd.readouterr().err
    assert f"sepcon: error: {shard}: is not what was written there" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "out").rglob("*.npz"))
