"""Small data sets in the formats of real ones, made by the tests."""

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


def write_esc50(root: Path, *, folds: int = 4, classes: int = 3, per_class: int = 3) -> Path:
    """An ESC-50 folder in the official layout, with few clips of few classes."""
    (root / "audio").mkdir(parents=True)
    (root / "meta").mkdir()
    generator = np.random.default_rng(1)
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    source = 100
    for fold in range(1, folds + 1):
        for target in range(classes):
            for _ in range(per_class):
                source += 1
                name = f"{fold}-{source}-A-{target}.wav"
                tone = np.sin(np.arange(44100) * (0.02 + 0.03 * target))
                audio = 0.2 * tone + 0.05 * generator.standard_normal(44100)
                soundfile.write(root / "audio" / name, audio, 44100)
                lines.append(f"{name},{fold},{target},class{target},{target == 0},{source},A")
    (root / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")
    return root
