"""Imports a folder slowly in a process that can be killed; run by import_clips_test.py."""

import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence

from sepcon.datasets.folders import audio_folder
from sepcon.importing.clip_source import ClipReader, ClipReference, Loaded
from sepcon.verbs.import_clips import import_clips


@dataclasses.dataclass(frozen=True)
class SlowReader:
    """Another reader, with a pause before every clip."""

    reader: ClipReader
    seconds: float

    def __call__(self, references: Sequence[ClipReference]) -> Iterator[Loaded]:
        for loaded in self.reader(references):
            time.sleep(self.seconds)
            yield loaded


def main(folder: str, run_dir: str, processes: str) -> None:
    source = audio_folder(path=folder)
    slow = dataclasses.replace(source, read=SlowReader(source.read, 0.01))
    import_clips(run_dir=run_dir, source=slow, processes=int(processes), clips_per_shard=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
