"""`sepcon export`: a pretraining run becomes a SavedModel that takes raw waveform."""

from __future__ import annotations

import dataclasses
import datetime
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

import sepcon
from sepcon.errors import SepconError, one_line
from sepcon.models.embedders import MODEL_CARD_FILE, SAVED_MODEL_FOLDER, encoder_fingerprint
from sepcon.models.embedding import EmbeddingModel
from sepcon.models.encoder_files import CONFIG_FILE, LoadedEncoder, load_encoder


def export(
    *,
    run_dir: str | Path,
    model: str | Path,
    step: int | None = None,
    hop_seconds: float | None = None,
    config_text: str = "",
) -> Path:
    """Writes run_dir/saved_model: waveform in, embeddings out (see `EmbeddingModel`).

    Beside the graph it holds assets/model_card.json (rates, sizes, step, git revision, gin) and
    assets/model.json (the architecture). It appears whole or not at all.

    Args:
      run_dir: where to write; may be the pretraining run itself.
      model: run folder of `sepcon pretrain`.
      step: which state to take, the last one by default.
      hop_seconds: time between patches, half a patch by default.
      config_text: the resolved configuration, kept in the model card.

    Returns:
      The SavedModel folder.

    Raises:
      SepconError: `model` is no pretraining run or lacks the step; run_dir cannot be written or
        already holds the SavedModel of another encoder.
    """
    loaded = load_encoder(model, step)
    try:
        module = EmbeddingModel(
            loaded.encoder,
            loaded.log_mel,
            patch_seconds=loaded.patch_seconds,
            hop_seconds=hop_seconds,
        )
    except ValueError as error:
        raise SepconError(f"cannot export {model}: {one_line(error)}") from error
    card = model_card(module, loaded, config_text=config_text)
    target = Path(run_dir) / SAVED_MODEL_FOLDER
    if target.exists():
        _check_same_model(target, card)
        print(f"{target} is there already and is this very model: nothing to do.")
        return target
    try:
        _write(module, card, loaded.config.to_json(), target)
    except (OSError, tf.errors.OpError) as error:
        raise SepconError(f"cannot write {target}: {one_line(error)}") from error
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    print(
        f"Wrote {target} ({size / 1e6:.1f} MB): step {loaded.step} of {model}, waveform at "
        f"{card['sample_rate_hz']} Hz to {card['embedding_size']} numbers per patch of "
        f"{card['patch_seconds']:g} s, every {card['hop_seconds']:g} s."
    )
    return target


def model_card(
    module: EmbeddingModel, loaded: LoadedEncoder, *, config_text: str = ""
) -> dict[str, Any]:
    """Returns what a user of the SavedModel must know, as JSON-able values."""
    return {
        "sample_rate_hz": loaded.log_mel.sample_rate_hz,
        "waveform": "float32 in [-1, 1], [batch, samples] or [samples]",
        "patch_seconds": loaded.patch_seconds,
        "hop_seconds": module.exact_hop_seconds,
        "embedding_size": int(module.embedding_size()),
        "log_mel": dataclasses.asdict(loaded.log_mel),
        "training_step": loaded.step,
        "num_parameters": loaded.encoder.count_params(),
        "fingerprint": encoder_fingerprint(loaded.config, loaded.encoder, module),
        "sepcon_version": sepcon.__version__,
        "tensorflow_version": tf.__version__,
        **git_revision(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "gin": config_text,
    }


def git_revision() -> dict[str, Any]:
    """Returns {'git_revision', 'git_dirty'} of the running source, None where there is no git."""
    package = Path(sepcon.__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed copy inside somebody else's checkout must not claim that one's revision.
        git("ls-files", "--error-unmatch", "__init__.py")
        return {
            "git_revision": git("rev-parse", "HEAD"),
            "git_dirty": bool(git("status", "--porcelain", "--", ".")),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"git_revision": None, "git_dirty": None}


def _check_same_model(target: Path, card: dict[str, Any]) -> None:
    file = target / "assets" / MODEL_CARD_FILE
    try:
        existing = json.loads(file.read_text())["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        existing = None
    if existing != card["fingerprint"]:
        raise SepconError(
            f"{target} holds another model and is left as it is. "
            "Give another run_dir, or remove that folder."
        )


def _write(module: EmbeddingModel, card: dict[str, Any], config: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.tmp")  # Of a killed export too: made anew.
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            card_file = Path(folder) / MODEL_CARD_FILE
            card_file.write_text(json.dumps(card, indent=1))
            config_file = Path(folder) / CONFIG_FILE
            config_file.write_text(config)
            # As assets they move along when a user saves the loaded model inside another.
            module.model_card_file = tf.saved_model.Asset(str(card_file))
            module.encoder_config_file = tf.saved_model.Asset(str(config_file))
            tf.saved_model.save(module, str(temporary), signatures=module.signatures)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
