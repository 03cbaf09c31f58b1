"""Separated scenes as files to listen to: the mixture, its sources, and what was made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

from sepcon.data.clips import ClipDataset, to_float, with_sources
from sepcon.errors import write_error
from sepcon.runs.names import path_inside
from sepcon.runs.whole_file import whole_folder


@dataclasses.dataclass(frozen=True)
class ExampleScene:
    """A scene to listen to.

    Attributes:
      id: of the scene.
      title: the id and what can be heard, where that is known.
      mixture: [samples] float32.
      sources: [active source, samples] float32.
    """

    id: str
    title: str
    mixture: np.ndarray
    sources: np.ndarray


def example_scenes(clips: ClipDataset, num_examples: int) -> list[ExampleScene]:
    """Returns the first scenes of two sources: the easiest to judge by ear.

    Args:
      clips: scenes with known sources.
      num_examples: how many, if there are so many.
    """
    found: list[ExampleScene] = []
    for clip in with_sources(clips).as_numpy_iterator():
        if len(found) == num_examples:
            break
        active = clip["sources"][np.any(clip["sources"], axis=1)]
        if len(active) != 2:
            continue
        mixture, sources = to_float(clip["audio"]).numpy(), to_float(active).numpy()
        present = zip(clips.class_names, clip["labels"], strict=True)
        heard = ", ".join(name for name, label in present if label)
        scene_id = clip["id"].decode()
        title = f"{scene_id} ({heard})" if heard else scene_id
        found.append(ExampleScene(scene_id, title, mixture, sources))
    return found


def write_example(
    folder: Path, scene: ExampleScene, channels: Mapping[str, np.ndarray], sample_rate_hz: int
) -> dict[str, Path]:
    """Writes a scene as FLAC files.

    Args:
      folder: receives a folder named by the scene with mixture.flac, source_0.flac ... and those
        of the channels.
      scene: what was separated.
      channels: by the beginning of their files' names, [channel, samples] float32.
      sample_rate_hz: of all of them.

    Returns:
      The files by their names without ending.

    Raises:
      SepconError: the name of the scene leads out of the folder.
      WriteError: they cannot be written.
    """
    target = path_inside(folder, scene.id, source=Path("a scene of the data set"))
    tracks = {"mixture": scene.mixture}
    for prefix, waveforms in {"source": scene.sources, **channels}.items():
        tracks |= {f"{prefix}_{number}": waveform for number, waveform in enumerate(waveforms)}
    with whole_folder(target) as scratch:
        try:
            for name, track in tracks.items():
                soundfile.write(scratch / f"{name}.flac", track, sample_rate_hz)
        except soundfile.LibsndfileError as error:
            raise write_error(target, error) from error
    return {name: target / f"{name}.flac" for name in tracks}
