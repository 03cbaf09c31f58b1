"""Holding recordings out of training, class by class, so that no original is on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def hold_out_groups(
    *,
    groups: Sequence[str],
    by_class: Mapping[int, np.ndarray],
    share: float,
    seed: Sequence[int],
) -> set[str]:
    """Draws groups at random until each class has `share` of its candidates in them.

    The last group of a class is never drawn, so that a class of two groups or more has examples on
    both sides.

    Args:
      groups: the group of each recording, which is its original recording.
      by_class: class -> numbers of its candidate recordings, integer [n].
      share: share of each class's candidates to draw, 0 to 1.
      seed: whole numbers.

    Returns:
      The groups to hold out.
    """
    rng = np.random.default_rng(list(seed))
    held: set[str] = set()
    for label in sorted(by_class):
        members = [groups[number] for number in by_class[label]]
        choices = sorted(set(members))
        wanted = share * len(members)
        got = sum(member in held for member in members)
        for place in rng.permutation(len(choices)):
            group = choices[place]
            kept = sum(other not in held for other in choices)
            if got >= wanted or kept <= 1:
                break
            if group not in held:
                held.add(group)
                got += members.count(group)
    return held
