"""The names of controls, for who must know them before TensorFlow is loaded."""

from __future__ import annotations

from collections.abc import Sequence

# Kinds of `sepcon control_channels`.
TRUE_SOURCES, RANDOM_MASKS = "true_sources", "random_masks"
KINDS = (TRUE_SOURCES, RANDOM_MASKS)

# What `benchmark_channels` puts beside the mixture of a scene, besides the states of a separator.
MIXTURE_ALONE, RANDOM_FEATURES = "mixture alone", "random features"
FILTERED_VIEWS, MASKED_VIEWS, SOURCE_VIEWS = "random filters", "random masks", "true sources"


def view_kinds(states: Sequence[str]) -> tuple[str, ...]:
    """Returns all rows of `benchmark_channels` for an encoder, in their order.

    Args:
      states: of a separator, by the names that they have there.
    """
    return (
        MIXTURE_ALONE,
        RANDOM_FEATURES,
        *states,
        FILTERED_VIEWS,
        MASKED_VIEWS,
        SOURCE_VIEWS,
    )
