"""FUSS, the Free Universal Sound Separation data set, as a `ClipDataset` with known sources.

Wisdom et al., "What's all the FUSS about free universal sound separation data?" (2021): scenes of
10 s at 16 kHz, one background and up to three foreground sources, no labels. The records are those
of the TFDS data set `fuss`, whoever has prepared it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import tensorflow as tf
import tensorflow_datasets as tfds

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.clips import ClipDataset, Element, ReadClip, from_reader
from sepcon.data.prepared import is_prepared, open_builder, prepare_once, split_records
from sepcon.data.records import RecordFiles
from sepcon.errors import SepconError, one_line
from sepcon.runs.progress import track

CONFIGS = ("reverberant", "unprocessed")
# What the release calls each split.
SPLITS = {"train": "train", "validation": "validation", "test": "eval"}
_LIST = "{}_example_list.txt"
_MAX_SOURCES = 4
_SCENE_SAMPLES = 10 * SAMPLE_RATE_HZ


def fuss(
    *, data_dir: str, split: str = "train", config: str = "reverberant", path: str | None = None
) -> ClipDataset:
    """Returns the scenes of one split; prepares all splits at first use.

    Args:
      data_dir: where prepared data sets lie, such as `~/tensorflow_datasets` if `fuss` has been
        prepared there by TFDS itself.
      split: "train", "validation" or "test", which the release calls eval.
      config: "reverberant" or "unprocessed".
      path: the unpacked release (`ssdata_reverb` or `ssdata`, with `train_example_list.txt` in
        it); its import goes to a folder of its own. None takes what is prepared in `data_dir`, or
        downloads the release, 8 GB.

    Raises:
      SepconError: an argument is not one of these, the release is not as it should be, or there
        is nowhere to write.
    """
    for name, value, known in (("split", split, SPLITS), ("config", config, CONFIGS)):
        if value not in known:
            raise SepconError(f"fuss: {name} is {value!r}, expected one of {', '.join(known)}")
    root = None if path is None else _require_root(Path(path).expanduser())
    return open_fuss(_prepare(Path(data_dir).expanduser(), config, root), split=split)


def open_fuss(directory: str | Path, *, split: str) -> ClipDataset:
    """Opens a prepared `fuss`.

    Args:
      directory: folder of the TFDS data set, which holds `dataset_info.json`.
      split: "train", "validation" or "test".
    """
    builder = open_builder(Path(directory))
    files = split_records(builder, [split])
    read, read_with_sources = _readers(files, builder.info.features)
    return from_reader(
        name=f"{builder.info.full_name}/{split}",
        num_clips=len(files),
        class_names=(),
        clip_samples=builder.info.features["mixture_audio"].shape[0],
        read=read,
        read_with_sources=read_with_sources,
    )


def _readers(files: RecordFiles, features: tfds.features.FeaturesDict) -> tuple[ReadClip, ReadClip]:
    # Only what is read is parsed: the sources are four times the mixture.
    mixture = tfds.features.FeaturesDict({key: features[key] for key in ("id", "mixture_audio")})
    sources = tfds.features.FeaturesDict(
        {"sources": tfds.features.Sequence({"audio": features["sources"].feature["audio"]})}
    )

    def read(position: tf.Tensor) -> Element:
        row = mixture.deserialize_example(files.read(position))
        audio = tf.cast(row["mixture_audio"], tf.int16)
        return {"id": row["id"], "audio": audio, "labels": tf.zeros([0])}

    def read_with_sources(position: tf.Tensor) -> Element:
        row = sources.deserialize_example(files.read(position))
        present = tf.cast(row["sources"]["audio"], tf.int16)[:_MAX_SOURCES]  # [source, samples]
        absent = tf.pad(present, [[0, _MAX_SOURCES - tf.shape(present)[0]], [0, 0]])
        return read(position) | {"sources": tf.ensure_shape(absent, [_MAX_SOURCES, None])}

    return read, read_with_sources


def _prepare(data_dir: Path, config: str, root: Path | None) -> Path:
    parent = data_dir if root is None else data_dir / f"fuss_{_fingerprint(root)}"

    def make_builder() -> tfds.core.DatasetBuilder:
        return _builder_class()(data_dir=str(parent), config=config, root=root)

    # Without the builder's class where the data set is ready.
    for directory in sorted((parent / "fuss" / config).glob("*")):
        if is_prepared(directory):
            return directory
    return prepare_once(make_builder, data_dir=parent)


def _builder_class() -> type[tfds.core.GeneratorBasedBuilder]:
    """TFDS's own builder of `fuss`, but decoding by soundfile: by itself it needs pydub."""
    from tensorflow_datasets.audio.fuss import Fuss as TfdsFuss

    class Fuss(TfdsFuss, skip_registration=True):  # type: ignore[call-arg]
        def __init__(self, *, root: Path | None, **arguments: Any) -> None:
            self._root = root
            super().__init__(**arguments)

        def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> Any:
            if self._root is None:
                return super()._split_generators(dl_manager)
            return {
                split: self._generate_examples(base_dir=str(self._root), split=listed)
                for split, listed in SPLITS.items()
            }

        def _generate_examples(self, base_dir: str, split: str) -> Iterator[tuple[str, Any]]:
            num_scenes = len((Path(base_dir) / _LIST.format(split)).read_text().splitlines())
            examples = super()._generate_examples(base_dir, split)
            for key, example in track(examples, num_scenes, f"Import FUSS {split}", unit="scene"):
                example["mixture_audio"] = _decode(example["mixture_audio"])
                for source in example["sources"]:
                    source["audio"] = _decode(source["audio"])
                yield key, example

    return Fuss


def _decode(path: str) -> np.ndarray:
    try:
        audio, rate_hz = soundfile.read(path, dtype="int16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise SepconError(f"{path}: cannot be read: {one_line(error)}; unpack it again") from error
    if rate_hz != SAMPLE_RATE_HZ or audio.shape != (_SCENE_SAMPLES,):
        raise SepconError(
            f"{path}: holds {audio.shape} samples at {rate_hz} Hz, expected ({_SCENE_SAMPLES},) at "
            f"{SAMPLE_RATE_HZ} Hz; give FUSS as it was released"
        )
    return audio


def _require_root(path: Path) -> Path:
    for listed in SPLITS.values():
        if not (path / _LIST.format(listed)).is_file():
            raise SepconError(
                f"{path}: is not an unpacked FUSS release, {_LIST.format(listed)} is missing; give "
                "the folder ssdata_reverb or ssdata"
            )
    return path


def _fingerprint(root: Path) -> str:
    digest = hashlib.sha256(str(root.resolve()).encode())
    for listed in SPLITS.values():
        digest.update((root / _LIST.format(listed)).read_bytes())
    return digest.hexdigest()[:8]
