"""The kinds of channels that no separator made, by name; without TensorFlow, see `controls`."""

from __future__ import annotations

TRUE_SOURCES = "true_sources"
RANDOM_MASKS = "random_masks"
KINDS = (TRUE_SOURCES, RANDOM_MASKS)
