"""Independent pieces of work as an Apache Beam pipeline: on Flink, Spark, Dataflow or this machine.

Each piece reads and writes folders itself and leaves its result there, whole or not at all, so that
a runner may try it again, or twice at the same time. The workers must therefore see the same
folders under the same paths as the process that starts the pipeline: use a shared or a mounted
disk.
"""

from __future__ import annotations

import functools
import pickle
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from sepcon.errors import SepconError, one_line
from sepcon.runs.whole_file import whole_file

Runner = Literal["local", "beam"]
_WORK = ".work.pickle"
# What DirectRunner is, but for its attempt to download another runner first.
_ALONE = ("--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",)


def check_runner(runner: str) -> None:
    """Refuses a name that is none of the runners.

    Args:
      runner: as the user gives it.

    Raises:
      SepconError: it is unknown; the known ones are listed.
    """
    if runner not in get_args(Runner):
        raise SepconError(f"runner is {runner!r}, expected one of {', '.join(get_args(Runner))}")


def run_pieces(
    work: Callable[[int], object],
    pieces: Iterable[int],
    *,
    shared_dir: Path,
    pipeline_options: Sequence[str] = (),
) -> None:
    """Does all pieces, in any order and place, and waits for them.

    Args:
      work: done for each piece, with its number; it is pickled.
      pieces: their numbers.
      shared_dir: where the workers find `work`, which may be too large for a job description.
      pipeline_options: Beam's own, such as `--runner=FlinkRunner`; one process here by default.

    Raises:
      SepconError: Apache Beam is not installed, or the pipeline failed; what is done stays.
    """
    numbers = list(pieces)
    beam, cloudpickle = _import_beam()
    if not numbers:
        return
    path = shared_dir.resolve() / _WORK
    try:
        with whole_file(path) as scratch:
            scratch.write_bytes(cloudpickle.dumps(work))
        pipeline = beam.Pipeline(argv=list(pipeline_options) or list(_ALONE))
        # Spread first: a runner may keep together what comes from one list.
        _ = (
            pipeline
            | "pieces" >> beam.Create(numbers)
            | "spread" >> beam.Reshuffle()
            | "work" >> beam.Map(functools.partial(_do_piece, str(path)))
        )
        state = pipeline.run().wait_until_finish()
    # Runners raise whatever they like; what a worker raised stands in the text.
    except Exception as error:
        raise SepconError(f"{_reason(error)}; the same command goes on") from error
    finally:
        path.unlink(missing_ok=True)
    if state is not None and str(state) != "DONE":
        raise SepconError(f"the Beam pipeline ended as {state}; the same command goes on")


def _do_piece(path: str, number: int) -> None:
    """What a worker does."""
    _load_work(path)(number)


@functools.cache
def _load_work(path: str) -> Callable[[int], object]:
    try:
        return pickle.loads(Path(path).read_bytes())
    except OSError as error:
        raise SepconError(
            f"{path}: a worker cannot read it ({error.strerror}); give a --run_dir on a disk that "
            "all workers see under the same path"
        ) from error


def _import_beam() -> tuple[Any, Any]:
    try:
        import apache_beam as beam
        import cloudpickle
    except ImportError:
        raise SepconError(
            "runner 'beam' needs Apache Beam, which is not installed: pip install 'sepcon[beam]'"
        ) from None
    return beam, cloudpickle


def _reason(error: Exception) -> str:
    if isinstance(error, SepconError):
        return str(error)
    of_worker = re.findall(r"sepcon\.errors\.SepconError: (.*)", str(error))
    if of_worker:
        return re.sub(r" \[while running .*", "", of_worker[-1])
    return f"the Beam pipeline failed: {one_line(error)}"
