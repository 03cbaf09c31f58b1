"""What classifiers say of each patch of a file, in memory that hardly grows with its length."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sepcon.audio.decode import decode_blocks
from sepcon.data.clips import to_float
from sepcon.errors import SepconError
from sepcon.inference.members import Member, common_names

# So short that float32 tells every sample of a piece from its neighbours by its time.
_PIECE_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class PatchScores:
    """What is said of the patches of a file.

    Attributes:
      probabilities: [members, patches, classes] float32, by each classifier of an ensemble.
      start_seconds: [patches] float64, where each patch begins.
      power: [patches] float64, the mean square of the samples of each; full scale is 1.
      seconds: length of the file.
    """

    probabilities: npt.NDArray[np.float32]
    start_seconds: npt.NDArray[np.float64]
    power: npt.NDArray[np.float64]
    seconds: float


class PatchScorer:
    """Classifiers that cut a recording into the same patches.

    Args:
      members: one classifier, or those of an ensemble.

    Attributes:
      class_names: of the probabilities.
      patch_seconds: length of a patch.

    Raises:
      SepconError: they differ in rate, patches or classes; or one was exported by a version whose
        exports say nothing of patches.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.class_names = common_names(members)
        cuts = {_cut(member) for member in members}
        if len(cuts) > 1:
            told = " and ".join(f"{p:g} s every {h:g} s at {r} Hz" for r, p, h in sorted(cuts))
            raise SepconError(
                f"the models differ in the patches that they hear ({told}); with a separator give "
                "models that hear the same"
            )
        self._members = members
        ((self._rate_hz, self.patch_seconds, hop_seconds),) = cuts
        self._patch_samples = round(self.patch_seconds * self._rate_hz)
        self._hop_samples = round(hop_seconds * self._rate_hz)
        silence = np.zeros(self._patch_samples, np.int16)
        for member in members:
            if "patch_probabilities" not in _outputs(member, silence):
                raise _too_early()

    def score(self, path: str | Path, on_seconds: Callable[[float], object]) -> PatchScores:
        """Scores the patches of a file; those that the whole file at once would have.

        Args:
          path: the file, of any rate and number of channels.
          on_seconds: called with the seconds of sound that are done since the last call.

        Raises:
          AudioError: it cannot be decoded, see `sepcon.audio.files.open_audio`.
        """
        patches_of_piece = max(1, round(_PIECE_SECONDS * self._rate_hz / self._hop_samples))
        pieces = overlapping_pieces(
            decode_blocks(path, self._rate_hz),
            piece_samples=(patches_of_piece - 1) * self._hop_samples + self._patch_samples,
            hop_samples=patches_of_piece * self._hop_samples,
        )
        parts, done = [], 0
        for first, piece in pieces:
            parts.append(self._score_piece(first, piece))
            on_seconds((first + len(piece) - done) / self._rate_hz)
            done = first + len(piece)
        probabilities, starts, power = zip(*parts, strict=True)
        return PatchScores(
            np.concatenate(probabilities, axis=1),
            np.concatenate(starts),
            np.concatenate(power),
            done / self._rate_hz,
        )

    def _score_piece(
        self, first: int, piece: npt.NDArray[np.int16]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Probabilities, times and power of the patches of a piece that begins at a sample."""
        outputs = [_outputs(member, piece) for member in self._members]
        probabilities = np.stack([output["patch_probabilities"][0] for output in outputs])
        starts = np.rint(outputs[0]["patch_time_seconds"] * self._rate_hz).astype(np.int64)
        waveform = piece / 32768.0
        patches = [waveform[start : start + self._patch_samples] for start in starts]
        power = np.array([np.mean(np.square(patch)) for patch in patches])
        return probabilities, (first + starts) / self._rate_hz, power


def _cut(member: Member) -> tuple[int, float, float]:
    """Rate, length of patches and time between them."""
    try:
        return (
            member.sample_rate_hz,
            float(member.card["patch_seconds"]),
            float(member.card["hop_seconds"]),
        )
    except KeyError:
        raise _too_early() from None


def _too_early() -> SepconError:
    return SepconError(
        "the model is an export of an early version, which says nothing of patches; export the run "
        "folder again, or give it instead"
    )


def _outputs(member: Member, piece: npt.NDArray[np.int16]) -> dict[str, np.ndarray]:
    waveform = to_float(piece)[tf.newaxis]
    return {name: value.numpy() for name, value in member.function(waveform).items()}


def overlapping_pieces(
    blocks: Iterable[npt.NDArray[np.int16]], *, piece_samples: int, hop_samples: int
) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
    """Cuts a recording into pieces that begin a hop after one another.

    Args:
      blocks: the recording in parts of any length, [samples] each.
      piece_samples: of all pieces but the last, at least a hop.
      hop_samples: from the beginning of a piece to that of the next.

    Yields:
      Where a piece begins, and its samples. The last holds all that is left, so that it is at least
      as long as the others and less than a hop longer, or is the whole of a short recording.
    """
    rest, first = np.zeros(0, np.int16), 0
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= piece_samples + hop_samples:
            yield first, rest[:piece_samples]
            rest, first = rest[hop_samples:], first + hop_samples
    yield first, rest
