"""A small folder of recordings in several formats, made by the tests."""

from pathlib import Path

import numpy as np
import soundfile


def write_recordings(folder: Path, *, count: int = 6, seconds: float = 2.0) -> Path:
    """A folder of recordings of several formats and rates."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    kinds = [("wav", 44100), ("flac", 16000), ("ogg", 22050)]
    for number in range(count):
        suffix, rate = kinds[number % len(kinds)]
        noise = 0.1 * generator.standard_normal(round(seconds * rate))
        soundfile.write(folder / f"recording_{number}.{suffix}", noise, rate)
    return folder
