"""Sound scenes as a TFDS data set: mixture, labels and the sources behind them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.prepared import is_prepared, ordered_key
from sepcon.datasets.esc50.prepared_esc50 import NAME as ESC50
from sepcon.datasets.esc50.prepared_esc50 import prepared_folder
from sepcon.runs.progress import Progress
from sepcon.scenes.recipe import SPLITS, Mixer, SceneRecipe
from sepcon.scenes.recordings import earlier_identities_of, identity_of, open_recordings

_VERSION = "1.0.0"


@dataclasses.dataclass(eq=False)
class SoundScenesConfig(tfds.core.BuilderConfig):
    """Which recordings are mixed, and how.

    Attributes:
      clips: "synthetic", "esc50", or a name for the recordings in `clips_dir`.
      clips_dir: folder of a prepared TFDS data set, or of audio files with `labels.csv`. For ESC-50
        None means the one prepared in the same `data_dir`.
      recipe: how scenes are mixed; a dict of its fields will do.
      max_skipped_share: of the files of a folder, this share may be undecodable.
    """

    clips: str = "synthetic"
    clips_dir: str | None = None
    recipe: SceneRecipe = dataclasses.field(default_factory=SceneRecipe)
    max_skipped_share: float = 0.05

    def __post_init__(self) -> None:
        if isinstance(self.recipe, dict):
            self.recipe = SceneRecipe(**self.recipe)

    def resolved(self, data_dir: str | None) -> SoundScenesConfig:
        """Returns this config named after everything that the scenes depend on.

        Two recipes, or the same recipe on other recordings, never share a folder. Where versions
        before have prepared the same scenes under another name, that one is returned.

        Args:
          data_dir: where prepared data sets lie; None where that is not known yet.
        """
        clips_dir = self.clips_dir
        if self.clips == ESC50 and clips_dir is None and data_dir is not None:
            clips_dir = str(prepared_folder(data_dir))
        name = self._name(identity_of(self.clips, clips_dir))
        earlier = [self._name(identity) for identity in earlier_identities_of(self.clips)]
        there = (each for each in (name, *earlier) if _is_prepared(data_dir, each))
        return SoundScenesConfig(
            name=next(there, name),
            description=self.description,
            clips=self.clips,
            clips_dir=clips_dir,
            recipe=self.recipe,
            max_skipped_share=self.max_skipped_share,
        )

    def _name(self, recordings: str) -> str:
        content = {
            "recipe": dataclasses.asdict(self.recipe),
            "clips": self.clips,
            "recordings": recordings,
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.clips}_{digest}"


def _is_prepared(data_dir: str | None, name: str) -> bool:
    return data_dir is not None and is_prepared(Path(data_dir, Builder.name, name, _VERSION))


class Builder(tfds.core.GeneratorBasedBuilder):
    """Mixes sound scenes on a fixed recipe and seed.

    The folder of the data set carries a digest of the recipe and of the recordings in its name.

    Attributes:
      show_progress: whether to draw a progress bar of our own.
    """

    VERSION = tfds.core.Version(_VERSION)
    RELEASE_NOTES = {_VERSION: "First recipe."}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        SoundScenesConfig(name="synthetic", description="Scenes of built-in synthetic events."),
        SoundScenesConfig(name="esc50", clips="esc50", description="Scenes of ESC-50 clips."),
    ]

    show_progress = False

    def __init__(
        self,
        *,
        data_dir: str | None = None,
        config: str | SoundScenesConfig | None = None,
        **kwargs: Any,
    ) -> None:
        if config is None or isinstance(config, str):
            config = self.builder_configs.get(config or "synthetic", config)
        if isinstance(config, SoundScenesConfig):
            config = config.resolved(data_dir)
        super().__init__(data_dir=data_dir, config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        recipe = self.builder_config.recipe
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "audio": tfds.features.Tensor(
                        shape=(recipe.scene_samples,), dtype=np.int16, encoding="bytes"
                    ),
                    # One row per source present; their sum is the audio.
                    "sources": tfds.features.Tensor(
                        shape=(None, recipe.scene_samples), dtype=np.int16, encoding="bytes"
                    ),
                    "labels": tfds.features.Sequence(np.int64),
                    "recordings": tfds.features.Sequence(tfds.features.Text()),
                    "groups": tfds.features.Sequence(tfds.features.Text()),
                    "gains_db": tfds.features.Sequence(np.float32),
                    "onsets": tfds.features.Sequence(np.int64),
                }
            ),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(
                sample_rate_hz=SAMPLE_RATE_HZ, recipe=dataclasses.asdict(recipe)
            ),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        config = self.builder_config
        recordings = open_recordings(
            config.clips,
            clips_dir=config.clips_dir,
            recipe=config.recipe,
            max_skipped_share=config.max_skipped_share,
        )
        self.info.metadata["class_names"] = list(recordings.class_names)
        mixer = Mixer(recordings, config.recipe)
        splits = [split for split in SPLITS if config.recipe.num_scenes(split)]
        total = sum(config.recipe.num_scenes(split) for split in splits)
        progress = Progress(total, "Mixing scenes", unit="scene") if self.show_progress else None
        return {split: self._generate_examples(mixer, split, progress) for split in splits}

    def _generate_examples(
        self, mixer: Mixer, split: str, progress: Progress | None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        recordings = mixer.recordings
        total = mixer.recipe.num_scenes(split)
        for index in range(total):
            scene = mixer.scene(split, index)
            yield (
                ordered_key(index, total),
                {
                    "id": f"{split}-{index:06d}",
                    "audio": scene.mixture,
                    "sources": scene.sources,
                    "labels": scene.labels,
                    "recordings": [recordings.ids[number] for number in scene.recordings],
                    "groups": [recordings.groups[number] for number in scene.recordings],
                    "gains_db": scene.gains_db,
                    "onsets": scene.onsets,
                },
            )
            if progress is not None:
                progress.advance()
        if progress is not None and split == _last_split(mixer.recipe):
            progress.close()


def _last_split(recipe: SceneRecipe) -> str:
    return [split for split in SPLITS if recipe.num_scenes(split)][-1]
