"""Small images and data sets of them, as files."""

import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, *, height: int = 12, width: int = 16) -> np.ndarray:
    """An image of smooth noise, another for each number, uint8 [height, width, 3]."""
    coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))


def write_image_folder(root: Path) -> dict[str, str]:
    """Writes a folder of images with all that can be wrong; returns the reason of each file."""
    for folder in ("cat", "dog", ".hidden"):
        (root / folder).mkdir(parents=True)
    images = {f"cat/{n}.png": Image.fromarray(picture(n)) for n in range(3)}
    images["dog/grey.JPEG"] = Image.fromarray(picture(3)).convert("L")
    images["dog/cmyk.jpg"] = Image.fromarray(picture(4)).convert("CMYK")
    images["dog/wide.png"] = Image.fromarray(picture(5, height=2, width=10_000))
    images["dog/dot.png"] = Image.fromarray(picture(6)[:1, :1])
    images[".hidden/5.png"] = images["cat/0.png"]
    for name, image in images.items():
        image.save(root / name)
    (root / "dog" / "text.jpg").write_text("not an image")
    whole = (root / "cat" / "0.png").read_bytes()
    (root / "dog" / "half.png").write_bytes(whole[: len(whole) // 2])
    (root / "dog" / "other.webp").write_bytes(b"RIFF")
    (root / "cat" / "notes.txt").write_text("nothing to see")
    reasons = {name: "" for name in images if not name.startswith(".")}
    return reasons | {
        "dog/dot.png": "of one colour",
        "dog/half.png": "cut off",
        "dog/text.jpg": "not an image",
    }


def cifar_rows(count: int, seed: int = 0) -> tuple[np.ndarray, list[int]]:
    """Images uint8 [count, 32, 32, 3] and classes, as a batch of CIFAR-10 has them."""
    pixels = np.stack([picture(seed + n, height=32, width=32) for n in range(count)])
    return pixels, [(seed + n) % 10 for n in range(count)]


def write_cifar10(root: Path, form: str, *, batches: dict[str, int]) -> None:
    """Writes batches of CIFAR-10: name -> seed of six images, in one of the three forms."""
    root.mkdir(parents=True)
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for name, seed in batches.items():
        pixels, classes = cifar_rows(6, seed)
        labels["test" if name == "test_batch" else "train"] += classes
        planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
        if form == "binary":
            rows = np.concatenate([np.array(classes, np.uint8)[:, np.newaxis], planes], axis=1)
            (root / f"{name}.bin").write_bytes(rows.tobytes())
        elif form == "python":
            content = {b"data": planes, b"labels": classes}
            (root / name).write_bytes(pickle.dumps(content, protocol=2))
        else:
            Image.fromarray(pixels.reshape(len(pixels), 1024, 3)).save(root / f"{name}.png")
    if form == "png":
        for fold, numbers in labels.items():
            (root / f"{fold}_lables.json").write_text(json.dumps(numbers))
