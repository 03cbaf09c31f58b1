"""Packs trained weights: half precision, and a model card with what was measured."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from weights_material import Material

import sepcon
from sepcon.models.classifier import SELECTED_FOLDER, STEP_FILE, load_classifier
from sepcon.models.compact_weights import write_compact
from sepcon.models.encoder_files import load_encoder
from sepcon.models.model_file import MODEL_FILE
from sepcon.models.packaged import CARD_FILE, DEFAULTS
from sepcon.models.separator.network import chosen_step, load_separator
from sepcon.models.weights import state_folder
from sepcon.runs.json_file import read_json
from sepcon.runs.revision import running_revision
from sepcon.runs.run_folder import is_finished, read_record

ATTRIBUTION_FILE = "ATTRIBUTION.txt"
_SYNTHETIC = "claims about real recordings: it was trained and measured on synthetic sounds alone"
_NOT_FOR = [
    "decisions about people, alarms, or anything where a wrong answer does harm",
    "speech and music: next to none was in the material",
    "comparison with published models: these are small and were trained in minutes",
]


def pack_separator(into: Path, run: Path, material: Material, command: str) -> Path:
    """Packs the last state of a separator's run, with its SI-SNR improvement on test scenes."""
    rows = json.loads((run / "separation.json").read_text())
    last = max(rows, key=lambda row: row["step"])
    step = chosen_step(run, None)
    network = load_separator(run, step)
    gain = last["si_snri_channel_db"]
    folder = _begin(into, "separator", run)
    write_compact(network, state_folder(folder, step))
    return _write_card(
        folder,
        run,
        material,
        command,
        summary=(
            f"splits recordings into {network.config.num_sources} channels; SI-SNR improvement "
            f"{gain:.1f} dB on {last['num_scenes']} {scenes_of(material)} it never heard"
        ),
        measured={
            "on": "test scenes of 1 to 4 sounds, whose recordings are in no training scene",
            "num_scenes": last["num_scenes"],
            "si_snri_channel_db": _with_interval(last, "si_snri_channel_db"),
            "si_snri_group_db": _with_interval(last, "si_snri_group_db"),
        },
        facts={
            "sample_rate_hz": network.config.sample_rate_hz,
            "num_sources": network.config.num_sources,
            "training_step": step,
            "num_parameters": network.count_params(),
        },
        not_for=[*_NOT_FOR, "a promise that one sound is in one channel: it is often spread"],
    )


def pack_encoder(
    into: Path,
    run: Path,
    rows: Mapping[str, Mapping[str, Any]],
    material: Material,
    command: str,
) -> Path:
    """Packs the last state of an encoder's run.

    Args:
      into: receives a folder.
      run: of `sepcon pretrain`.
      rows: of the benchmark, that of the encoder as 'model', those of baselines by their names.
      material: what it was trained on.
      command: that trained it.
    """
    loaded = load_encoder(run)
    own = rows["model"]
    rows = {name: row for name, row in rows.items() if name != "model"}
    folder = _begin(into, "encoder", run)
    write_compact(loaded.encoder, state_folder(folder, loaded.step))
    best = max(rows.values(), key=lambda row: row["mAP"])
    return _write_card(
        folder,
        run,
        material,
        command,
        summary=(
            f"embeds patches of {loaded.patch_seconds:g} s; mAP {own['mAP']:.2f} of a shallow "
            f"classifier on {own['num_test_clips']} {scenes_of(material)} it never heard "
            f"({best['name']}: {best['mAP']:.2f})"
        ),
        measured={
            "on": "a shallow classifier on frozen embeddings of test scenes, several classes each",
            "num_scenes": own["num_test_clips"],
            "num_classes": own["num_classes"],
            "mAP": _with_interval(own, "mAP"),
            "d_prime": _with_interval(own, "d_prime"),
            "baselines": {name: _with_interval(row, "mAP") for name, row in rows.items()},
        },
        facts={
            "sample_rate_hz": loaded.log_mel.sample_rate_hz,
            "patch_seconds": loaded.patch_seconds,
            "embedding_size": int(loaded.encoder.output_shape[-1]),
            "training_step": loaded.step,
            "num_parameters": loaded.encoder.count_params(),
        },
        not_for=_NOT_FOR,
    )


