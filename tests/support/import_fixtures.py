"""Small data sets in the published formats of what can be imported, with their usual faults."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

# The first rows of the table that AudioSet is published with, as they are written there.
CLASSES = """index,mid,display_name
0,/m/09x0r,"Speech"
1,/m/05zppz,"Male speech, man speaking"
2,/m/02zsn,"Female speech, woman speaking"
3,/m/0bt9lr,"Dog"
4,/m/04rlf,"Music"
"""
SEGMENTS_HEADER = """# Segments csv created Sun Mar  5 10:54:25 2017
# num_ytids=14, num_segs=14, num_unique_labels=5, num_positive_labels=20
# YTID, start_seconds, end_seconds, positive_labels
"""
# What must become of each row of the table: id, start, labels, file, class numbers, reason.
SEGMENTS: list[tuple[str, float, str, str, tuple[int, ...], str]] = [
    ("--4gqARaEJE", 0, "/m/0bt9lr,/m/04rlf", "--4gqARaEJE.wav", (3, 4), ""),
    ("-0RWZT-miFs", 420, "/m/09x0r", "a/Y-0RWZT-miFs.wav", (0,), ""),
    ("-1nilez17Dg", 30, "/m/04rlf,/m/09x0r", "a/b/-1nilez17Dg_30000.flac", (0, 4), ""),
    ("0ZjIbaHPgkE", 30, "/m/02zsn", "0ZjIbaHPgkE_30.ogg", (2,), ""),
    ("Y1AbUxYwYQo", 30, "/m/05zppz", "Y1AbUxYwYQo_30.000_40.000.mp3", (1,), ""),
    ("2_seven_ch_", 10, "/m/04rlf", "Y2_seven_ch__10000_20000.wav", (4,), ""),
    ("3-unknown-1", 10, "/m/04rlf,/m/gone", "3-unknown-1_10.flac", (4,), ""),
    ("4-unknown-2", 10, "/m/gone,/t/dd0", "4-unknown-2.wav", (), "no known label"),
    ("5-not-there", 10, "/m/04rlf", "", (4,), "missing"),
    ("6-no-bytes-", 10, "/m/04rlf", "6-no-bytes-.wav", (4,), "empty"),
    ("7-cut-off-w", 10, "/m/04rlf", "7-cut-off-w.wav", (4,), "cut off"),
    ("8-cut-off-f", 10, "/m/04rlf", "8-cut-off-f.flac", (4,), "damaged"),
    ("9-no-sound-", 10, "/m/04rlf", "9-no-sound-.wav", (4,), "silent"),
    ("--4gqARaEJE", 0, "/m/09x0r", "--4gqARaEJE.wav", (0,), "duplicate id"),
]


def sound(
    seed: int, *, channels: int = 1, rate_hz: int = 16000, seconds: float = 0.25
) -> np.ndarray:
    """Noise, [samples, channels]."""
    generator = np.random.default_rng(seed)
    return 0.1 * generator.standard_normal((round(seconds * rate_hz), channels))


def write_audio(path: Path, number: int, *, seconds: float = 0.25) -> None:
    """A file of the kind its ending says: mono or stereo, 16 to 48 kHz, and one of 7 channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = 7 if "seven" in path.name else 1 + number % 2
    rate_hz = (48000, 44100, 16000)[number % 3]
    kind = path.suffix[1:].upper()
    subtype = {"WAV": "PCM_24", "FLAC": "PCM_24"}.get(kind)
    audio = sound(number, channels=channels, rate_hz=rate_hz, seconds=seconds)
    if "no-sound" in path.name:
        audio = np.zeros_like(audio)
    soundfile.write(os.fsencode(path), audio, rate_hz, format=kind, subtype=subtype)
    if "cut-off" in path.name:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if "no-bytes" in path.name:
        path.write_bytes(b"")


