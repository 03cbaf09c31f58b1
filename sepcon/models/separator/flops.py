"""How many floating point operations a separator needs, counted from its configuration.

For the plans and benchmarks of tools/: it needs neither the weights nor a graph, whose tracing
takes seconds for each of many configurations and lengths. A test compares it with the traced graph.
"""

from __future__ import annotations

from sepcon.models.separator.network import SeparatorConfig


def separator_flops(config: SeparatorConfig, *, num_samples: int) -> int:
    """Operations of one forward pass over one clip, in matrix products and convolutions alone.

    A product and a sum count as two. Fourier transforms, normalisation and everything else that
    goes through memory element by element are left out, so that the rate can be compared with that
    of a matrix product. A training step has three times as many: the gradient of a product with
    respect to each of its two factors is a product of the same size.

    Args:
      config: of the separator.
      num_samples: of the clip.

    Returns:
      The number of operations.
    """
    bins = _num_coefficients(config)
    block = 2 * config.bottleneck * config.conv_channels + config.kernel_size * config.conv_channels
    num_skips = config.num_repeats * (config.num_repeats - 1) // 2 if config.skip_residual else 0
    per_frame = (
        bins * config.bottleneck
        + config.num_repeats * config.num_dilations * block
        + num_skips * config.bottleneck**2
        + config.bottleneck * config.num_sources * bins
    )
    if config.basis == "learned":
        per_frame += (1 + config.num_sources) * config.window_samples * bins
    num_frames = _num_frames(config, num_samples)
    if config.mixture_consistency == "predicted":
        num_predictions = num_frames if config.causal else 1
        weights = num_predictions * config.bottleneck * config.num_sources
    else:
        weights = 0
    return 2 * (num_frames * per_frame + weights)


def _num_coefficients(config: SeparatorConfig) -> int:
    if config.basis == "learned":
        return config.num_coefficients
    return (1 << (config.window_samples - 1).bit_length()) // 2 + 1


def _num_frames(config: SeparatorConfig, num_samples: int) -> int:
    if config.basis == "stft":
        return -(-num_samples // config.hop_samples)
    beyond_first = -(-(num_samples - config.window_samples) // config.hop_samples)
    return 1 + max(beyond_first, 0)
