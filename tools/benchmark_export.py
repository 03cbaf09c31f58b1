"""Sizes and latencies of a model in each format that `sepcon export` writes, as rows of a table.

    python tools/benchmark_export.py --run_dir=/tmp/sepcon/formats encoder-v1 separator-v1

On one thread each; of the calls the median counts. ONNX needs the extra of that name.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sepcon.models.products.conversion import CONVERSIONS, read_runner
from sepcon.models.products.saved_model import MODEL_CARD_FILE
from sepcon.runs.json_file import read_json
from sepcon.verbs.export import FORMATS, export

_WARM_UPS = 3


def main() -> None:
    """Prints a row for each model and format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="run folders or names of packaged weights")
    parser.add_argument("--run_dir", type=Path, required=True)
    parser.add_argument("--formats", nargs="*", choices=FORMATS, default=FORMATS[::-1])
    parser.add_argument("--calls", type=int, default=15)
    arguments = parser.parse_args()
    use_one_thread()
    rows = [
        "| model | waveform | format | MB | ms | largest difference |",
        "|---|---|---|---|---|---|",
    ]
    for model in arguments.models:
        shape = None
        for format in arguments.formats:
            folder = export(
                run_dir=arguments.run_dir / Path(model).name, model=model, format=format
            )
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            difference = "-"
            if format == "saved_model":
                call: Callable[[np.ndarray], Any] = tf.saved_model.load(str(folder))
            else:
                card = read_json(folder / MODEL_CARD_FILE, cure="export again")
                shape = card["waveform_shape"]
                difference = f"{max(card['difference_to_saved_model'].values()):.0e}"
                call = read_runner(folder / CONVERSIONS[format].file)
            assert shape, "the length is that of a converted model, which goes first"
            milliseconds = 1000 * median_seconds(call, shape, arguments.calls)
            seconds = f"{shape[1] / 16000:g} s"
            rows.append(
                f"| `{model}` | {seconds} | `{format}` | {size / 1e6:.1f} | {milliseconds:.0f} "
                f"| {difference} |"
            )
    print("\n".join(rows))


def use_one_thread() -> None:
    """Before TensorFlow does anything: it cannot be changed afterwards."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def median_seconds(call: Callable[[np.ndarray], Any], shape: Sequence[int], calls: int) -> float:
    """Returns the median processor time of calls with noise.

    Args:
      call: waveform -> outputs.
      shape: of the waveform.
      calls: that count, after some that do not.
    """
    waveform = np.random.default_rng(0).normal(scale=0.1, size=shape).astype(np.float32)
    times = []
    for _ in range(_WARM_UPS + calls):
        start = time.process_time()
        call(waveform)
        times.append(time.process_time() - start)
    return statistics.median(times[_WARM_UPS:])


if __name__ == "__main__":
    main()
