"""Turns a checkpoint of the reference implementation of MixIT into a run folder of sepcon.

IN is a checkpoint of google-research/sound-separation: its prefix, a folder of checkpoints, or an
.npz file of arrays called var/<name>. OUT is what `sepcon separate` takes as a separator. The
architecture is read from names and shapes; the options say what these cannot tell, and their
defaults are those of the published code at 16 kHz. Moments, averages and counters of training
are left behind.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from sepcon.errors import SepconError


def main(arguments: Sequence[str] | None = None) -> int:
    """Converts; returns the exit code."""
    options = vars(_parse(arguments))
    checkpoint, run_dir = options.pop("in"), options.pop("out")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is there
    from sepcon.models.separator.reference_checkpoint import convert_reference_checkpoint

    try:
        converted = convert_reference_checkpoint(checkpoint, run_dir, **options)
    except SepconError as error:
        print(f"sepcon: error: {error}", file=sys.stderr)
        return 1
    if converted is not None:
        print(
            f"{run_dir}: {len(converted.variables)} variables of step {converted.step}, "
            f"{len(converted.ignored)} that only training needs left behind"
        )
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("in", metavar="IN", help="the checkpoint")
    parser.add_argument("out", metavar="OUT", help="the run folder that is made")
    parser.add_argument("--sample_rate_hz", type=int, default=16000, help="default: %(default)s")
    parser.add_argument(
        "--window_seconds", type=float, help="of an STFT; default: as long as its transform"
    )
    parser.add_argument(
        "--hop_seconds", type=float, help="default: window / 4, with a learned basis window / 2"
    )
    parser.add_argument(
        "--num_dilations",
        type=int,
        default=8,
        help="blocks per repeat where no skip connections tell it; default: %(default)s",
    )
    parser.add_argument(
        "--unpredicted_consistency",
        choices=("magnitude_squared", "uniform"),
        default="magnitude_squared",
        help="mixture consistency where its weights are not predicted; default: %(default)s",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
