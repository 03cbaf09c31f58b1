"""Trains the toy task in a process that can be killed; run by faults_test.py."""

import argparse
import json
import sys

from sepcon.errors import Interrupted, SepconError
from sepcon.training.runtime import configure_threads, make_reproducible

configure_threads(1)  # before anything else uses TensorFlow

from toy_training import ToyStream, toy_setup  # noqa: E402

from sepcon.training.loop import fit  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir")
    parser.add_argument("--num_steps", type=int, default=120)
    parser.add_argument("--seconds_per_batch", type=float, default=0.0)
    arguments = parser.parse_args()
    make_reproducible(0)
    task, optimizer = toy_setup()
    try:
        result = fit(
            task=task,
            stream=ToyStream(seconds_per_batch=arguments.seconds_per_batch),
            optimizer=optimizer,
            num_steps=arguments.num_steps,
            run_dir=arguments.run_dir,
            steps_per_call=2,
            checkpoint_every_steps=2,
            log_every_steps=7,
        )
    except Interrupted as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except SepconError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"step": result.step}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
