"""UrbanSound8K as a TFDS data set: decoded once to int16 at 16 kHz, one split per fold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.datasets.folders import urbansound8k_folder
from sepcon.datasets.urbansound8k import layout
from sepcon.importing.clip_source import ClipReference, ClipSource
from sepcon.importing.source_examples import Example, SourceReport, source_examples


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds UrbanSound8K from its official folder (`--manual_dir`).

    Attributes:
      max_skipped_share: the import stops when more than this share of the files cannot be decoded.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Decoded to 16 kHz mono int16, folds as splits."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The folder of the official release, which has to be asked for by a form: "
        "metadata/UrbanSound8K.csv and audio/fold1 to audio/fold10."
    )

    max_skipped_share = 0.05

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    # The Audio feature cannot store bytes from numpy; see the rate in metadata.
                    "audio": tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding="bytes"),
                    "label": tfds.features.ClassLabel(names=list(layout.CLASS_NAMES)),
                    "fold": np.int64,
                    "source_id": tfds.features.Text(),
                    "filename": tfds.features.Text(),
                }
            ),
            supervised_keys=("audio", "label"),
            homepage="https://urbansounddataset.weebly.com/urbansound8k.html",
            # Order of the table, so that two imports agree.
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(sample_rate_hz=SAMPLE_RATE_HZ),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[Example]]:
        source = urbansound8k_folder(path=str(dl_manager.manual_dir))
        report = SourceReport("UrbanSound8K", self.max_skipped_share)
        folds = sorted({int(reference.fold) for reference in source.references})
        return {
            f"fold{fold}": self._generate_examples(
                source,
                [each for each in source.references if each.fold == str(fold)],
                report=report,
                last=fold == folds[-1],
            )
            for fold in folds
        }

    def _generate_examples(
        self,
        source: ClipSource,
        references: list[ClipReference],
        *,
        report: SourceReport,
        last: bool,
    ) -> Iterator[Example]:
        for key, clip in source_examples(source, references, report):
            yield (
                key,
                {
                    "audio": clip["audio"],
                    "label": clip["labels"][0],
                    "fold": int(clip["fold"]),
                    "source_id": clip["group"],
                    "filename": clip["id"],
                },
            )
        if last:
            self.info.metadata["summary"] = report.finish()
