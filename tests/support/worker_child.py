"""One of two workers that train the toy task together; run by distribution_test.py."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from sepcon.training.distribution import _adder, is_chief, make_strategy, wait_for_chief

strategy = make_strategy("multi_worker")  # before anything else uses TensorFlow

from toy_training import ToyStream, toy_setup, values_of  # noqa: E402

from sepcon.errors import Interrupted  # noqa: E402
from sepcon.training.loop import fit  # noqa: E402


def main(run_dir: Path) -> None:
    task, optimizer = toy_setup(strategy)

    def stop_the_second() -> dict[str, float]:
        if not is_chief(strategy):
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    results = []
    for validate in (stop_the_second, None):
        try:
            result = fit(
                task=task,
                stream=ToyStream(),
                optimizer=optimizer,
                num_steps=6,
                run_dir=run_dir,
                strategy=strategy,
                steps_per_call=2,
                gradient_clip_norm=0.5,
                log_every_steps=1,
                keep_state_steps=[0],
                validate=validate,
                validate_every_steps=4,
            )
            results.append(result.step)
        except Interrupted as error:
            results.append(str(error))
    weights = [value.tolist() for value in values_of(task.model)]
    if is_chief(strategy):
        time.sleep(1.0)  # as if it exported what was trained
    chief_done = time.time()
    wait_for_chief(strategy)
    values = {
        "results": results,
        "weights": weights,
        "chief": is_chief(strategy),
        "done": chief_done,
        "left": time.time(),
        "traces": _adder(strategy).experimental_get_tracing_count(),
    }
    print(json.dumps(values))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