def write_audioset(root: Path, *, name: str = "eval_segments", seconds: float = 0.25) -> Path:
    """`<name>.csv`, `class_labels_indices.csv` and `audio/` with what `SEGMENTS` says."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "class_labels_indices.csv").write_text(CLASSES)
    lines = [
        f'{video_id}, {start:.3f}, {start + 10:.3f}, "{labels}"\n'
        for video_id, start, labels, *_ in SEGMENTS
    ]
    (root / f"{name}.csv").write_text(SEGMENTS_HEADER + "".join(lines))
    for number, (*_, file, _, _) in enumerate(SEGMENTS[:-1]):
        if file:
            write_audio(root / "audio" / file, number, seconds=seconds)
    return root


def flac(number: int, *, seconds: float = 0.25) -> bytes:
    """24-bit FLAC, stereo, 48 kHz, every tenth 44.1 kHz."""
    rate_hz = 44100 if number % 10 == 9 else 48000
    file = io.BytesIO()
    audio = sound(number, channels=2, rate_hz=rate_hz, seconds=seconds)
    soundfile.write(file, audio, rate_hz, format="FLAC", subtype="PCM_24")
    return file.getvalue()


def write_parquet(
    root: Path, *, part: str = "eval", num_clips: int = 23, per_file: int = 10
) -> Path:
    """`<part>/*.parquet` as on Hugging Face, row groups of 4; the last rows are bad ones."""
    import pyarrow as pa
    from pyarrow import parquet

    mids = ["/m/09x0r", "/m/05zppz", "/m/02zsn", "/m/0bt9lr", "/m/04rlf"]
    rows = [
        {
            "video_id": f"-{number:010d}",
            "audio": {"bytes": flac(number), "path": f"-{number:010d}.flac"},
            "labels": [mids[number % 5], mids[(number + 2) % 5]],
            "human_labels": ["Speech", "Music"],
        }
        for number in range(num_clips)
    ]
    bad = {
        "empty": b"",
        "cut": flac(0)[:3000],
        "text": b"<html>not found</html>",
        "null": None,
    }
    rows += [
        rows[0] | {"video_id": f"bad-{name}", "audio": {"bytes": data, "path": f"{name}.flac"}}
        for name, data in bad.items()
    ]
    rows += [rows[1] | {"video_id": "unknown-lab", "labels": ["/m/gone"]}, rows[2]]
    audio = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    strings = pa.list_(pa.string())
    schema = pa.schema(
        {"video_id": pa.string(), "audio": audio, "labels": strings, "human_labels": strings}
    )
    (root / part).mkdir(parents=True, exist_ok=True)
    (root / "class_labels_indices.csv").write_text(CLASSES)
    for start in range(0, len(rows), per_file):
        table = pa.Table.from_pylist(rows[start : start + per_file], schema=schema)
        parquet.write_table(
            table, root / part / f"{start // per_file:02d}.parquet", row_group_size=4
        )
    return root


# libsndfile's names of encodings that WAV files of UrbanSound8K have, and a rare one.
WAV_KINDS = ["PCM_16", "PCM_24", "PCM_U8", "FLOAT", "MS_ADPCM", "IMA_ADPCM", "ULAW", "PCM_32"]


def write_urbansound8k(
    root: Path, *, folds: Sequence[int] = range(1, 11), per_fold: int = 2, num_classes: int = 5
) -> Path:
    """`metadata/UrbanSound8K.csv`, `audio/fold<n>/`: WAV of every encoding, rate and channels."""
    (root / "metadata").mkdir(parents=True, exist_ok=True)
    names = ["air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling"]
    names += ["engine_idling", "gun_shot", "jackhammer", "siren", "street_music"]
    columns = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
    with open(root / "metadata" / "UrbanSound8K.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for fold in folds:
            (root / "audio" / f"fold{fold}").mkdir(parents=True, exist_ok=True)
            for take in range(per_fold):
                number = fold * per_fold + take
                label, recording = number % num_classes, 1000 + fold
                name = f"{recording}-{label}-0-{take}.wav"
                rate_hz = (8000, 11025, 44100, 48000, 96000, 192000)[number % 6]
                audio = sound(number, channels=1 + number % 2, rate_hz=rate_hz)
                kind = WAV_KINDS[number % len(WAV_KINDS)]
                path = root / "audio" / f"fold{fold}" / name
                soundfile.write(path, audio, rate_hz, subtype=kind)
                table.writerow([name, recording, 0.0, 0.25, 1, fold, label, names[label]])
    return root


def write_gtzan(data_dir: Path) -> Path:
    """`gtzan` as TFDS prepares it: four clips, one without samples, one without a label."""
    import tensorflow_datasets as tfds

    features = tfds.builder("gtzan", data_dir=str(data_dir)).info.features
    genres = features["label"].names
    rows = [
        {
            "audio": np.int64(32767 * sound(number, rate_hz=22050)[:, 0]),
            "label": number % 3,
            "audio/filename": f"{genres[number % 3]}.{number:05d}.wav",
        }
        for number in range(4)
    ]
    rows.append(rows[1] | {"audio": np.zeros(0, np.int64), "audio/filename": "jazz.00054.wav"})
    rows.append(rows[0] | {"label": -1, "audio/filename": "x.wav"})
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name="gtzan",
        version="1.0.0",
        features=features,
        split_datasets={"train": list(enumerate(rows))},
        data_dir=str(data_dir),
        disable_shuffling=True,
    )
    return Path(builder.data_dir)
