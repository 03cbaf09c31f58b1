"""Trains and evaluates the shallow classifier on stored embeddings, and times every stage.

Started by tools/benchmark_scale.py, whose docstring says what is compared with what.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from benchmark_process import GEMM_SIZE, Sample, timed

from sepcon.embeddings import shallow
from sepcon.embeddings.shallow import ShallowSettings
from sepcon.embeddings.store import Embeddings, EmbeddingStore
from sepcon.metrics import class_ranking
from sepcon.metrics import classification as metrics
from sepcon.training.runtime import configure_threads

_GEMM_CALLS = 3
# Of what takes a fraction of a second.
_REPETITIONS = 5
# Multiplications and additions for each weight and clip: forward, and backward to the weights; the
# second layer also backward to the hidden units.
_TRAINED_INPUT_LAYER, _TRAINED_OUTPUT_LAYER = 4, 6


class Clock:
    """Time spent in named stages, and how fast matrices were multiplied around them.

    Attributes:
      seconds: of the clock, by stage.
      cpu_seconds: of all processors together.
      gemm: seconds and processor seconds of each multiplication of large matrices.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self.gemm: list[Sample] = []
        self._matrix = tf.random.stateless_normal([GEMM_SIZE, GEMM_SIZE], [0, 0])
        self._multiply = tf.function(lambda a: tf.matmul(a, a))
        self._multiply(self._matrix)

    def measure_gemm(self) -> None:
        """Multiplies large matrices; not part of any stage that it is called in."""
        with self.stage("gemm"):
            for _ in range(_GEMM_CALLS):
                self.gemm.append(timed(lambda: self._multiply(self._matrix)))

    @contextmanager
    def stage(
        self, name: str, processors: Callable[[], float] = time.process_time
    ) -> Iterator[None]:
        """Counts what is done in its context; `processors` may be the time of one thread."""
        seconds, cpu_seconds = time.perf_counter(), processors()
        yield
        seconds, cpu_seconds = time.perf_counter() - seconds, processors() - cpu_seconds
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.cpu_seconds[name] = self.cpu_seconds.get(name, 0.0) + cpu_seconds

    def average(self, name: str, times: int) -> None:
        """Divides what a stage took that was gone through several times."""
        self.seconds[name] /= times
        self.cpu_seconds[name] /= times

    def watch(self, owner: Any, function: str, name: str) -> None:
        """Counts all calls of a function from now on as a stage."""
        original = getattr(owner, function)

        def watched(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return original(*args, **kwargs)

        setattr(owner, function, watched)


def main() -> None:
    """Prints what was measured as one line of JSON."""
    options = _parse()
    configure_threads(options.threads)
    answers, sys.stdout = sys.stdout, sys.stderr
    clock = Clock()
    train, test = (EmbeddingStore(options.folder / name) for name in ("train", "test"))
    files = sorted((options.folder / "train").glob("*.npz"))
    num_bytes = sum(file.stat().st_size for file in files)
    _forget(files)
    with clock.stage("raw reading"):
        _read_raw(files)
    settings = ShallowSettings(batch_size=options.batch, max_epochs=1)
    _forget(files)
    classifier = _train(clock, train, test, settings)
    for _ in range(_REPETITIONS):
        with clock.stage("prediction"):
            scores = classifier.predict_clips(test)
    targets = test.load().labels
    with clock.stage("metrics"):
        found = metrics.classification_scores(targets=targets, scores=scores)
    with clock.stage("sorting"):
        for column in np.ascontiguousarray(scores.T):
            np.argsort(-column)
    with clock.stage("gathering"):
        _gather(scores, options.resamples)
    with clock.stage("bootstrap"):
        interval = metrics.bootstrap_interval(
            targets=targets, scores=scores, num_resamples=options.resamples
        )
    with clock.stage("gathering"):
        _gather(scores, options.resamples)
    clock.average("prediction", _REPETITIONS)
    clock.average("gathering", 2)
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reference = _scikit_learn(clock, targets, scores)  # after the memory was read
    kernels = classifier.weights[::2]
    result = {
        "tensorflow": tf.__version__,
        "seconds": clock.seconds,
        "cpu_seconds": clock.cpu_seconds,
        "gemm_seconds": statistics.median(each.seconds for each in clock.gemm),
        "gemm_cpu_seconds": statistics.median(each.cpu_seconds for each in clock.gemm),
        "train_bytes": num_bytes,
        "test_bytes": sum(f.stat().st_size for f in (options.folder / "test").glob("*.npz")),
        "train_gflop": 1e-9 * len(train) * _trained_flop(*kernels),
        "predict_gflop": 2e-9 * len(test) * sum(kernel.size for kernel in kernels),
        "peak_bytes": peak_bytes,
        "mAP": found.mean_average_precision,
        "mAP_interval": interval.mean_average_precision,
        "AUC": found.auc,
        "d_prime": found.d_prime,
        "lwlrap": found.lwlrap,
        "difference_to_scikit_learn": max(
            abs(found.mean_average_precision - reference[0]), abs(found.auc - reference[1])
        ),
    }
    print(json.dumps(result), file=answers)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    for name in ("batch", "threads", "resamples"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


def _train(
    clock: Clock, train: EmbeddingStore, test: EmbeddingStore, settings: ShallowSettings
) -> shallow.ShallowClassifier:
    """One pass; the stages within are watched from outside."""
    for function in ("row_statistics", "_mean_average_precision"):
        clock.watch(shallow, function, function.strip("_").replace("_", " "))
    steps, read = shallow._train_block, EmbeddingStore.shard

    def watched_steps(*args: Any) -> Any:
        clock.measure_gemm()
        with clock.stage("steps"):
            return steps(*args)

    def watched_read(store: EmbeddingStore, shard: int) -> Embeddings:
        # Once the statistics are there, shards of the training clips are read beside the steps.
        of_training = store is train and "row statistics" in clock.seconds
        with clock.stage("reading" if of_training else "other reading", time.thread_time):
            return read(store, shard)

    shallow._train_block, EmbeddingStore.shard = watched_steps, watched_read  # type: ignore
    with clock.stage("training"):
        classifier = shallow.train_shallow_classifier(
            train=train, validation=test, settings=settings
        )
    shallow._train_block, EmbeddingStore.shard = steps, read  # type: ignore
    return classifier


def _trained_flop(first: np.ndarray, second: np.ndarray) -> int:
    return _TRAINED_INPUT_LAYER * first.size + _TRAINED_OUTPUT_LAYER * second.size


def _forget(files: list[Path]) -> None:
    """Makes the next reader of the files wait for the disk."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _read_raw(files: list[Path]) -> None:
    """Reads every byte, once, and passes it through the checksum that tells damage."""
    buffer = bytearray(max(file.stat().st_size for file in files))
    for file in files:
        with open(file, "rb", buffering=0) as stream:
            while count := stream.readinto(buffer):
                zlib.crc32(memoryview(buffer)[:count])


def _gather(scores: np.ndarray, resamples: int) -> None:
    """Brings the weights of all resamples into the order of each class and adds them up."""
    clips, classes = scores.shape
    columns = max(1, class_ranking._BLOCK_WEIGHTS // clips)
    weights = np.ones((clips, columns), np.float32)
    order = [np.argsort(-column) for column in scores.T]
    for _ in range(0, resamples, columns):
        for label in range(classes):
            np.take(weights, order[label], axis=0).sum(axis=0)


def _scikit_learn(clock: Clock, targets: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    scored = [label for label, column in enumerate(targets.T) if 0 < column.sum() < len(column)]

    def over_classes(score: Callable[[np.ndarray, np.ndarray], float]) -> float:
        return float(np.mean([score(targets[:, label], scores[:, label]) for label in scored]))

    with clock.stage("scikit-learn"):
        return over_classes(average_precision_score), over_classes(roc_auc_score)


if __name__ == "__main__":
    main()
