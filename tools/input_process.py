"""The part of benchmark_input.py that reads: clips and channels made once, and streams of them.

Started as a process it makes its streams, says so, and then reads as many batches of one as each
line of its standard input asks for; what that took is a line of JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.data.channel_shards import ChannelWriter
from sepcon.data.clip_examples import ClipExamples
from sepcon.data.clips import ClipDataset, Element, from_reader
from sepcon.data.example_bytes import serialize_example, write_record
from sepcon.data.prepared import parse
from sepcon.data.records import RecordFiles
from sepcon.data.stored.clip_samples import ClipSamples
from sepcon.data.stored.envelope_file import RecordLayout
from sepcon.data.stored.samples import StoredSamples
from sepcon.data.stream import TrainingStream
from sepcon.views.clip_patches import clip_patches
from sepcon.views.sampler import ViewSampler

_CLIPS, _CHANNELS = "clips.tfrecord", "channels"
_CURE = "start the benchmark again"
FORMS = ("patches", "whole clips")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is read, and how.

    Attributes:
      folder: of clips and channels.
      channels: of each clip; 0 for views of mixtures alone.
      clip_seconds: length of a clip.
      patch_seconds: length of a patch.
      batch: examples in a global batch.
      workers: processes that share a batch.
      threads: that read, in each of them.
    """

    folder: Path
    channels: int
    clip_seconds: float
    patch_seconds: float
    batch: int
    workers: int = 1
    threads: int = 1

    @property
    def clip_samples(self) -> int:
        return round(self.clip_seconds * SAMPLE_RATE_HZ)

    @property
    def sampler(self) -> ViewSampler:
        pairs = ("mixture-channel" if self.channels else "mixture-mixture",)
        return ViewSampler(pairs=pairs, patch_seconds=self.patch_seconds)


def make(setting: Setting, num_clips: int) -> list[Path]:
    """Writes clips of noise and their channels; returns the files with samples."""
    rng = np.random.default_rng(0)
    shape = (1 + setting.channels, setting.clip_samples)
    noise = rng.integers(-9999, 9999, shape, np.int16)
    with open(setting.folder / _CLIPS, "wb") as file:
        for number in range(num_clips):
            features = {"id": b"%d" % number, "audio": noise[0].tobytes(), "labels": [0]}
            write_record(file, serialize_example(features))
    clips = open_clips(setting)
    assert clips.samples is not None
    clips.samples()  # measures them
    if setting.channels:
        with ChannelWriter(
            setting.folder / _CHANNELS,
            clips=clips,
            num_channels=setting.channels,
            checkpoint="noise",
            step=0,
        ) as writer:
            for number in range(num_clips):
                writer.write(str(number), noise[1:])
    return sorted(path for path in setting.folder.rglob("*.tfrecord*") if path.is_file())


def open_clips(setting: Setting) -> ClipDataset:
    """The clips as a data set that is read whole or by place."""
    path, samples = str(setting.folder / _CLIPS), setting.clip_samples
    files = RecordFiles([path])

    def read(position: tf.Tensor) -> Element:
        row = parse(files.read(position), {"id": tf.string, "audio": tf.int16})
        audio = tf.ensure_shape(row["audio"], [samples])
        return {"id": row["id"], "audio": audio, "labels": tf.zeros([0])}

    def by_place() -> ClipSamples:
        store = StoredSamples([path], RecordLayout("audio"), cure=_CURE)
        return ClipSamples(store, np.arange(len(store)), np.zeros(0, np.int64))

    return from_reader(
        name="noise",
        num_clips=len(files),
        class_names=(),
        clip_samples=samples,
        read=read,
        samples=by_place,
    )


def stream_of(setting: Setting, form: str) -> TrainingStream:
    """The stream of patches, or that of whole clips with all channels, of which they were cut."""
    channels = [str(setting.folder / _CHANNELS)] if setting.channels else []
    examples = ClipExamples(open_clips(setting), channels=channels)
    return TrainingStream(
        examples=clip_patches(examples, setting.sampler) if form == FORMS[0] else examples,
        batch_size=setting.batch,
        seed=0,
        num_uniforms=setting.sampler.num_uniforms,
        threads=setting.threads,
        prefetch=1,
    )


def read(
    stream: TrainingStream, setting: Setting, batches: int, worker: int = 0
) -> dict[str, float]:
    """Reads the rows of a worker and says what that took.

    Returns:
      `examples` and the bytes `used` of them, `seconds`, `cpu_seconds`, bytes asked of the system
      (`read`), and bytes that came from a disk (`from_disk`).
    """
    share = setting.batch // setting.workers
    rows = range(worker * share, (worker + 1) * share)
    ready = iter(stream.batches(0, rows).take(batches + 1))
    next(ready)  # A training starts but once.
    before, seconds, cpu_seconds = _bytes_read(), time.perf_counter(), time.process_time()
    for _ in ready:
        pass
    taken = time.perf_counter() - seconds, time.process_time() - cpu_seconds
    asked, from_disk = (now - then for now, then in zip(_bytes_read(), before, strict=True))
    examples = batches * share
    return {
        "examples": examples,
        "used": examples * 2 * 2 * setting.sampler.patch_samples,
        "seconds": taken[0],
        "cpu_seconds": taken[1],
        "read": asked,
        "from_disk": from_disk,
    }


def _bytes_read() -> tuple[int, int]:
    lines = Path("/proc/self/io").read_text().splitlines()
    counts = dict(line.split(": ") for line in lines)
    return int(counts["rchar"]), int(counts["read_bytes"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads as standard input asks for: a form and a number of batches on each line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", type=json.loads)
    parser.add_argument("--worker", type=int)
    options = parser.parse_args(arguments)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    setting = Setting(**(options.setting | {"folder": Path(options.setting["folder"])}))
    streams = {form: stream_of(setting, form) for form in FORMS}
    for stream in streams.values():
        read(stream, setting, 1, options.worker)  # traces
    print("ready", flush=True)
    for line in sys.stdin:
        form, batches = json.loads(line)
        print(json.dumps(read(streams[form], setting, batches, options.worker)), flush=True)


if __name__ == "__main__":
    main()
