"""Videos that are put together of pictures and recordings come back as what they were made of."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="needs PyAV, of the extra video")

import soundfile
from image_fixtures import write_cifar10

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import make_videos  # noqa: E402

from sepcon.datasets.videos import video_folder  # noqa: E402


def write_recordings(root: Path) -> None:
    """A tone for each class that is needed, its pitch telling which."""
    (root / "meta").mkdir(parents=True)
    (root / "audio").mkdir()
    names = sorted({name for matching in make_videos.MATCHES.values() for name in matching})
    with open(root / "meta" / "esc50.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take"])
        for number, name in enumerate(names):
            time = np.arange(5 * 16000) / 16000
            tone = 0.5 * np.sin(2 * np.pi * 500 * (number + 1) * time)
            soundfile.write(root / "audio" / f"1-{number}-A-{number}.wav", tone, 16000)
            table.writerow([f"1-{number}-A-{number}.wav", 1, number, name, False, number, "A"])


def test_slides_have_the_sound_and_pictures_of_one_class(tmp_path):
    write_cifar10(
        tmp_path / "cifar", "binary", batches={f"data_batch_{n}": 6 * n for n in range(1, 6)}
    )
    write_recordings(tmp_path / "esc50")
    words = ["--pictures", str(tmp_path / "cifar"), "--recordings", str(tmp_path / "esc50")]
    words += ["--folds", "1", "--videos", "8", "--out", str(tmp_path / "out")]
    assert make_videos.main(words) == 0
    source = video_folder(path=str(tmp_path / "out"))
    assert len(source.references) == 8
    names = sorted({name for matching in make_videos.MATCHES.values() for name in matching})
    pictures = make_videos.read_pictures(str(tmp_path / "cifar"))
    for reference, clip in source.read(source.references):
        assert len(clip.audio) == 64000
        label = reference.source.split("/")[0]
        spectrum = np.abs(np.fft.rfft(clip.audio.astype(float)))
        pitch = spectrum.argmax() / 4
        assert names[round(pitch / 500) - 1] in make_videos.MATCHES[label]
        means = pictures[label].astype(float).mean(axis=(1, 2))
        for seen in clip.pictures.astype(float).mean(axis=(1, 2)):
            assert np.abs(means - seen).max(axis=1).min() < 8
    before = (tmp_path / "out" / "labels.csv").read_text()
    assert make_videos.main(words) == 0
    assert (tmp_path / "out" / "labels.csv").read_text() == before
    assert make_videos.main([*words[:-3], "9", "--folds", "2", "--out", str(tmp_path / "b")]) == 1
