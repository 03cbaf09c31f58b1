"""What a page says of a sound: names of stretches of it under its picture, and notes beside it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

# As many as page.html has.
NUM_COLOURS = 8
_MAX_TICKS = 10


@dataclasses.dataclass(frozen=True)
class Span:
    """A stretch of a sound that has a name.

    Attributes:
      start_seconds: where it begins.
      end_seconds: where it ends.
      name: what it is; spans of one name have one colour on the whole page.
      text: what stands on it.
    """

    start_seconds: float
    end_seconds: float
    name: str
    text: str


@dataclasses.dataclass(frozen=True)
class Labels:
    """What is said of a sound.

    Attributes:
      notes: text beside the player, and in the words that stand for the picture: all that the spans
        say, for those who do not see them.
      spans: drawn under the picture.
    """

    notes: Sequence[str] = ()
    spans: Sequence[Span] = ()

    @property
    def lanes(self) -> list[list[Span]]:
        """The spans in rows, in each of which none overlaps another."""
        lanes: list[list[Span]] = []
        for span in sorted(self.spans, key=lambda span: span.start_seconds):
            for lane in lanes:
                if lane[-1].end_seconds <= span.start_seconds:
                    lane.append(span)
                    break
            else:
                lanes.append([span])
        return lanes


def colours_of(labels: Iterable[Labels]) -> dict[str, int]:
    """Returns the number of the colour of each name of spans, in the order in which they come."""
    names = dict.fromkeys(span.name for each in labels for span in each.spans)
    return {name: number % NUM_COLOURS for number, name in enumerate(names)}


def ticks(seconds: float) -> list[tuple[float, str]]:
    """Returns round times from the beginning of a picture to its end.

    Args:
      seconds: what the picture shows, above 0.

    Returns:
      Of each time its place in percent of the width, and its text; at most eleven.
    """
    decade = 10.0 ** math.floor(math.log10(seconds / _MAX_TICKS))
    step = next(f * decade for f in (1, 2, 5, 10) if f * decade * _MAX_TICKS >= seconds)
    times = [number * step for number in range(math.floor(seconds / step) + 1)]
    return [(100 * time / seconds, f"{time:.6g} s") for time in times]
