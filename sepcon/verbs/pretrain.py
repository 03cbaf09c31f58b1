"""`sepcon pretrain`: an encoder learns from mixtures and their separated channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from sepcon.audio.log_mel import LogMel
from sepcon.data.channels import StoredChannels, stored_channels
from sepcon.data.clips import ClipDataset
from sepcon.data.stream import TrainingStream
from sepcon.errors import SepconError
from sepcon.models.encoder_files import save_encoder_config
from sepcon.models.products.write import write_saved_model
from sepcon.models.separator.network import load_separator
from sepcon.models.weights import state_folder, write_weights
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.tasks.log_mel_views import LogMelViews
from sepcon.tasks.pretraining import PretrainingTask
from sepcon.tasks.supervised import SupervisedTask
from sepcon.training.distribution import is_chief, make_strategy
from sepcon.training.loop import FitResult, fit
from sepcon.training.runtime import make_deterministic
from sepcon.training.task import Task
from sepcon.views.augment import Augmentation
from sepcon.views.clip_length import check_rate, clip_samples
from sepcon.views.example_mixing import ExampleMixing
from sepcon.views.sampler import ViewSampler
from sepcon.views.separator_front_end import SeparatorFrontEnd


@claims_run_dir
def pretrain(
    *,
    run_dir: str | Path,
    clips: ClipDataset,
    encoder: Callable[..., keras.Model],
    views: ViewSampler,
    batch_size: int,
    num_steps: int,
    optimizer: Callable[[], keras.optimizers.Optimizer],
    log_mel: LogMel | None = None,
    clip_seconds: float | None = None,
    anchor_augmentations: Sequence[Augmentation] = (),
    positive_augmentations: Sequence[Augmentation] = (),
    waveform_augmentations: Sequence[Augmentation] = (),
    example_mixing: ExampleMixing | None = None,
    similarity_weight: float = 1.0,
    coincidence_weight: float = 1.0,
    temperature: float = 0.2,
    projection_hidden_sizes: Sequence[int] = (512, 256),
    coincidence_hidden_sizes: Sequence[int] = (256, 64),
    supervised: bool = False,
    channels: Sequence[str] = (),
    channels_dir: str = "",
    separators: Sequence[tuple[str, int | None]] = (),
    recalibration_batches: int = 50,
    shuffle_buffer: int | None = None,
    loop: Callable[..., FitResult] = fit,
    strategy: str = "default",
    seed: int = 0,
    config_text: str = "",
) -> Path | None:
    """Pretrains an encoder and exports it; a stopped run goes on to the very step.

    Fonseca et al., 2021: similarity maximization and coincidence prediction on pairs of views.

    Args:
      run_dir: receives everything; the encoder's weights stand under states/, its SavedModel in
        saved_model/.
      clips: unlabelled clips to learn from.
      encoder: makes the encoder, given `num_frames` and `num_mels`.
      views: draws the pairs of patches.
      batch_size: clips in the global batch.
      num_steps: training steps.
      optimizer: makes the optimizer.
      log_mel: the front-end; the usual one by default.
      clip_seconds: what is read of each clip; needed where clips differ in length.
      anchor_augmentations: on the log-mel of the anchor.
      positive_augmentations: on the log-mel of the positive.
      waveform_augmentations: on the waveforms of both, before.
      example_mixing: mixes other clips softly into both views; None for none.
      similarity_weight: weight of NT-Xent; 0 leaves it out.
      coincidence_weight: weight of coincidence prediction; 0 leaves it out.
      temperature: of NT-Xent.
      projection_hidden_sizes: hidden layers of the head of NT-Xent; none makes it linear.
      coincidence_hidden_sizes: hidden layers of the head of coincidence prediction, at least one.
      supervised: trains with the labels of the clips in place of both objectives: what
        pretraining is held against.
      channels: folders of stored channels (`sepcon separate`), one for each separator state.
      channels_dir: where those folders are, unless their paths are whole.
      separators: in place of `channels`, separators to run on the fly: (run folder, step or None
        for the last). Each sees every batch: several cost as many times as much.
      recalibration_batches: batches of plain mixtures on which the statistics of batch
        normalisation are taken anew in the end; 0 keeps those of training.
      shuffle_buffer: see `TrainingStream`.
      loop: the training loop.
      strategy: `default`, `mirrored`, `multi_worker` or `tpu`.
      seed: of weights, order, crops and augmentations.
      config_text: the resolved configuration, kept in run_dir.

    Returns:
      The SavedModel folder; None for a worker that is not the first of several.

    Raises:
      Interrupted: a signal stopped the run; the same call goes on.
      SepconError: an argument, a file or the disk is not as it must be; what was saved stays.
    """
    folder, log_mel = Path(run_dir), log_mel or LogMel()
    if not run_folder.begin(folder, config_text=config_text):
        return folder / "saved_model"
    _check_channels(views, channels, separators)
    check_rate(clips, log_mel)
    scope = make_strategy(strategy)
    with scope.scope():
        front_end = _front_end(separators)
        # Not before: loading takes seeds too, and weights shall be those with stored channels.
        make_deterministic(seed)
        network = encoder(
            num_frames=log_mel.num_frames(views.patch_samples), num_mels=log_mel.num_mels
        )
        patches = LogMelViews(
            log_mel=log_mel,
            views=views,
            anchor_augmentations=anchor_augmentations,
            positive_augmentations=positive_augmentations,
            waveform_augmentations=waveform_augmentations,
            example_mixing=example_mixing,
            front_end=front_end,
        )
        if supervised:
            task: Task = SupervisedTask(
                encoder=network, patches=patches, num_classes=_num_classes(clips)
            )
        else:
            task = PretrainingTask(
                encoder=network,
                patches=patches,
                similarity_weight=similarity_weight,
                coincidence_weight=coincidence_weight,
                temperature=temperature,
                projection_hidden_sizes=projection_hidden_sizes,
                coincidence_hidden_sizes=coincidence_hidden_sizes,
            )
        chosen_optimizer = optimizer()
    stream = TrainingStream(
        clips=clips,
        batch_size=batch_size,
        seed=seed,
        clip_samples=clip_samples(clips, clip_seconds, views),
        num_uniforms=task.num_uniforms,
        shuffle_buffer=shuffle_buffer,
        channels=_stored(channels, channels_dir),
    )
    if is_chief(scope):
        save_encoder_config(
            run_dir=folder, encoder=network, log_mel=log_mel, patch_seconds=views.patch_seconds
        )
    result = loop(
        task=task,
        stream=stream,
        optimizer=chosen_optimizer,
        num_steps=num_steps,
        run_dir=folder,
        strategy=scope,
        config_text=config_text,
        description=f"pretraining on {clips.name}",
    )
    if not is_chief(scope):
        return None
    if recalibration_batches:
        patches.recalibrate(network, stream.batches(num_steps).take(recalibration_batches))
        write_weights(network, state_folder(folder, num_steps))
    saved_model = write_saved_model(run_dir=folder, model=folder, config_text=config_text)
    run_folder.finish(folder, {"steps": result.step, "seconds": result.seconds})
    return saved_model


def _check_channels(
    views: ViewSampler, channels: Sequence[str], separators: Sequence[tuple[str, int | None]]
) -> None:
    """Raises a SepconError unless the views have just one place to take their channels from."""
    if channels and separators:
        raise SepconError("give either channels (stored) or separators (on the fly), got both")
    if views.needs_channels and not channels and not separators:
        raise SepconError(
            f"views of {', '.join(views.pairs)} need separated channels: bind CHANNELS to folders "
            "of `sepcon separate`, or SEPARATORS to separators"
        )
    if not views.needs_channels and (channels or separators):
        raise SepconError(
            f"views of {', '.join(views.pairs)} take no separated channels, got "
            f"{list(channels or separators)}: leave them out, or give a file of views/ that takes "
            "them, such as views/mixture_channel_equalized.gin"
        )


def _front_end(separators: Sequence[tuple[str, int | None]]) -> SeparatorFrontEnd | None:
    if not separators:
        return None
    return SeparatorFrontEnd([load_separator(run, step) for run, step in separators])


def _stored(channels: Sequence[str], parent: str) -> StoredChannels | None:
    if not channels:
        return None
    return stored_channels(paths=[str(Path(parent).expanduser() / name) for name in channels])


def _num_classes(clips: ClipDataset) -> int:
    if not clips.class_names:
        raise SepconError(
            f"{clips.name} has no labels, which supervised training learns from; take labelled "
            "clips, or pretrain.supervised = False"
        )
    return len(clips.class_names)
