"""`sepcon separate`: recordings, or every clip of a data set, are split into channels."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import tensorflow as tf
from scipy.optimize import linear_sum_assignment

from sepcon import run_folder
from sepcon.data.channels import ChannelWriter
from sepcon.data.clips import ClipDataset, to_float
from sepcon.data.decode import decode_file
from sepcon.data.labels import find_audio
from sepcon.errors import SepconError
from sepcon.models.separator import Separator, load_separator
from sepcon.models.weights import list_states
from sepcon.progress import Progress, track

Waveform = npt.NDArray[np.float32]


def separate(
    *,
    run_dir: str | Path,
    separator: str,
    step: int | None = None,
    clips: ClipDataset | None = None,
    files: Sequence[str] = (),
    batch_size: int = 8,
    window_seconds: float = 10.0,
    config_text: str = "",
) -> Path:
    """Separates files into FLAC files, or a data set into stored channels for pretraining.

    Args:
      run_dir: receives `<file>/channel_<n>.flac` for each file; the stored channels of a data set.
      separator: run folder of `sepcon train_separator`.
      step: which of its states; the last by default.
      clips: the data set; all clips of one length.
      files: recordings, or folders of them; given, the data set is left alone.
      batch_size: clips of the data set at a time.
      window_seconds: long recordings are separated in windows of this length.
      config_text: the resolved configuration, kept in run_dir.

    Returns:
      The run folder.

    Raises:
      SepconError: no such run or state, nothing to separate, or the folder cannot be written.
    """
    folder = Path(run_dir)
    if not run_folder.begin(folder, config_text=config_text):
        return folder
    network = load_separator(separator, step)
    if files:
        count = _separate_files(network, files, folder, window_seconds)
    elif clips is not None:
        reached = list_states(separator)[-1] if step is None else step
        count = _store(network, clips, folder, batch_size, str(separator), reached)
    else:
        raise SepconError("nothing to separate: give files, or bind separate.clips in gin")
    run_folder.finish(folder, {"separated": count})
    return folder


def _store(
    network: Separator,
    clips: ClipDataset,
    folder: Path,
    batch_size: int,
    checkpoint: str,
    step: int,
) -> int:
    """Stores the channels of every clip in order; goes on after the last finished shard."""
    separate_batch = _compiled(network)
    writer = ChannelWriter(
        folder,
        clips=clips,
        num_channels=network.config.num_sources,
        checkpoint=checkpoint,
        step=step,
    )
    description = f"separate {clips.name}"
    with (
        writer,
        Progress(clips.num_clips, description, unit="clip", initial=writer.num_done) as progress,
    ):
        for batch in clips.build().skip(writer.num_done).batch(batch_size):
            channels = separate_batch(to_float(batch["audio"])).numpy()
            for identifier, each in zip(batch["id"].numpy(), channels, strict=True):
                writer.write(identifier, each)
            progress.advance(len(channels))
    return clips.num_clips


def _compiled(network: Separator) -> Callable[[tf.Tensor], tf.Tensor]:
    """The separator as one graph for any number of clips of any length."""
    signature = [tf.TensorSpec([None, None], tf.float32)]
    return tf.function(network, input_signature=signature, autograph=False)


def _separate_files(
    network: Separator, files: Sequence[str], folder: Path, window_seconds: float
) -> int:
    """Separates every file that can be decoded; names and counts the others."""
    paths = [path for name in files for path in _audio_files(Path(name))]
    skipped = 0
    rate = network.config.sample_rate_hz
    separate_one = _compiled(network)
    for path in track(paths, len(paths), "separate", unit="file"):
        try:
            waveform = decode_file(path).astype(np.float32) / 32768.0
            channels = separate_waveform(
                lambda window: separate_one(window[np.newaxis]).numpy()[0],
                waveform,
                window_samples=round(window_seconds * rate),
            )
            write_channels(folder / path.name, channels, rate)
        except SepconError as error:
            skipped += 1
            print(f"sepcon: skipped {error}", file=sys.stderr)
    if skipped == len(paths):
        raise SepconError(f"none of the {skipped} files could be separated; see the lines above")
    print(f"{folder}: channels of {len(paths) - skipped} files, {skipped} skipped")
    return len(paths) - skipped


def _audio_files(path: Path) -> Sequence[Path]:
    return find_audio(str(path)) if path.is_dir() else [path]


def write_channels(folder: Path, channels: Waveform, sample_rate_hz: int) -> None:
    """Writes channels [channel, samples] as channel_<n>.flac."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, channel in enumerate(channels):
            soundfile.write(folder / f"channel_{number}.flac", channel, sample_rate_hz)
    except (OSError, soundfile.LibsndfileError) as error:
        raise SepconError(f"{folder}: channels cannot be written: {error}") from error


def separate_waveform(
    separate_window: Callable[[Waveform], Waveform], waveform: Waveform, *, window_samples: int
) -> Waveform:
    """Separates a recording of any length in windows that overlap by half.

    The channels of a window come in any order: each window's are put in the order in which they
    agree best with the windows before, over the overlap, and faded over linearly. The two fades
    sum to one, so channels that sum to the mixture in every window do so in the whole.

    Args:
      separate_window: [samples] -> [channel, samples].
      waveform: [samples] float32.
      window_samples: samples of a window; a recording that is no longer goes in one piece.

    Returns:
      [channel, samples] float32.
    """
    length, hop = len(waveform), window_samples // 2
    if length <= window_samples:
        return separate_window(waveform)
    starts = [*range(0, length - window_samples, hop), length - window_samples]
    channels = separate_window(waveform[:window_samples])
    whole = np.zeros((len(channels), length), np.float32)
    whole[:, :window_samples] = channels
    for before, start in itertools.pairwise(starts):
        overlap = before + window_samples - start
        channels = separate_window(waveform[start : start + window_samples])
        known = whole[:, start : start + overlap]
        channels = channels[best_order(reference=known, estimate=channels[:, :overlap])]
        fade = np.linspace(0.0, 1.0, overlap, dtype=np.float32)
        known *= 1.0 - fade
        known += channels[:, :overlap] * fade
        whole[:, start + overlap : start + window_samples] = channels[:, overlap:]
    return whole


def best_order(*, reference: Waveform, estimate: Waveform) -> npt.NDArray[np.int64]:
    """Returns the permutation of the estimates with the least squared error to the references.

    Args:
      reference: [channel, samples].
      estimate: [channel, samples].

    Returns:
      [channel] int64: estimate[order] lies closest to the reference.
    """
    # The squared norms are the same for every order: only the inner products decide.
    return linear_sum_assignment(reference @ estimate.T, maximize=True)[1]
