"""Makes videos of pictures and recordings of matching classes: slides, not natural video.

    python tools/make_videos.py --pictures path/to/cifar10 --recordings path/to/ESC-50 --out OUT

A video has 4 s of a recording of ESC-50 (a class, at a random place) and four pictures of CIFAR-10
of the matching class, one a second, enlarged. `labels.csv` beside them has file, label, fold and
source of each; taggers do not need it. What they make of such videos tests the whole way from
videos to networks; it cannot say what natural videos are worth, where what is seen often makes no
sound.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sepcon.audio.decode import decode_file
from sepcon.audio.samples import FULL_SCALE, SAMPLE_RATE_HZ
from sepcon.datasets.esc50.layout import Row, read_rows, require_root
from sepcon.datasets.images.cifar10 import CLASS_NAMES, BatchReader, cifar10, read_batch
from sepcon.errors import SepconError
from sepcon.runs.progress import track
from sepcon.runs.whole_file import whole_file
from sepcon.video.encode import VideoToWrite, write_video

# Classes of CIFAR-10, and the classes of ESC-50 that sound like them; deer and horses are silent.
MATCHES = {
    "airplane": ("airplane",),
    "automobile": ("engine", "car_horn"),
    "bird": ("chirping_birds", "crow"),
    "cat": ("cat",),
    "dog": ("dog",),
    "frog": ("frog",),
    "ship": ("sea_waves",),
    "truck": ("engine",),
}
SECONDS, PICTURES, SIDE = 4.0, 4, 128


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", required=True, help="folder of CIFAR-10")
    parser.add_argument("--recordings", required=True, help="folder of ESC-50")
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3], help="of ESC-50")
    parser.add_argument("--videos", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    given = parser.parse_args(arguments)
    try:
        pictures = read_pictures(given.pictures)
        rows = [
            row
            for row in read_rows(require_root(Path(given.recordings).expanduser()))
            if row.fold in given.folds
        ]
        write_videos(Path(given.out), pictures, rows, count=given.videos, seed=given.seed)
    except SepconError as error:
        print(f"make_videos: {error}", file=sys.stderr)
        return 1
    return 0


def read_pictures(path: str) -> dict[str, np.ndarray]:
    """Reads the pictures of CIFAR-10 for training by class, uint8 [n, 32, 32, 3]."""
    source = cifar10(path=path)
    assert isinstance(source.read, BatchReader)
    files = dict.fromkeys(each.source for each in source.references if each.fold == "train")
    batches = [read_batch(source.read.folder / file) for file in files]
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([np.asarray(labels) for _, labels in batches])
    return {name: images[labels == number] for number, name in enumerate(CLASS_NAMES)}


def write_videos(
    out: Path, pictures: dict[str, np.ndarray], rows: Sequence[Row], *, count: int, seed: int
) -> None:
    """Writes videos, as many of each class as of any other, and their table.

    Args:
      out: receives `<class>/<number>.mp4` and labels.csv; what is there already stays.
      pictures: by class.
      rows: recordings.
      count: of the videos.
      seed: of what is put together.

    Raises:
      SepconError: a class has no recording or no picture.
    """
    of_class = {
        name: [row for row in rows if row.category in categories]
        for name, categories in MATCHES.items()
    }
    for name, matching in of_class.items():
        if not matching or not len(pictures[name]):
            raise SepconError(f"{name}: has no recording or no picture; give all folds and batches")
    table, names = [], list(MATCHES)
    for number in track(range(count), count, "Making videos", unit="video"):
        name = names[number % len(names)]
        generator = np.random.default_rng([seed, number])
        row = of_class[name][generator.integers(len(of_class[name]))]
        file = f"{name}/{number:05d}.mp4"
        table.append((file, name, row.fold, row.src_file))
        if not (out / file).exists():
            (out / name).mkdir(parents=True, exist_ok=True)
            write_video(out / file, _video(pictures[name], row, generator))
    with whole_file(out / "labels.csv") as scratch, open(scratch, "w", newline="") as handle:
        csv.writer(handle).writerows([("file", "label", "fold", "source"), *table])


def _video(pictures: np.ndarray, row: Row, generator: np.random.Generator) -> VideoToWrite:
    chosen = pictures[generator.integers(len(pictures), size=PICTURES)]
    large = chosen.repeat(SIDE // chosen.shape[1], axis=1).repeat(SIDE // chosen.shape[2], axis=2)
    audio = decode_file(row.path).astype(np.float32) / FULL_SCALE
    samples = round(SECONDS * SAMPLE_RATE_HZ)
    start = generator.integers(max(1, len(audio) - samples + 1))
    part = np.pad(audio[start : start + samples], (0, max(0, samples - len(audio))))
    # Each picture twice: players, and what cuts videos, look for frames between.
    times = np.arange(2 * PICTURES) * SECONDS / (2 * PICTURES)
    return VideoToWrite(large.repeat(2, axis=0), list(times), part[np.newaxis], SAMPLE_RATE_HZ)


if __name__ == "__main__":
    sys.exit(main())