def pack_classifier(into: Path, fold: Path, run: Path, material: Material, command: str) -> Path:
    """Packs the classifier of one fold, with its accuracy on the test fold."""
    loaded = load_classifier(fold)
    (row,) = json.loads((run / "results.json").read_text())["rows"]
    folder = _begin(into, "classifier", fold)
    write_compact(loaded.model, folder / SELECTED_FOLDER)
    shutil.copy(fold / SELECTED_FOLDER / STEP_FILE, folder / SELECTED_FOLDER)
    names = list(loaded.config.class_names)
    return _write_card(
        folder,
        fold,
        material,
        command,
        summary=(
            f"names the {len(names)} classes of ESC-10; accuracy {row['accuracy']:.2f} on "
            f"{row['num_test_clips']} clips it never heard"
        ),
        measured={
            "on": f"fold {material.test_fold} of ESC-10, new to it and to its encoder",
            "num_clips": row["num_test_clips"],
            "accuracy": row["accuracy"],
        },
        facts={
            "sample_rate_hz": loaded.log_mel.sample_rate_hz,
            "patch_seconds": loaded.config.encoder.patch_seconds,
            "class_names": names,
            "training_step": loaded.step,
            "num_parameters": loaded.model.count_params(),
        },
        not_for=[*_NOT_FOR, "recordings of other classes: it names one of its ten all the same"],
    )


def write_attribution(into: Path, material: Material) -> None:
    """Writes whose the recordings behind the weights are."""
    head = (
        "The weights in this folder were trained on built-in synthetic events and, where a model "
        "card says so, on\nclips of ESC-10 (K. J. Piczak, ESC: Dataset for Environmental Sound "
        "Classification, ACM Multimedia 2015;\nCC BY), which were cut from these recordings of "
        "freesound.org:\n\n"
    )
    text = (
        head + material.attribution if material.attribution else head.partition(" and,")[0] + ".\n"
    )
    (into / ATTRIBUTION_FILE).write_text(text, encoding="utf-8")


def _begin(into: Path, kind: str, run: Path) -> Path:
    folder = into / DEFAULTS[kind]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(run / MODEL_FILE, folder)
    return folder


def commit_of(run: Path) -> str:
    """Returns with which commit a run was finished; of one that does not say, the present one."""
    record = read_record(run) if is_finished(run) else {}
    return str(record.get("commit", running_revision()))


def _write_card(
    folder: Path,
    run: Path,
    material: Material,
    command: str,
    *,
    summary: str,
    measured: Mapping[str, Any],
    facts: Mapping[str, Any],
    not_for: list[str],
) -> Path:
    card = {
        "name": folder.name,
        "kind": str(read_json(folder / MODEL_FILE, cure="train again")["kind"]),
        "summary": summary,
        "licence": "Apache-2.0",
        "trained_on": trained_on(material),
        "attribution": f"../{ATTRIBUTION_FILE}" if material.esc10 else "",
        "measured": measured,
        "not_for": [*not_for, *([] if material.esc10 else [_SYNTHETIC])],
        "command": command,
        **facts,
        "precision": "matrices float16, vectors float32",
        "sepcon_version": sepcon.__version__,
        "tensorflow_version": tf.__version__,
        "git_revision": commit_of(run),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    path = folder / CARD_FILE
    path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def scenes_of(material: Material) -> str:
    """Returns what the scenes are of, in few words."""
    return "synthetic scenes" if material.esc10 is None else "scenes of synthetic sounds and ESC-10"


def trained_on(material: Material) -> list[dict[str, str]]:
    """Returns what the weights have heard, and under which licence that is."""
    rows = [
        {
            "what": f"{material.num_events} synthetic events of the built-in generator",
            "licence": "Apache-2.0, as sepcon",
        }
    ]
    if material.esc10 is not None:
        rows.append(
            {
                "what": (
                    f"clips of ESC-10 but those of fold {material.test_fold}: {material.num_clips} "
                    f"clips in all folds ({material.num_left_out} left out for their licence)"
                ),
                "licence": "CC BY, each clip CC0 or CC BY; no other clip of ESC-50",
            }
        )
    return rows


def _with_interval(row: Mapping[str, Any], name: str) -> dict[str, float]:
    return {
        "value": round(row[name], 4),
        "low_95": round(row[f"{name}_low"], 4),
        "high_95": round(row[f"{name}_high"], 4),
    }
