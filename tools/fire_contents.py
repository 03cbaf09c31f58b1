"""What a folder holds, for a comparison to the byte: all of it but what tells the time.

Left out, and said so beside every table:

- TensorBoard's events, `logs/` of a study, and a claim, which is gone when its holder is;
- numbers whose names say that they are seconds or shares of them, and dates: in JSON, in the
  records of checkpoints, in CSV, in pages, and in the PEAK chunk of WAV files;
- what TensorFlow Datasets has begun in `.config`, which a start after a minute removes;
- of a SavedModel the graph's bytes and their fingerprint, as TensorFlow numbers its functions
  through a process; its variables and its card count.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sepcon.runs.seals import SEALS_FILE

LEFT_OUT = (
    "TensorBoard events, logs of a study's commands, claims; of JSON (in checkpoints too), CSV, "
    "pages and WAV's PEAK chunk what is a date or measured in seconds; of a SavedModel the bytes "
    "of saved_model.pb and fingerprint.pb, while its variables and its card are compared; seals "
    "of these files; unfinished files in .config of TensorFlow Datasets, which go a minute later"
)
_SKIPPED = re.compile(
    r"events\.out\.tfevents\..*|\.claim|fingerprint\.pb|saved_model\.pb"
    r"|incomplete\.[0-9a-f]{32}\.metadata\.json"
)
_TIMES = re.compile(r"seconds|duration|\bdate|since|per_second|waiting|created", re.IGNORECASE)
_NO_TIMES = {"patch_seconds", "clip_seconds", "segment_seconds", "window_seconds", "hop_seconds"}
_CLOCK = re.compile(rb"\d+(?:[.,]\d+)? (?:s|min|h)\b|\d{4}-\d\d-\d\d[T ]\d\d:\d\d[:\d]*")


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of all files below a folder, by path, without what tells the time."""
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("logs", "tensorboard")]
        for name in names:
            path = Path(parent, name)
            if name == SEALS_FILE:
                found[str(path.relative_to(folder))] = _timeless_seals(path)
            elif not _SKIPPED.fullmatch(name):
                found[str(path.relative_to(folder))] = _without_times(path)
    return found


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Says in a few words each which files differ, and how."""
    return [
        f"{name} is {'missing' if name not in other else 'left' if name not in one else 'other'}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


def _without_times(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        if path.suffix == ".npz":
            return _timeless_arrays(data)
        if path.suffix == ".wav":
            return re.sub(rb"(PEAK.{8}).{4}", rb"\1TIME", data, count=1, flags=re.DOTALL)
        if path.suffix == ".json":
            return _changed(data, json.loads(data), _timeless)
        if path.suffix == ".jsonl":
            return _changed(data, [json.loads(line) for line in data.splitlines()], _timeless)
        if path.suffix == ".csv":
            rows = list(csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"))))
            return _changed(data, rows, _timeless_rows)
    except ValueError:
        return data
    if path.suffix in (".html", ".md"):
        return _CLOCK.sub(b"TIME", _timeless_tables(data))
    return data


def _timeless_seals(path: Path) -> bytes:
    """The seals of files that are compared as they are; of others that there is one."""
    seals = json.loads(path.read_bytes())["files"]
    for name in seals:
        file = path.parent / name
        if _SKIPPED.fullmatch(file.name) or _without_times(file) != file.read_bytes():
            seals[name] = "with times"
    return json.dumps(seals).encode()


def _is_time(name: str) -> bool:
    return _TIMES.search(name) is not None and name not in _NO_TIMES


def _changed(data: bytes, parsed: Any, timeless: Callable[[Any], Any]) -> bytes:
    """What was parsed without its times; the file as it is where there are none."""
    without = timeless(parsed)
    return data if without == parsed else json.dumps(without).encode("utf-8", "surrogateescape")


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(each) for name, each in value.items() if not _is_time(name)}
    return [_timeless(each) for each in value] if isinstance(value, list) else value


def _timeless_tables(page: bytes) -> bytes:
    """A page whose tables have no numbers below heads that name seconds."""
    heads: list[bytes] = []
    lines = []
    for line in page.split(b"\n"):
        cell = rb"<t[hd][^>]*>(.*?)</t[hd]>" if b"<tr>" in line else rb"\| ([^|]*) (?=\|)"
        cells = re.findall(cell, line)
        if b"<th>" in line or (cells and not heads):
            heads = cells
        elif not cells and not line.startswith((b"<tbody>", b"</thead>")):
            heads = []
        elif any(head == b"seconds" for head in heads):
            kept = [text for head, text in zip(heads, cells, strict=False) if head != b"seconds"]
            line = b" | ".join(kept)
        lines.append(line)
    return b"\n".join(lines)


def _timeless_arrays(data: bytes) -> bytes:
    """An archive whose array `record` is JSON as bytes, as checkpoints have it; others as is."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        if "record" not in archive.files:
            return data
        record = _timeless(json.loads(archive["record"].tobytes()))
        arrays = [(name, archive[name]) for name in archive.files if name != "record"]
    told = [f"{name} {array.dtype} {array.shape}".encode() for name, array in arrays]
    return b"".join([json.dumps(record).encode(), *told, *[array.tobytes() for _, array in arrays]])


def _timeless_rows(rows: list[list[str]]) -> list[list[str]]:
    kept = [place for place, name in enumerate(rows[0] if rows else []) if not _is_time(name)]
    return [[row[place] for place in kept if place < len(row)] for row in rows]
