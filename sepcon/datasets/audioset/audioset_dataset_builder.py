"""AudioSet as a TFDS data set: decoded once to int16 at 16 kHz, its three parts as splits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.datasets.audioset.parquet import audioset_parquet
from sepcon.datasets.audioset.segments import audioset_segments
from sepcon.errors import SepconError
from sepcon.importing.clip_source import ClipSource
from sepcon.importing.source_examples import Example, SourceReport, source_examples

CLASSES_CSV = "class_labels_indices.csv"
# Where each split is: its list of segments, or its folder of parquet files.
_SEGMENTS = {
    "balanced": "balanced_train_segments.csv",
    "unbalanced": "unbalanced_train_segments.csv",
    "eval": "eval_segments.csv",
}
_PARQUET = {"balanced": "bal_train", "unbalanced": "unbal_train", "eval": "eval"}


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds AudioSet from what somebody has fetched of it (`--manual_dir`).

    One process does it all. At two million clips `sepcon import` takes all cores, or a cluster.

    Attributes:
      max_skipped_share: the import stops when more than this share of the recordings that are
        there cannot be used.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Decoded to 16 kHz mono int16."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "A folder with class_labels_indices.csv and either the official lists "
        "(balanced_train_segments.csv, unbalanced_train_segments.csv, eval_segments.csv; one will "
        "do) beside audio/, whose files are called by their YouTube ids, or folders of parquet "
        "files (bal_train, unbal_train, eval; also inside data/)."
    )

    max_skipped_share = 0.05

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    # The Audio feature cannot store bytes from numpy; see the rate in metadata.
                    "audio": tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding="bytes"),
                    # Numbers of classes, whose names are known once the folder is: in metadata.
                    "labels": tfds.features.Sequence(np.int64),
                }
            ),
            homepage="https://research.google.com/audioset/",
            # Order of the lists, so that two imports agree.
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(sample_rate_hz=SAMPLE_RATE_HZ),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[Example]]:
        sources = find_sources(Path(dl_manager.manual_dir))
        report = SourceReport("AudioSet", self.max_skipped_share)
        last = list(sources)[-1]
        names = {source.class_names for source in sources.values()}
        self.info.metadata["class_names"] = list(*names)
        return {
            split: self._generate_examples(source, report=report, last=split == last)
            for split, source in sources.items()
        }

    def _generate_examples(
        self, source: ClipSource, *, report: SourceReport, last: bool
    ) -> Iterator[Example]:
        for key, clip in source_examples(source, source.references, report):
            yield key, {name: clip[name] for name in ("id", "audio", "labels")}
        if last:
            self.info.metadata["summary"] = report.finish()


def find_sources(root: Path) -> dict[str, ClipSource]:
    """Returns the splits that a folder holds, in whichever form.

    Raises:
      SepconError: it holds none, or some in both forms.
    """
    classes = str(root / CLASSES_CSV)
    lists = {split: root / name for split, name in _SEGMENTS.items() if (root / name).is_file()}
    folders = {
        split: place
        for split, name in _PARQUET.items()
        for place in (root / name, root / "data" / name)
        if place.is_dir()
    }
    if bool(lists) == bool(folders):
        found = "both" if lists else "neither"
        raise SepconError(
            f"{root}: holds {found} of segment lists ({', '.join(_SEGMENTS.values())}) and parquet "
            f"folders ({', '.join(_PARQUET.values())}), expected one of the two forms; give the "
            "folder of one as --manual_dir"
        )
    if lists:
        audio = str(root / "audio")
        return {
            split: audioset_segments(segments_csv=str(path), audio_dir=audio, classes_csv=classes)
            for split, path in lists.items()
        }
    return {
        split: audioset_parquet(parquet_dir=str(path), classes_csv=classes)
        for split, path in folders.items()
    }
