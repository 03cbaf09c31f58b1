"""ESC-50 as a TFDS data set: decoded once to int16, at 16 kHz by default, one split per fold."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from sepcon.audio.decode import DecodeReport
from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.prepared import ordered_key
from sepcon.datasets.esc50 import layout, prepared_esc50
from sepcon.errors import SepconError
from sepcon.runs.progress import Progress

_URL = "https://github.com/karolpiczak/ESC-50/archive/master.zip"


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds ESC-50 from its official folder (`--manual_dir`) or from the official download.

    Attributes:
      max_skipped_share: the import stops when more than this share of the files cannot be decoded.
      show_progress: whether to draw a progress bar of our own.
      sample_rate_hz: what is decoded to; a data set of another rate lies in another folder.
    """

    VERSION = tfds.core.Version(prepared_esc50.VERSION)
    RELEASE_NOTES = {  # noqa: RUF012
        prepared_esc50.VERSION: "Decoded to 16 kHz mono int16, folds as splits."
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Optional: a folder with audio/ and meta/esc50.csv, WAV or Ogg. Without it the official "
        "release is downloaded."
    )

    max_skipped_share = 0.05
    show_progress = False
    sample_rate_hz = SAMPLE_RATE_HZ

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    # The Audio feature cannot store bytes from numpy; see the rate in metadata.
                    "audio": tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding="bytes"),
                    "label": tfds.features.ClassLabel(names=list(layout.CLASS_NAMES)),
                    "fold": np.int64,
                    "esc10": np.bool_,
                    "source_id": tfds.features.Text(),
                    "take": tfds.features.Text(),
                    "filename": tfds.features.Text(),
                }
            ),
            supervised_keys=("audio", "label"),
            homepage="https://github.com/karolpiczak/ESC-50",
            # Order of the table, so that two imports agree.
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(sample_rate_hz=SAMPLE_RATE_HZ),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        root = _locate(dl_manager)
        if self.show_progress:
            tfds.disable_progress_bar()
        rows = layout.read_rows(root)
        self.info.metadata["fingerprint"] = layout.fingerprint(root)
        self.info.metadata["sample_rate_hz"] = self.sample_rate_hz
        report = DecodeReport(rate_hz=self.sample_rate_hz)
        folds = sorted({row.fold for row in rows})
        progress = (
            Progress(len(rows), "Importing ESC-50", unit="clip") if self.show_progress else None
        )
        return {
            f"fold{fold}": self._generate_examples(
                [row for row in rows if row.fold == fold],
                report=report,
                progress=progress,
                last=fold == folds[-1],
            )
            for fold in folds
        }

    def _generate_examples(
        self, rows: list[layout.Row], *, report: DecodeReport, progress: Progress | None, last: bool
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        decoded_before = report.decoded
        for number, row in enumerate(rows):
            audio = report.decode(row.path)
            if progress is not None:
                progress.advance()
            if audio is None:
                continue
            yield (
                ordered_key(number, len(rows)),
                {
                    "audio": audio,
                    "label": row.category,
                    "fold": row.fold,
                    "esc10": row.esc10,
                    "source_id": row.src_file,
                    "take": row.take,
                    "filename": row.filename,
                },
            )
        if report.decoded == decoded_before:
            raise SepconError(
                f"ESC-50: no file of fold {rows[0].fold} can be used: {report.summary()}"
            )
        if last:
            self._finish(report, progress)

    def _finish(self, report: DecodeReport, progress: Progress | None) -> None:
        if progress is not None:
            progress.close()
        report.check_share(self.max_skipped_share)
        self.info.metadata["summary"] = report.summary()
        print(f"ESC-50: {report.summary()}", file=sys.stderr)


def _locate(dl_manager: tfds.download.DownloadManager) -> Path:
    """Returns the folder given by hand, or downloads the official release."""
    try:
        manual_dir = Path(dl_manager.manual_dir)
    # This is how TFDS says that no manual folder was given.
    except AssertionError:
        manual_dir = None
    if manual_dir is not None:
        # TFDS's own default is shared by all data sets: files of others there mean nothing.
        is_default = manual_dir.parts[-2:] == ("downloads", "manual")
        if not is_default or layout.find_root(manual_dir):
            return layout.require_root(manual_dir)
    # Hundreds of megabytes: TFDS's bar shows the download even where ours shows the import.
    tfds.enable_progress_bar()
    return layout.require_root(Path(dl_manager.download_and_extract(_URL)))
