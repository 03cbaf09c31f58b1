"""Writes a small folder in the layout of the FUSS release: ssdata_reverb, unpacked."""

from pathlib import Path

import numpy as np
import soundfile

SAMPLES = 160_000


def sources_of(split: str, number: int) -> dict[str, np.ndarray]:
    """Sources of scene `number`, of 1 to 4: name -> int16 [samples], the background all along."""
    names = ["background0_sound", *[f"foreground{k}_sound" for k in range(number % 4)]]
    random = np.random.default_rng([len(split), number])
    sources = {}
    for place, name in enumerate(names):
        noise = np.int16(random.integers(-3000, 3000, size=SAMPLES))
        noise[: 20_000 * place] = 0
        sources[name] = noise
    return sources


def write_fuss(root: Path, *, num_scenes: int = 2) -> Path:
    """Scenes of 1, 2, 3 ... sources in each of the splits train, validation and eval."""
    for split in ("train", "validation", "eval"):
        lines = []
        for number in range(num_scenes):
            scene = f"{split}/example{number:05d}"
            folder = root / f"{scene}_sources"
            folder.mkdir(parents=True, exist_ok=True)
            sources = sources_of(split, number)
            for name, samples in sources.items():
                soundfile.write(folder / f"{name}.wav", samples, 16000)
            soundfile.write(root / f"{scene}.wav", sum(sources.values()), 16000)
            (root / f"{scene}.txt").write_text("0.0 10.0 background0_sound\n")
            (root / f"{scene}.jams").write_text("{}")
            paths = [f"{scene}_sources/{name}.wav" for name in sources]
            lines.append("\t".join([f"{scene}.wav", *paths]))
        (root / f"{split}_example_list.txt").write_text("\n".join(lines) + "\n")
    return root
