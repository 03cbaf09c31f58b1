"""Measures an import beside what it cannot do without: soundfile and soxr on the same clips.

Makes clips of 24-bit FLAC, 48 kHz, stereo, as files and as rows of a parquet file. "bare" reads
each with soundfile (from memory, after pyarrow has read the row, for parquet), averages its
channels and resamples the result with soxr (HQ); "import" is a whole shard, from the reader to
records and manifest on disk. All take turns in one process, and times are processor seconds of one
core. The share is the median, over the rounds, of the bare time by the import's.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from benchmark_process import timed
from scipy.signal import lfilter

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.datasets.audioset.parquet import audioset_parquet
from sepcon.datasets.folders import audio_folder
from sepcon.errors import SepconError
from sepcon.importing import import_folder
from sepcon.importing.clip_source import ClipSource
from sepcon.reports.comparison import align

_RATE_HZ = 48000
_COLUMNS = ("clips", "ms_a_clip", "clips_a_second", "share_of_bare_speed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    options = _parse(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="sepcon_import_") as folder:
            result = _run(Path(folder), options)
    except SepconError as error:
        print(f"sepcon: error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if options.json else _text(result))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=8, help="made; %(default)s")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a clip; %(default)g")
    parser.add_argument("--rounds", type=int, default=15, help="over all clips; %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    for name in ("clips", "seconds", "rounds"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name}: got {getattr(options, name)}, expected more than 0")
    return options


def _run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    paths = _make_clips(folder / "clips", options.clips, options.seconds)
    table = _parquet(folder / "rows", paths)
    calls: dict[str, Callable[[], Any]] = {
        "files, bare": lambda: [_bare(path) for path in paths],
        "files, import": _importing(folder / "files", audio_folder(path=str(folder / "clips"))),
        "parquet, bare": lambda: _bare_parquet(folder / "rows" / "0.parquet"),
        "parquet, import": _importing(folder / "parquet", table),
    }
    for call in calls.values():
        call()
    rounds = [
        {name: timed(call).cpu_seconds for name, call in calls.items()}
        for _ in range(options.rounds)
    ]
    rows = [_row(name, rounds, options.clips) for name in calls]
    size = sum(path.stat().st_size for path in paths) / len(paths)
    settings = {name: getattr(options, name) for name in ("clips", "seconds", "rounds")}
    return {**settings, "bytes_a_clip": round(size), "rows": rows}


def _row(name: str, rounds: Sequence[Mapping[str, float]], clips: int) -> dict[str, Any]:
    seconds = statistics.median(each[name] for each in rounds) / clips
    bare = name.replace("import", "bare")
    share = statistics.median(each[bare] / each[name] for each in rounds)
    return dict(zip(_COLUMNS, (name, 1e3 * seconds, 1 / seconds, share), strict=True))


def _make_clips(folder: Path, count: int, seconds: float) -> list[Path]:
    """Noise whose power falls with frequency, over a floor that fills the lower bits."""
    folder.mkdir()
    paths = []
    for number in range(count):
        generator = np.random.default_rng(number)
        noise = generator.standard_normal((round(seconds * _RATE_HZ), 2))
        coloured = lfilter([1.0], [1.0, -0.98], noise, axis=0)
        audio = 0.3 * coloured / np.abs(coloured).max() + 1e-3 * noise
        paths.append(folder / f"{number:03d}.flac")
        soundfile.write(paths[-1], audio, _RATE_HZ, subtype="PCM_24")
    return paths


def _bare(path: Path | BinaryIO) -> np.ndarray:
    audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = (audio[:, 0] + audio[:, 1]) * np.float32(0.5)
    return soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ, quality="HQ")


def _bare_parquet(path: Path) -> None:
    from pyarrow import parquet

    file = parquet.ParquetFile(path, buffer_size=1 << 20)
    for batch in file.iter_batches(8, columns=["audio.bytes"]):
        for data in batch.column("audio").field("bytes"):
            _bare(io.BytesIO(data.as_py()))


def _importing(root: Path, source: ClipSource) -> Callable[[], Any]:
    import_folder.begin(root, source, clips_per_shard=len(source.references))
    return lambda: import_folder.write_shard(root, 0, source.read, source.references)


def _parquet(folder: Path, paths: Sequence[Path]) -> ClipSource:
    """The same clips as rows of a parquet file, as AudioSet is distributed."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise SepconError("pyarrow is not installed: pip install 'sepcon[parquet]'") from None
    folder.mkdir()
    classes = folder / "class_labels_indices.csv"
    classes.write_text('index,mid,display_name\n0,/m/09x0r,"Speech"\n')
    rows = [
        {
            "video_id": path.stem,
            "audio": {"bytes": path.read_bytes(), "path": path.name},
            "labels": ["/m/09x0r"],
        }
        for path in paths
    ]
    parquet.write_table(pa.Table.from_pylist(rows), folder / "0.parquet")
    return audioset_parquet(parquet_dir=str(folder), classes_csv=str(classes))


def _text(result: Mapping[str, Any]) -> str:
    forms = ("", ".1f", ".1f", ".1%")
    cells = [
        [format(row[column], form) for column, form in zip(_COLUMNS, forms, strict=True)]
        for row in result["rows"]
    ]
    head = (
        f"{result['clips']} clips of {result['seconds']:g} s, {result['bytes_a_clip'] / 1e6:.2f} "
        f"MB each, {result['rounds']} rounds, one core"
    )
    return f"{head}\n{align([_COLUMNS, *cells])}"


if __name__ == "__main__":
    sys.exit(main())
