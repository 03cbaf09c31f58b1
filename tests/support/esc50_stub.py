"""Writes a small folder in the official layout of ESC-50."""

import csv
from pathlib import Path

import numpy as np
import soundfile

# name in the table, fold, target, category, esc10
CATEGORIES = [("dog", 0, True), ("rooster", 1, True), ("rain", 10, True), ("cat", 5, False)]


def tone(frequency_hz: float, seconds: float = 0.2, rate_hz: int = 16000) -> np.ndarray:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return 0.3 * np.sin(2 * np.pi * frequency_hz * time)


def write_esc50(
    root: Path, *, folds: tuple[int, ...] = (1, 2, 3), per_fold: int = 2, ending: str = ".wav"
) -> Path:
    """Two clips of each of four categories and fold; files end in `ending`, the table says .wav."""
    (root / "audio").mkdir(parents=True, exist_ok=True)
    (root / "meta").mkdir(exist_ok=True)
    rows = []
    for fold in folds:
        for number, (category, target, esc10) in enumerate(CATEGORIES):
            for take in range(per_fold):
                source = 1000 * fold + 10 * number + take
                name = f"{fold}-{source}-A-{target}.wav"
                path = (root / "audio" / name).with_suffix(ending)
                soundfile.write(path, tone(200 + source), 16000)
                rows.append([name, fold, target, category, esc10, source, "A"])
    with open(root / "meta" / "esc50.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take"])
        writer.writerows(rows)
    return root
