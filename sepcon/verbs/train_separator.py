"""`sepcon train_separator`: a separation network learns from unlabelled scenes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from sepcon.data.clip_examples import ClipExamples
from sepcon.data.clips import ClipDataset
from sepcon.data.stream import TrainingStream
from sepcon.losses.overseparation import SparsityForm
from sepcon.models.products.card import STATE_MEASURES_FILE
from sepcon.models.separator.network import Separator, SeparatorConfig, load_separator
from sepcon.models.separator.network import save_separator_config as save_config
from sepcon.models.weights import list_states, read_weights, state_folder
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.separation.evaluate import MeasuredSeparator, evaluate_separation
from sepcon.separation.examples import example_scenes, write_example
from sepcon.tasks.separation import SeparationTask
from sepcon.training.checkpoints import steps_done
from sepcon.training.distribution import is_chief, make_strategy, wait_for_chief
from sepcon.training.loop import FitResult, fit
from sepcon.training.runtime import make_reproducible
from sepcon.verbs import resuming

EXAMPLES_FOLDER = "examples"


@claims_run_dir
def train_separator(
    *,
    run_dir: str | Path,
    clips: ClipDataset,
    batch_size: int,
    num_steps: int,
    optimizer: Callable[[], keras.optimizers.Optimizer],
    separator: SeparatorConfig | None = None,
    segment_seconds: float = 3.0,
    gain_range_db: float = 0.0,
    supervised_share: float = 0.0,
    sparsity_weight: float = 0.0,
    sparsity_form: SparsityForm = "l1",
    covariance_weight: float = 0.0,
    measure_on: ClipDataset | None = None,
    max_measured_clips: int = 200,
    num_examples: int = 3,
    loop: Callable[..., FitResult] = fit,
    strategy: str = "default",
    seed: int = 0,
    deterministic: bool | None = None,
    config_text: str = "",
) -> Path:
    """Trains a separator by MixIT; a stopped run goes on from the step where it was.

    Wisdom et al., 2020: the sum of two clips is separated into channels, from which sums are formed
    that must equal the two clips. That needs no labels, and no sources unless a share of the batch
    is supervised.

    Args:
      run_dir: receives everything; states/ holds the weights of the convergence states that the
        loop is told to keep.
      clips: unlabelled clips.
      batch_size: clips in the global batch; two make one mixture of mixtures.
      num_steps: training steps.
      optimizer: makes the optimizer.
      separator: the network; full TDCN++ by default.
      segment_seconds: what is taken of each clip.
      gain_range_db: each clip gets a random gain of up to plus or minus so much; 0 for none.
      supervised_share: share of each batch that is trained on the known sources of the clips, 0
        to 1; see `SeparationTask`, also for the losses against over-separation that follow.
      sparsity_weight: of the sparsity of the estimates.
      sparsity_form: `l1`, `l1_l2` or `log`.
      covariance_weight: of the covariance of the estimates.
      measure_on: scenes with known sources on which every kept state is measured in the end.
      max_measured_clips: how many of them.
      num_examples: of them, how many are separated into examples/ to listen to.
      loop: the training loop.
      strategy: `default`, `mirrored`, `multi_worker` or `tpu`.
      seed: of weights, order and crops.
      deterministic: whether a resumed run is the same to the bit, not in its data alone; None is
        yes on a CPU and no on accelerators, where some operations are slower so. Kept in run.json.
      config_text: the resolved configuration, kept in run_dir.

    Returns:
      The run folder.

    Raises:
      Interrupted: a signal stopped the run; the same call goes on.
      SepconError: an argument, a file or the disk is not as it must be; what was saved stays.
    """
    folder, config = Path(run_dir), separator or SeparatorConfig()
    done = steps_done(folder)
    if not resuming.begin(
        "train_separator",
        folder,
        config_text=config_text,
        under_way=done > 0,
        steps=num_steps,
        steps_done=done,
    ):
        return folder
    scope = make_strategy(strategy)
    deterministic = make_reproducible(seed, deterministic=deterministic)
    with scope.scope():
        network = Separator(config)
        task = SeparationTask(
            network,
            segment_seconds=segment_seconds,
            gain_range_db=gain_range_db,
            supervised_share=supervised_share,
            sparsity_weight=sparsity_weight,
            sparsity_form=sparsity_form,
            covariance_weight=covariance_weight,
        )
        chosen_optimizer = optimizer()
    stream = TrainingStream(
        examples=_examples(clips, segment_seconds, with_sources=supervised_share > 0.0),
        batch_size=batch_size,
        seed=seed,
        num_uniforms=task.num_uniforms,
    )
    task.check_batch(stream.batches(0).element_spec, scope.num_replicas_in_sync)

    def on_start() -> None:
        save_config(config, folder)
        resuming.keep_configuration("train_separator", folder, config_text, under_way=done > 0)

    result = loop(
        task=task,
        stream=stream,
        optimizer=chosen_optimizer,
        num_steps=num_steps,
        run_dir=folder,
        strategy=scope,
        config_text=config_text,
        description=f"separator on {clips.name}",
        on_start=on_start,
    )
    if not is_chief(scope):
        wait_for_chief(scope)
        return folder
    if measure_on is not None:
        _measure(folder, measure_on, max_measured_clips)
        _write_examples(folder, measure_on, num_examples)
    record = {"steps": result.step, "seconds": result.seconds, "deterministic": deterministic}
    run_folder.finish(folder, record)
    wait_for_chief(scope)
    return folder


def _examples(clips: ClipDataset, segment_seconds: float, *, with_sources: bool) -> ClipExamples:
    """Whole clips where they are equally long; else segments, cut when they are read."""
    whole = (clips.clip_samples or 0) >= round(segment_seconds * clips.sample_rate_hz)
    return ClipExamples(clips, None if whole else segment_seconds, with_sources=with_sources)


def _measure(folder: Path, clips: ClipDataset, max_clips: int) -> None:
    """Writes what every kept state is worth to separation.json and prints it."""
    rows: list[Mapping[str, Any]] = []
    separator = load_separator(folder)
    measured = MeasuredSeparator(separator)
    for step in list_states(folder):
        read_weights(separator, state_folder(folder, step))
        rows.append({"step": step, **evaluate_separation(measured, clips, max_clips=max_clips)})
        print(_line(rows[-1]), flush=True)
    run_folder.write_text(folder / STATE_MEASURES_FILE, json.dumps(rows, indent=2) + "\n")


def _line(row: Mapping[str, Any]) -> str:
    shown = [(key, row[key]) for key in row if key.startswith("si_snr") and key[-1] in "b12"]
    return f"step {row['step']}: " + ", ".join(f"{key} {value:.2f}" for key, value in shown)


def _write_examples(folder: Path, clips: ClipDataset, num_examples: int) -> None:
    """Separates the first scenes of several sources with the last state, to listen to."""
    separator = load_separator(folder)
    for scene in example_scenes(clips, num_examples):
        channels = separator(scene.mixture[np.newaxis]).numpy()[0]  # [channel, samples]
        examples = folder / EXAMPLES_FOLDER
        write_example(examples, scene, {"channel": channels}, clips.sample_rate_hz)
