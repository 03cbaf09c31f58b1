"""Files that were cut off or edited: one line that names the file, or the right result."""

import dataclasses
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sepcon.data.channel_shards import read_index
from sepcon.embeddings.store import EmbeddingStore, EmbeddingWriter, StoreLayout, _read_index
from sepcon.errors import SepconError
from sepcon.finetuning.predictions import Predictions
from sepcon.importing.import_folder import open_import
from sepcon.models.encoder_files import load_encoder_config
from sepcon.models.products.found_model import find_model
from sepcon.models.separator.network import SeparatorConfig, load_separator_config
from sepcon.reports.results import read_results, read_rows
from sepcon.runs import run_folder
from sepcon.runs.names import path_inside
from sepcon.runs.seals import check_seals, write_seals
from sepcon.separation.separated_folder import SeparatedFolder
from sepcon.training.logs import read_metric

LOG_MEL = {"sample_rate_hz": 16000, "num_mels": 64}
CARD = {"kind": "encoder", "fingerprint": "f", "sample_rate_hz": 16000}
PLAN = {"name": "a", "clips": 3, "clips_per_shard": 2, "list_digest": "d", "format": 1}
INDEX = {
    "clips": "a",
    "num_clips": 4,
    "num_channels": 2,
    "checkpoint": "r",
    "step": 3,
    "shard_clips": 2,
    "shards": [2, 2],
}
STORE = {
    "format": 1,
    "complete": True,
    "dataset": "a",
    "model": "m",
    "class_names": ["x", "y"],
    "num_clips": 3,
    "shard_size": 2,
    "shard_sizes": [2, 1],
    "shard_rows": [2, 1],
    "patches": False,
    "dim": 4,
}
LIST = {
    "made_by": {"separator": "s"},
    "recordings": [
        {
            "recording": "/x/a.wav",
            "status": "done",
            "folder": "a.wav",
            "sample_rate_hz": 16000,
            "averaged_channels": 1,
            "seconds": 1.0,
            "channels": ["channel_0.wav"],
        },
        {"recording": "/x/b.wav", "status": "failed", "reason": "bad"},
    ],
}


def open_separated(folder: Path) -> None:
    SeparatedFolder(folder, {"separator": "s"})


def write_import(folder: Path) -> None:
    (folder / "plan.json").write_text(json.dumps(PLAN))
    (folder / "classes.csv").write_text("index,display_name\n0,dog\n1,cat\n")
    manifest = b"id,source,seconds,labels,group,fold,unknown_labels,reason,detail\n"
    (folder / "manifest.csv").write_bytes(manifest)
    digest = hashlib.sha256(manifest).hexdigest()[:8]
    (folder / "run.json").write_text(json.dumps({"manifest": digest, "imported": 3}))


def write_model(folder: Path, content: dict) -> None:
    (folder / "model.json").write_text(json.dumps(content))


def write_card(folder: Path) -> None:
    (folder / "assets").mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "assets" / "model_card.json").write_text(json.dumps(CARD))


def write_store(folder: Path) -> None:
    layout = StoreLayout("a", "m", ("x",), num_clips=2, shard_size=2)
    writer = EmbeddingWriter(folder, layout)
    arrays = {"ids": np.array(["a", "b"]), "embedding": np.ones((2, 3)), "labels": np.ones((2, 1))}
    writer.write_shard(0, **arrays)
    writer.finish()
    (folder / "seals.json").unlink()  # Without it, as versions before have left stores.


ENCODER = {"kind": "encoder", "encoder": "{}", "log_mel": LOG_MEL, "patch_seconds": 1.0}
SEPARATOR = {"kind": "separator", "config": dataclasses.asdict(SeparatorConfig())}


