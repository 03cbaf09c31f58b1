"""Runs what stages do, briefly and whenever it is asked to, for tools/plan.py --measure."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import soundfile
import tensorflow as tf
from benchmark_process import GEMM_GFLOP, Call, serve
from input_process import FORMS, Setting, make, read, stream_of
from plan_networks import (
    Networks,
    batch_spec,
    network_costs,
    pretraining_task,
    read_networks,
)
from separator_process import calls as separator_calls

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.embeddings.shallow import ShallowSettings, train_shallow_classifier
from sepcon.embeddings.store import Embeddings
from sepcon.errors import SepconError
from sepcon.importing.clip_source import ClipReference, ClipSource, FileReader
from sepcon.importing.import_folder import begin, write_shard
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.models.separator.network import Separator
from sepcon.training.runtime import configure_threads
from sepcon.training.step import StepFunction

_CLIP_SECONDS = 10.0
_CLIP_SAMPLES = round(_CLIP_SECONDS * SAMPLE_RATE_HZ)
_CLASSES = 527
_IMPORTED_CLIPS = 4
_READ_CLIPS = 32
_READ_BATCHES = 4
_READ_BATCH = 64
_CLASSIFIED_ROWS = 4096


def main() -> None:
    """Answers until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gin_file", action="append", default=[])
    parser.add_argument("--gin_bindings", action="append", default=[])
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    configure_threads(options.threads)
    keras.utils.set_random_seed(0)
    networks = read_networks(options.gin_file, options.gin_bindings)
    with tempfile.TemporaryDirectory() as folder:
        calls, work = make_calls(networks, Path(folder), options.batch)
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices()
        serve(
            calls,
            {"tensorflow": tf.__version__, "device": devices[0].device_type, "work": work},
        )


def make_calls(
    networks: Networks, folder: Path, batch: int
) -> tuple[dict[str, Call], dict[str, float]]:
    """Returns what is timed and how much each call does.

    Args:
      networks: what is planned.
      folder: for records and recordings, made here.
      batch: clips in a batch.

    Returns:
      The calls, and of each GFLOP, MB, examples, clips or rows.
    """
    small = networks.with_batch(batch)
    costs = network_costs(small, clip_samples=_CLIP_SAMPLES, num_classes=_CLASSES)
    separator = Separator(networks.separator)
    reference = 0.1 * tf.random.stateless_normal([2, 2, networks.segment_samples], [0, 0])
    of_separator = separator_calls(separator, reference)
    waveform = 0.1 * tf.random.stateless_normal([batch, _CLIP_SAMPLES], [0, 1])
    separate, embed = tf.function(separator), _embedding_model(networks)
    timed: dict[str, tuple[Call, float]] = {
        "gemm": (of_separator["gemm"], GEMM_GFLOP),
        "separator_forward": (lambda: separate(waveform), 1e-9 * batch * costs.separate_flops),
        "separator_step": (
            of_separator["step"],
            1e-9 * 2 * costs.separator_step_flops / networks.separator_rows,
        ),
        "pretraining_step": (_pretraining_step(small), 1e-9 * costs.pretraining_step_flops),
        "embed": (lambda: embed(waveform), 1e-9 * batch * costs.embed_flops),
        "import": (_importing(folder), _IMPORTED_CLIPS),
        **_reading(networks, folder),
        "classifier": (_classifying(networks.classifier, costs.embedding_size), _CLASSIFIED_ROWS),
    }
    return (
        {name: _finished(call) for name, (call, _) in timed.items()},
        {name: work for name, (_, work) in timed.items()},
    )


def _finished(call: Call) -> Call:
    """Waits for what a call has only begun on an accelerator."""

    def wait() -> None:
        for value in tf.nest.flatten(call()):
            if tf.is_tensor(value):
                value.numpy()

    return wait


def _embedding_model(networks: Networks) -> EmbeddingModel:
    return EmbeddingModel(
        networks.encoder, networks.log_mel, patch_seconds=networks.views.patch_seconds
    )


def _pretraining_step(networks: Networks) -> Call:
    """A step of training on one batch, again and again."""
    task, optimizer = pretraining_task(networks, _CLASSES), networks.optimizer
    optimizer.build(task.model.trainable_variables)
    spec = batch_spec(
        task,
        networks,
        batch_size=networks.pretraining_batch,
        clip_samples=_CLIP_SAMPLES,
        num_classes=_CLASSES,
    )
    random = np.random.default_rng(0)
    batch = {
        name: tf.constant(
            random.random(each.shape, np.float32)
            if each.dtype == tf.float32
            else random.integers(-9999, 9999, each.shape, np.int16)
        )
        for name, each in spec.items()
    }
    step = StepFunction(task=task, optimizer=optimizer, strategy=tf.distribute.get_strategy())
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    return lambda: step(batches, 1)


def _importing(folder: Path) -> Call:
    """Imports a shard of recordings as AudioSet is distributed: 48 kHz, stereo, 24-bit FLAC."""
    noise = np.random.default_rng(0).normal(0.0, 0.1, (round(48000 * _CLIP_SECONDS), 2))
    soundfile.write(folder / "recording.flac", noise, 48000, subtype="PCM_24")
    references = [
        ClipReference(id=str(number), source="recording.flac") for number in range(_IMPORTED_CLIPS)
    ]
    source = ClipSource("noise", (), references, FileReader(folder))
    begin(folder / "import", source, clips_per_shard=_IMPORTED_CLIPS)
    return lambda: write_shard(folder / "import", 0, source.read, references)


def _reading(networks: Networks, folder: Path) -> dict[str, tuple[Call, float]]:
    """Streams of training from the page cache: whole records, and their MB; examples of patches."""
    setting = Setting(
        folder / "input",
        channels=networks.separator.num_sources if networks.views.needs_channels else 0,
        clip_seconds=_CLIP_SECONDS,
        patch_seconds=networks.views.patch_seconds,
        batch=_READ_BATCH,
    )
    setting.folder.mkdir()
    make(setting, _READ_CLIPS)
    patches, whole = (stream_of(setting, form) for form in FORMS)
    megabytes = 2e-6 * (1 + setting.channels) * _CLIP_SAMPLES * _READ_BATCH
    return {
        "records": (lambda: read(whole, setting, _READ_BATCHES), _READ_BATCHES * megabytes),
        "patches": (
            lambda: read(patches, setting, 8 * _READ_BATCHES),
            8 * _READ_BATCHES * _READ_BATCH,
        ),
    }


def _classifying(settings: ShallowSettings, embedding_size: int) -> Callable[[], Any]:
    """One pass of the shallow classifier."""
    random = np.random.default_rng(0)
    labels = (random.random((_CLASSIFIED_ROWS, _CLASSES)) < 0.01).astype(np.uint8)
    train = Embeddings(
        ids=np.arange(_CLASSIFIED_ROWS).astype(str),
        embedding=random.normal(size=(_CLASSIFIED_ROWS, embedding_size)).astype(np.float32),
        labels=labels,
        class_names=tuple(map(str, range(_CLASSES))),
    )
    few = slice(_CLASSIFIED_ROWS // 16)
    validation = dataclasses.replace(
        train, ids=train.ids[few], embedding=train.embedding[few], labels=labels[few]
    )
    once = dataclasses.replace(settings, max_epochs=1, l2=settings.l2[:1])
    return lambda: train_shallow_classifier(train=train, validation=validation, settings=once)


if __name__ == "__main__":
    try:
        main()
    except SepconError as error:
        sys.exit(str(error).splitlines()[0])
