"""`sepcon import`: recordings or images of any source become records, and a manifest of all."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import itertools
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from multiprocessing import resource_tracker
from pathlib import Path

from sepcon.errors import SepconError
from sepcon.importing import beam_import, import_folder
from sepcon.importing.clip_source import MISSING, ClipReference, ClipSource, shards_of
from sepcon.importing.import_folder import MANIFEST, Plan
from sepcon.importing.import_shard import convert_shard
from sepcon.importing.manifest import Counts
from sepcon.runs import run_folder
from sepcon.runs.beam import Runner, check_runner
from sepcon.runs.claim import claims_run_dir
from sepcon.runs.progress import Progress
from sepcon.runs.stop import leave_signals_to_parent, signals_wait
from sepcon.taggers.tagged import tagged
from sepcon.taggers.tagger import Tagger
from sepcon.verbs import resuming

# The share of faults is looked at once this many clips have been tried, or all.
_FAULTS_AFTER_CLIPS = 1000
_SAMPLED_SHARDS = 4
_SAMPLED_CLIPS = 4


@claims_run_dir
def import_clips(
    *,
    run_dir: str | Path,
    source: ClipSource,
    taggers: Sequence[Tagger] = (),
    processes: int | None = None,
    clips_per_shard: int = 256,
    max_fault_share: float = 0.05,
    runner: Runner = "local",
    pipeline_options: Sequence[str] = (),
    config_text: str = "",
) -> Counts:
    """Imports every clip of a source as int16 mono at 16 kHz, or every image of it as a square.

    A killed import goes on.

    The result does not depend on the runner or the number of processes, nor on where it was
    stopped.

    Args:
      run_dir: receives shards of records, manifest.csv and classes.csv.
      source: the clips or images.
      taggers: label the clips; what they say of each is kept beside the records, see
        `sepcon.taggers`.
      processes: how many convert at once; by default as many as this process may use cores.
      clips_per_shard: clips of the source in each shard of records.
      max_fault_share: the import stops when more than this share of the recordings are damaged.
        Missing and silent recordings, duplicates and clips without a known label do not count.
      runner: "local", or "beam" for an Apache Beam pipeline, all of whose workers must see
        `run_dir` and the recordings under the same paths.
      pipeline_options: Beam's own, such as `--runner=FlinkRunner`.
      config_text: the resolved configuration.

    Returns:
      What became of the clips.

    Raises:
      SepconError: there is nothing to import, too much of it is damaged, the folder holds the
        import of other clips or cannot be written.
    """
    root = Path(run_dir)
    if clips_per_shard < 1 or (processes is not None and processes < 1):
        raise SepconError(
            f"import: processes is {processes} and clips_per_shard {clips_per_shard}, expected at "
            "least 1"
        )
    check_runner(runner)
    if run_folder.is_finished(root):
        resuming.check("import_clips", root, config_text=config_text, finished=True)
        import_folder.check_finished(root, source)
    if not resuming.begin("import_clips", root, config_text=config_text):
        return import_folder.count_finished(root, import_folder.read_plan(root))
    source = tagged(source, taggers)
    to_read = [each for each in source.references if not each.reason]
    if not to_read:
        raise SepconError(_nothing(source))
    plan = import_folder.begin(root, source, clips_per_shard=clips_per_shard)
    resuming.keep_configuration("import_clips", root, config_text)
    job = _Import(root, source, plan, max_fault_share)
    if runner == "beam":
        job.run_on_beam(pipeline_options)
    else:
        job.run(processes or len(os.sched_getaffinity(0)))
    counts = import_folder.finish(root, plan)
    _summarize(root, source, counts)
    run_folder.finish(root, import_folder.run_record(root, counts))
    return counts


def _nothing(source: ClipSource) -> str:
    reasons = sorted({reference.reason for reference in source.references})
    return (
        f"{source.name}: not one of {len(source.references)} {_items(source)} can be imported "
        f"({', '.join(reasons) or 'the list is empty'}); check the paths"
    )


class _Import:
    """An import under way."""

    def __init__(self, root: Path, source: ClipSource, plan: Plan, max_fault_share: float) -> None:
        self._root, self._source, self._plan = root, source, plan
        self._max_fault_share = max_fault_share
        self._shards = shards_of(source.references, plan.clips_per_shard)
        self._counts = import_folder.count_finished(root, plan)

    def run(self, processes: int) -> None:
        """Writes the shards that are not there yet."""
        self._check_faults()
        numbers = import_folder.unfinished_shards(self._root, self._plan)
        if not numbers:
            return
        processes = min(processes, len(numbers))
        _print_estimate(self._source, [self._shards[n] for n in numbers], processes, self._root)
        progress = Progress(
            self._plan.clips,
            f"import {self._source.name}",
            unit=_items(self._source).removesuffix("s"),
            initial=self._counts.clips,
        )
        with progress, contextlib.closing(self._converted(numbers, processes)) as converted:
            for counts in converted:
                self._counts.update(counts)
                progress.advance(counts.clips, self._note())
                self._check_faults()

    def run_on_beam(self, pipeline_options: Sequence[str]) -> None:
        """Lets the workers of a pipeline write the shards that are not there yet."""
        beam_import.write_shards(
            self._root, self._plan, self._source, pipeline_options=pipeline_options
        )
        self._counts = import_folder.count_finished(self._root, self._plan)
        self._check_faults()

    def _converted(self, numbers: Sequence[int], processes: int) -> Generator[Counts, None, None]:
        if processes == 1:
            for number in numbers:
                yield self._task(number)()
            return
        # Not forked: this process may have started TensorFlow, and its threads with it.
        context = multiprocessing.get_context("spawn")
        pool = concurrent.futures.ProcessPoolExecutor(processes, context, _begin_worker)
        try:
            # Otherwise it would take Ctrl-C for itself just where workers begin.
            resource_tracker.ensure_running()
            with signals_wait():
                tasks = [pool.submit(self._task(number)) for number in numbers]
            for task in concurrent.futures.as_completed(tasks):
                yield task.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise SepconError(
                "import: a process was killed, perhaps for want of memory; the same command goes "
                "on, with import_clips.processes at fewer if need be"
            ) from error
        finally:
            # What has begun is finished and kept.
            pool.shutdown(cancel_futures=True)

    def _task(self, number: int) -> Callable[[], Counts]:
        return functools.partial(
            import_folder.write_shard, self._root, number, self._source.read, self._shards[number]
        )

    def _note(self) -> str:
        return f"{self._counts.faults} damaged" if self._counts.faults else ""

    def _check_faults(self) -> None:
        tried = self._counts.kept + self._counts.faults
        enough = tried >= _FAULTS_AFTER_CLIPS or self._counts.clips == self._plan.clips
        if enough and self._counts.faults > self._max_fault_share * tried:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self._counts.left_out().items())
            items = "images" if _is_of_images(self._source) else "recordings"
            raise SepconError(
                f"{self._root}: {self._counts.faults} of {tried} {items} are damaged, more than "
                f"the share of {self._max_fault_share:g} allowed by max_fault_share ({kinds}); "
                "what is done is kept, and with a higher share the same command goes on"
            )


def _begin_worker() -> None:
    """Leaves signals to the parent, and ends with it even if that was killed."""
    leave_signals_to_parent()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _print_estimate(
    source: ClipSource, shards: Sequence[Sequence[ClipReference]], processes: int, root: Path
) -> None:
    """Tells clips, hours, disk and time to expect, by converting a few clips of some shards."""
    to_read = [[each for each in shard if not each.reason] for shard in shards]
    clips = sum(map(len, to_read))
    places = sorted({n * len(to_read) // _SAMPLED_SHARDS for n in range(_SAMPLED_SHARDS)})
    if source.taggers:  # Their models are opened by the first clip, once a process.
        for _ in convert_shard(source.read, to_read[0][:1]):
            pass
    seconds, data_bytes, start, sampled = 0.0, 0, time.perf_counter(), 0
    for place in places:
        for row, record, scores in convert_shard(source.read, to_read[place][:_SAMPLED_CLIPS]):
            sampled += 1
            seconds += float(row.seconds or 0)
            data_bytes += len(record or b"") + sum(each.nbytes for each in scores.values())
    each = clips / max(1, sampled)
    spent = (time.perf_counter() - start) * each / processes
    missing = sum(reference.reason == MISSING for reference in source.references)
    free = shutil.disk_usage(root).free
    hours = "" if _is_of_images(source) else f"{seconds * each / 3600:.2f} hours of sound, "
    print(
        f"import {source.name}: {clips} {_items(source)} to convert, {missing} known to be "
        f"missing; about {hours}{_size(data_bytes * each)} on disk (free: {_size(free)}), "
        f"{_clock(spent)} with {processes} processes",
        file=sys.stderr,
    )


def _is_of_images(source: ClipSource) -> bool:
    return source.content == "images"


def _items(source: ClipSource) -> str:
    return "images" if _is_of_images(source) else "clips"


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"


def _clock(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def _summarize(root: Path, source: ClipSource, counts: Counts) -> None:
    left_out = "; ".join(f"{count} {reason}" for reason, count in counts.left_out().items())
    hours = "" if _is_of_images(source) else f"{counts.seconds / 3600:.2f} hours, "
    print(
        f"{root}: {counts.clips} {_items(source)} of {source.name}, {counts.kept} imported "
        f"({hours}{len(source.class_names)} classes), "
        f"{counts.clips - counts.kept} left out{f': {left_out}' if left_out else ''}; "
        f"{MANIFEST} lists them all"
    )
    unknown = counts.unknown_labels
    if unknown:
        names = ", ".join(name for name, _ in itertools.islice(unknown.most_common(), 5))
        print(
            f"{len(unknown)} labels are no classes, on {unknown.total()} {_items(source)}: {names}"
        )
    if source.note:
        print(source.note)