# The file, what writes its folder, and what reads it.
CASES: dict[str, tuple[str, Callable, Callable]] = {
    "channels": (
        "index.json",
        lambda f: (f / "index.json").write_text(json.dumps(INDEX)),
        lambda f: read_index(f).num_done,
    ),
    "embeddings": (
        "index.json",
        lambda f: (f / "index.json").write_text(json.dumps(STORE)),
        lambda f: _read_index(f),
    ),
    "separated": (
        "separated.json",
        lambda f: (f / "separated.json").write_text(json.dumps(LIST)),
        open_separated,
    ),
    "plan": ("plan.json", write_import, lambda f: open_import(f).records),
    "classes": ("classes.csv", write_import, open_import),
    "record of an import": ("run.json", write_import, open_import),
    "run": (
        "run.json",
        lambda f: (f / "run.json").write_text('{"steps": 3, "commit": "a"}'),
        lambda f: (run_folder.is_finished(f), run_folder.training_record(f)),
    ),
    "encoder": (
        "model.json",
        lambda f: write_model(f, ENCODER),
        lambda f: (find_model(f, "encoder"), load_encoder_config(f / "model.json")),
    ),
    "separator": (
        "model.json",
        lambda f: write_model(f, SEPARATOR),
        lambda f: (find_model(f, "separator"), load_separator_config(f)),
    ),
    "card": ("assets/model_card.json", write_card, lambda f: find_model(f, "encoder")),
    "log of a training": (
        "metrics.jsonl",
        lambda f: (f / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n' * 3),
        lambda f: read_metric(f, "loss"),
    ),
    "rows": (
        "results.json",
        lambda f: (f / "results.json").write_text('{"rows": [{"seed": 1, "seconds": 2.0}]}'),
        lambda f: read_rows(f / "results.json", numbers=("seed", "seconds")),
    ),
    "seals": (
        "seals.json",
        lambda f: ((f / "a").write_text("x"), write_seals(f, ["a"])),
        lambda f: check_seals(f, cure="make it again"),
    ),
    "predictions": (
        "selected.npz",
        lambda f: Predictions(("a",), np.zeros(1, int), np.ones((1, 2))).save(f / "selected.npz"),
        lambda f: Predictions.load(f / "selected.npz"),
    ),
    "shard of embeddings": (
        "embeddings-00000-of-00001.npz",
        write_store,
        lambda f: EmbeddingStore(f).load(),
    ),
    "results": (
        "results.json",
        lambda f: (f / "results.json").write_text('[{"mAP": 0.5}]'),
        lambda f: read_results(f / "results.json"),
    ),
}


def mutated(data: bytes, generator: random.Random) -> bytes:
    """Cuts, overwrites, removes or repeats a part, or puts another value in the place of one."""
    kind = generator.randrange(5)
    start = generator.randrange(len(data))
    stop = min(len(data), start + generator.randrange(1, 20))
    if kind == 0:
        return data[:start]
    if kind == 1:
        return data[:start] + generator.randbytes(stop - start) + data[stop:]
    if kind == 2:
        return data[:start] + data[stop:]
    if kind == 3:
        return data[:stop] + data[start:]
    values = [b"null", b"-1", b"[]", b"{}", b'"../x"', b"1e999", b"[[[[", b"NaN", b"true", b"0"]
    pieces = data.split(b",")
    place = generator.randrange(len(pieces))
    key, colon, _ = pieces[place].partition(b":")
    pieces[place] = key + colon + generator.choice(values)
    return b",".join(pieces)


def refusal(read: Callable, folder: Path) -> str:
    try:
        read(folder)
    except SepconError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", CASES)
def test_mutated_files_are_told_by_name_or_read_right(tmp_path, name):
    file, write, read = CASES[name]
    write(tmp_path)
    read(tmp_path)
    good = (tmp_path / file).read_bytes()
    generator = random.Random(name)
    told = 0
    special = [b"", b"\xff\xfe", b"[" * 100_000, b"null", b"[]", b"{}", b'{"kind": 3}', b"\0" * 50]
    for data in [*special, *(mutated(good, generator) for _ in range(300))]:
        (tmp_path / file).write_bytes(data)
        line = refusal(read, tmp_path)
        if line:
            told += 1
            assert "\n" not in line, data
            assert file in line or str(tmp_path) in line, (data, line)
    assert told > 50, "the mutations do no harm"


def test_swapped_or_lost_lines_of_the_classes_are_damage(tmp_path):
    for text in (
        "index,display_name\n1,cat\n0,dog\n",
        "index,display_name\n1,cat\n",
        "a,b\n0,dog\n",
    ):
        write_import(tmp_path)
        (tmp_path / "classes.csv").write_text(text)
        with pytest.raises(SepconError, match=r"classes.csv: is damaged"):
            open_import(tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"x" * 100])
def test_damaged_predictions(tmp_path, data):
    (tmp_path / "selected.npz").write_bytes(data)
    with pytest.raises(SepconError, match=r"selected.npz: holds no predictions"):
        Predictions.load(tmp_path / "selected.npz")


@pytest.mark.parametrize("name", ["../victim", "/etc", "a/../../b", "link/b", "", ".", "a\0b", 3])
def test_a_name_in_a_file_leads_nowhere_else(tmp_path, name):
    root = tmp_path / "out"
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SepconError, match=r"list.json: names .* not below .*/out; correct"):
        path_inside(root, name, source=root / "list.json")
    assert path_inside(root, "a/b.wav", source=root / "list.json") == root / "a" / "b.wav"


def test_a_list_that_names_a_folder_outside_removes_and_replaces_nothing(tmp_path):
    out, victim = tmp_path / "out", tmp_path / "victim"
    for folder in (out, victim):
        folder.mkdir()
    (victim / "recording.json").write_text('{"recording": "/x/a.wav"}')
    entry = {"recording": "/x/a.wav", "status": "done", "folder": "../victim"}
    (out / "separated.json").write_text(json.dumps({**LIST, "recordings": [entry]}))
    with pytest.raises(SepconError, match=r"separated.json: names '../victim'"):
        open_separated(out)
    assert [path.name for path in victim.iterdir()] == ["recording.json"]
