"""Writes an encoder, classifier or separator as a SavedModel that takes waveform."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from sepcon.errors import SepconError, one_line, write_error
from sepcon.models.classifier import load_classifier
from sepcon.models.encoder_files import load_encoder
from sepcon.models.fingerprint import encoder_fingerprint
from sepcon.models.graphs.real_time import times_real_time
from sepcon.models.model_file import MODEL_FILE, read_kind
from sepcon.models.packaged import folder_of
from sepcon.models.products.card import model_card
from sepcon.models.products.channel_embedding import Channels, with_channels
from sepcon.models.products.class_map import class_map
from sepcon.models.products.classification import ClassificationModel, classifier_fingerprint
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.models.products.saved_model import (
    CLASS_MAP_FILE,
    MODEL_CARD_FILE,
    SAVED_MODEL_FOLDER,
    read_model_card,
)
from sepcon.models.products.separation import SeparationModel, separator_fingerprint
from sepcon.models.separator.network import chosen_step, load_separator
from sepcon.runs.seals import write_seals
from sepcon.runs.whole_file import whole_folder


@dataclasses.dataclass(frozen=True)
class Product:
    """What is exported.

    Attributes:
      module: the graph: EmbeddingModel, ClassificationModel or SeparationModel.
      facts: what a user must know of this kind of model, JSON-able.
      summary: the same in a few words.
      files: further assets: the text of each by its name.
    """

    module: Any
    facts: dict[str, Any]
    summary: str
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)


def write_saved_model(
    *,
    run_dir: str | Path,
    model: str | Path,
    step: int | None = None,
    hop_seconds: float | None = None,
    channels: Channels | None = None,
    licence: str = "",
    config_text: str = "",
) -> Path:
    """Writes run_dir/saved_model: waveform in, embeddings, class probabilities or sources out.

    What it gives depends on the kind of run (see `EmbeddingModel`, `ClassificationModel` and
    `SeparationModel`). Beside the graph it holds assets/model_card.json (rates, sizes, step,
    licence, measures, git revision, gin), assets/model.json (the architecture) and, of a
    classifier, assets/class_map.csv. It appears whole or not at all.

    Args:
      run_dir: where to write; may be the run itself.
      model: run folder of `sepcon pretrain` or `sepcon train_separator`, or of one fold and seed of
        `sepcon finetune`; or a name of packaged weights.
      step: which state to take; by default the last one, of a classifier that which validation has
        chosen.
      hop_seconds: time between patches of an encoder, half a patch by default.
      channels: of an encoder, a separator that is put in front of it, see
        `ChannelEmbeddingModel`. How many times faster than real time both are on one core is
        measured, printed, and noted in the card.
      licence: of the weights, for the model card, such as "CC-BY-4.0".
      config_text: the resolved configuration, kept in the model card.

    Returns:
      The SavedModel folder.

    Raises:
      SepconError: `model` is no such run, lacks the step, or is of a kind that has no SavedModel;
        run_dir cannot be written or already holds another SavedModel.
    """
    with _made_for_saving():
        product = open_product(model, step, hop_seconds, channels)
    card = model_card(product.facts, model, config_text=config_text, licence=licence)
    target = Path(run_dir) / SAVED_MODEL_FOLDER
    if target.exists():
        _check_same_model(target, card)
        print(f"{target} is there already and is this very model: nothing to do.")
        return target
    if channels is not None:
        card |= _cost(product, open_product(model, step, hop_seconds))
    _write(product, card, folder_of(model) / MODEL_FILE, target)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    print(
        f"Wrote {target} ({size / 1e6:.1f} MB): step {card['training_step']} of {model}, "
        f"{product.summary}."
    )
    if channels is not None:
        print(
            f"On one core it is {_rounded(card['times_real_time'])} times as fast as real time; "
            f"without the separator {_rounded(card['times_real_time_without_channels'])} times."
        )
    return target


def _cost(product: Product, alone: Product) -> dict[str, float]:
    """What channels cost at inference: times real time on one core, with and without them."""
    rate = product.facts["sample_rate_hz"]
    return {
        "times_real_time": round(times_real_time(product.module, rate), 2),
        "times_real_time_without_channels": round(times_real_time(alone.module, rate), 2),
    }


def _rounded(value: float) -> str:
    """A number to three digits, without an exponent."""
    return f"{float(f'{value:.3g}'):,g}"


def has_saved_model(model: str | Path) -> bool:
    """Whether a SavedModel is defined for the kind of network that a run folder describes."""
    kind = _kind(model)
    return kind is None or kind in _makers()


def _makers() -> dict[str, Callable[[str | Path, int | None, float | None], Product]]:
    """What makes the product of each kind of network, by the 'kind' in its model.json."""
    return {"encoder": _encoder, "classifier": _classifier, "separator": _separator}


def open_product(
    model: str | Path,
    step: int | None = None,
    hop_seconds: float | None = None,
    channels: Channels | None = None,
) -> Product:
    """Opens a trained model as what `write_saved_model` would write.

    Args:
      model: folder of the run.
      step: which state; by default the last, of a classifier the one that validation has chosen.
      hop_seconds: time between patches of an encoder, half a patch by default.
      channels: of an encoder, what is put in front of it.

    Returns:
      The model and what is said of it.

    Raises:
      SepconError: `model` is no such run, lacks the step, or is of a kind that has no SavedModel;
        or channels are asked for of what is no encoder.
    """
    if not has_saved_model(model):
        raise SepconError(
            f"{model} holds a network of kind {_kind(model)!r}, of which no SavedModel is defined, "
            f"only of kind {', '.join(_makers())}; its weights are under states/"
        )
    if channels is not None:
        if _kind(model) not in (None, "encoder"):
            raise SepconError(
                f"channels: {model} is a {_kind(model)}, and a separator is put in front of "
                "encoders alone: leave it out"
            )
        return _encoder_with_channels(model, step, hop_seconds, channels.without_labels())
    # Of a folder without a description too: loading an encoder tells what is wrong with it.
    return _makers()[_kind(model) or "encoder"](model, step, hop_seconds)


def _kind(model: str | Path) -> str | None:
    """What a run folder says it holds; whoever loads it tells what is wrong with it."""
    try:
        return read_kind(folder_of(model))
    except SepconError:
        return None


def _encoder(model: str | Path, step: int | None, hop_seconds: float | None) -> Product:
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
    facts = {
        "kind": "encoder",
        "sample_rate_hz": loaded.log_mel.sample_rate_hz,
        "patch_seconds": loaded.patch_seconds,
        "hop_seconds": module.exact_hop_seconds,
        "embedding_size": int(module.embedding_size()),
        "log_mel": dataclasses.asdict(loaded.log_mel),
        "training_step": loaded.step,
        "num_parameters": loaded.encoder.count_params(),
        "fingerprint": encoder_fingerprint(loaded.config, loaded.encoder, module),
    }
    summary = (
        f"waveform at {facts['sample_rate_hz']} Hz to {facts['embedding_size']} numbers per patch "
        f"of {facts['patch_seconds']:g} s, every {facts['hop_seconds']:g} s"
    )
    return Product(module, facts, summary)


def _encoder_with_channels(
    model: str | Path, step: int | None, hop_seconds: float | None, channels: Channels
) -> Product:
    loaded = load_encoder(model, step)
    try:
        made = with_channels(loaded.encoder, loaded.config, channels, hop_seconds=hop_seconds)
    except ValueError as error:
        raise SepconError(f"cannot export {model}: {one_line(error)}") from error
    facts = {
        "kind": "encoder",
        "sample_rate_hz": loaded.log_mel.sample_rate_hz,
        "patch_seconds": loaded.patch_seconds,
        "hop_seconds": made.module.exact_hop_seconds,
        "embedding_size": made.embedding_size,
        "log_mel": dataclasses.asdict(loaded.log_mel),
        "training_step": loaded.step,
        "num_parameters": loaded.encoder.count_params() + made.num_parameters,
        "channels": made.facts,
        "fingerprint": made.fingerprint,
    }
    summary = (
        f"waveform at {facts['sample_rate_hz']} Hz to {facts['embedding_size']} numbers per patch "
        f"of {facts['patch_seconds']:g} s, every {facts['hop_seconds']:g} s, of the mixture and of "
        f"the channels of {channels.separator}"
    )
    return Product(made.module, facts, summary)


def _classifier(model: str | Path, step: int | None, hop_seconds: float | None) -> Product:
    loaded = load_classifier(model, step)
    config = loaded.config
    try:
        module = ClassificationModel(
            loaded.model,
            loaded.log_mel,
            patch_seconds=config.encoder.patch_seconds,
            class_names=config.class_names,
            hop_seconds=hop_seconds,
        )
    except ValueError as error:
        raise SepconError(f"cannot export {model}: {one_line(error)}") from error
    hop = module.exact_hop_seconds
    facts = {
        "kind": "classifier",
        "sample_rate_hz": loaded.log_mel.sample_rate_hz,
        "patch_seconds": config.encoder.patch_seconds,
        "hop_seconds": hop,
        "class_names": config.class_names,
        "log_mel": dataclasses.asdict(loaded.log_mel),
        "training_step": loaded.step,
        "num_parameters": loaded.model.count_params(),
        "fingerprint": classifier_fingerprint(config.to_json(), loaded.model, hop),
    }
    summary = (
        f"waveform at {facts['sample_rate_hz']} Hz to probabilities of "
        f"{len(config.class_names)} classes"
    )
    return Product(module, facts, summary, {CLASS_MAP_FILE: class_map(config.class_names)})


def _separator(model: str | Path, step: int | None, hop_seconds: float | None) -> Product:
    if hop_seconds is not None:
        raise SepconError(
            f"hop_seconds: got {hop_seconds}, but {model} is a separator: leave it out"
        )
    separator = load_separator(model, step)
    facts = {
        "kind": "separator",
        "sample_rate_hz": separator.config.sample_rate_hz,
        "num_sources": separator.config.num_sources,
        "separator": dataclasses.asdict(separator.config),
        "training_step": chosen_step(folder_of(model), step),
        "num_parameters": separator.count_params(),
        "fingerprint": separator_fingerprint(separator),
    }
    summary = f"waveform at {facts['sample_rate_hz']} Hz to {facts['num_sources']} sources"
    return Product(SeparationModel(separator), facts, summary)


def _check_same_model(target: Path, card: dict[str, Any]) -> None:
    try:
        existing = read_model_card(target) or {}
    except SepconError:
        existing = {}
    if existing.get("fingerprint") != card["fingerprint"]:
        raise SepconError(
            f"{target} holds another model and is left as it is. "
            "Give another run_dir, or remove that folder."
        )


def _write(product: Product, card: dict[str, Any], config_file: Path, target: Path) -> None:
    module, texts = product.module, {MODEL_CARD_FILE: json.dumps(card, indent=1), **product.files}
    # The assets' originals stand in the scratch, so that one disk alone can be full.
    with (
        whole_folder(target) as scratch,
        tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as originals,
    ):
        paths = {name: Path(originals) / name for name in texts}
        for name, text in texts.items():
            paths[name].write_text(text)
        # As assets they move along when a user saves the loaded model inside another.
        for path in (*paths.values(), config_file):
            setattr(module, _asset_name(path), tf.saved_model.Asset(str(path)))
        with _made_for_saving():
            signatures = module.signatures
        try:
            tf.saved_model.save(module, str(scratch), signatures=signatures)
        except tf.errors.OpError as error:
            raise write_error(target, error) from error
        shutil.rmtree(originals)
        files = [path for path in scratch.rglob("*") if path.is_file()]
        write_seals(scratch, [path.relative_to(scratch).as_posix() for path in files])


@contextlib.contextmanager
def _made_for_saving() -> Iterator[None]:
    """Graphs of calls that are made inside are found by `tf.saved_model.save`, not made again."""
    try:
        save_context = importlib.import_module("tensorflow.python.saved_model.save_context")
    except ImportError:  # It is no public part of TensorFlow: without it the same takes longer.
        yield
        return
    with save_context.save_context(tf.saved_model.SaveOptions()):
        yield


def _asset_name(path: Path) -> str:
    """What a loaded model calls the file: `model_card_file`, `model_config_file`, and so on."""
    return {MODEL_FILE: "model_config_file"}.get(path.name, f"{path.stem}_file")
