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
    """Draws groups until each class has `share` of its candidates among them.

    A class never gives away its last group: both sides keep an example where there are two.

    Args:
      groups: the group of each recording.
      by_class: numbers of the candidate recordings of each class.
      share: of each class's candidates.
      seed: whole numbers.
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
