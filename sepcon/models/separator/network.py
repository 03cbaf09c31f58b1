"""The separator: a mixture's waveform in, the waveforms of its sources out."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import keras
import tensorflow as tf

from sepcon.audio.samples import SAMPLE_RATE_HZ
from sepcon.errors import SepconError
from sepcon.models.model_file import MODEL_FILE, read_description
from sepcon.models.packaged import folder_of
from sepcon.models.separator import mixture_consistency
from sepcon.models.separator.basis import LearnedBasis, StftBasis
from sepcon.models.separator.cumulative_norm import cumulative_mean
from sepcon.models.separator.dft_basis import DftBasis
from sepcon.models.separator.prelu_norm import NORM_AXES
from sepcon.models.separator.tdcn import ScaledDense, Tdcn
from sepcon.models.weights import list_states, read_weights, state_folder
from sepcon.runs.run_folder import write_model_file

_KIND = "separator"
_CHOICES: dict[str, tuple[object, ...]] = {
    "basis": ("stft", "learned"),
    "norm": tuple(NORM_AXES),
    "block_scale": ("exponential", "none"),
    "mixture_consistency": ("predicted", "magnitude_squared", "uniform"),
    "matmul_dtype": ("float32", "bfloat16"),
    "causal": (False, True),
}


@dataclasses.dataclass(frozen=True)
class SeparatorConfig:
    """What a separator looks like. The defaults are TDCN++ over an STFT, of 8.9 M parameters.

    Attributes:
      num_sources: outputs of the separator.
      sample_rate_hz: of mixture and sources.
      basis: `stft` or `learned`.
      window_seconds: of the basis. The learned one is used with 0.0025.
      hop_seconds: of the basis, from window to window. Learned: 0.00125.
      num_coefficients: size of the learned basis; the STFT's follows from its window.
      bottleneck: channels between blocks.
      conv_channels: channels inside a block.
      num_repeats: how often the dilations start again.
      num_dilations: blocks per repeat, of dilation 1, 2, 4 ...
      kernel_size: taps of the convolutions, odd.
      norm: what activations are normalised over: `instance` (time), `layer` (channels), `global`.
      block_scale: `exponential` (block b starts scaled by 0.9^b) or `none`.
      skip_residual: dense connections from the input of every repeat to that of every later one.
      mixture_consistency: what distributes the residual over the sources: `predicted` weights,
        `magnitude_squared` shares of energy, or `uniform`.
      matmul_dtype: `float32`, or `bfloat16` to round what the matrix products take and give; they
        sum in float32, and weights, gradients and all else stay float32.
      causal: whether no output waits for input later than one window: convolutions reach back
        only, norms and weights of the mixture consistency know what was up to their frame. A
        sample's sources are then final once the mixture is known up to `window_seconds` after it
        (the algorithmic latency), whatever follows.
    """

    num_sources: int = 4
    sample_rate_hz: int = SAMPLE_RATE_HZ
    basis: str = "stft"
    window_seconds: float = 0.032
    hop_seconds: float = 0.008
    num_coefficients: int = 256
    bottleneck: int = 256
    conv_channels: int = 512
    num_repeats: int = 4
    num_dilations: int = 8
    kernel_size: int = 3
    norm: str = "instance"
    block_scale: str = "exponential"
    skip_residual: bool = False
    mixture_consistency: str = "predicted"
    matmul_dtype: str = "float32"
    causal: bool = False

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                _refuse(name, getattr(self, name), f"one of {', '.join(map(str, choices))}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and (not isinstance(value, int) or value < 1):
                _refuse(field.name, value, "a positive whole number")
        if self.kernel_size % 2 == 0:
            _refuse("kernel_size", self.kernel_size, "an odd number")
        if not 1 <= self.hop_samples <= -(-self.window_samples // 2):
            expected = f"one sample to half of window_seconds, which is {self.window_seconds}"
            _refuse("hop_seconds", self.hop_seconds, expected)

    @property
    def window_samples(self) -> int:
        return round(self.window_seconds * self.sample_rate_hz)

    @property
    def hop_samples(self) -> int:
        return round(self.hop_seconds * self.sample_rate_hz)


class Separator(keras.Model):
    """TDCN++ masks over a basis, with mixture consistency.

    Wisdom et al. 2020, "Unsupervised sound separation using mixture invariant training". Calling
    it maps a mixture [batch, samples] float32 of any length to its sources
    [batch, source, samples] float32, which sum to the mixture within rounding. `training=True`
    gives the same numbers through operations that XLA compiles for the shape at hand.

    Args:
      config: the architecture. All variables exist after construction; their values follow from
        `keras.utils.set_random_seed`.
      by_matrix_products: whether Fourier transforms are matrix products, for graphs without FFT
        and complex numbers. It differs by rounding alone.
    """

    def __init__(self, config: SeparatorConfig, *, by_matrix_products: bool = False) -> None:
        super().__init__(name=_KIND, dtype="float32")
        self.config = config
        self.basis = _basis(config, DftBasis if by_matrix_products else StftBasis)
        bins = self.basis.num_coefficients
        self.tdcn = Tdcn(
            bins,
            bottleneck=config.bottleneck,
            conv_channels=config.conv_channels,
            num_repeats=config.num_repeats,
            num_dilations=config.num_dilations,
            kernel_size=config.kernel_size,
            norm=config.norm,
            block_scale=config.block_scale,
            skip_residual=config.skip_residual,
            matmul_dtype=config.matmul_dtype,
            causal=config.causal,
            name="tdcn",
        )
        self.mask_dense = ScaledDense(
            config.bottleneck,
            config.num_sources * bins,
            matmul_dtype=config.matmul_dtype,
            name="mask_dense",
        )
        self.mix_weights = (
            ScaledDense(config.bottleneck, config.num_sources, name="mix_weights")
            if config.mixture_consistency == "predicted"
            else None
        )
        self.built = True

    def call(self, mixture: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Separates mixtures.

        Args:
          mixture: [batch, samples] float32.
          training: whether gradients will be taken, which decides how parts are compiled.

        Returns:
          [batch, source, samples] float32; the sources sum to the mixture.
        """
        coefficients = self.basis.encode(mixture)  # [batch, frames, bins]
        activations = self.tdcn(self.basis.features(coefficients), training=training)
        logits = self.mask_dense(activations)  # [batch, frames, source * bins]
        frames = tf.shape(logits)[1] if logits.shape[1] is None else logits.shape[1]
        logits = tf.reshape(
            logits, [-1, frames, self.config.num_sources, self.basis.num_coefficients]
        )
        estimate = self.basis.decode(logits, coefficients, _samples(mixture), compiled=training)
        return mixture_consistency.enforce_mixture_consistency(
            mixture=mixture, estimate=estimate, weights=self._weights(activations, estimate)
        )

    def with_matrix_products(self) -> Separator:
        """Returns the same separator, with weights of its own, without FFT and complex numbers."""
        twin = Separator(self.config, by_matrix_products=True)
        for own, given in zip(twin.variables, self.variables, strict=True):
            own.assign(given)
        return twin

    def _weights(self, activations: tf.Tensor, estimate: tf.Tensor) -> tf.Tensor:
        if self.config.causal:
            return self._causal_weights(activations, estimate)
        if self.mix_weights is not None:
            return tf.nn.softmax(self.mix_weights(tf.reduce_mean(activations, axis=1)))
        if self.config.mixture_consistency == "magnitude_squared":
            return mixture_consistency.magnitude_squared_weights(estimate)
        return mixture_consistency.uniform_weights(self.config.num_sources)

    def _causal_weights(self, activations: tf.Tensor, estimate: tf.Tensor) -> tf.Tensor:
        """The same with means up to each frame or sample instead of those of the whole clip."""
        if self.mix_weights is not None:
            of_frames = tf.nn.softmax(self.mix_weights(cumulative_mean(activations)))
            return mixture_consistency.weights_of_samples(
                of_frames, hop_samples=self.config.hop_samples, num_samples=_samples(estimate)
            )
        if self.config.mixture_consistency == "magnitude_squared":
            return mixture_consistency.cumulative_magnitude_squared_weights(estimate)
        return mixture_consistency.uniform_weights(self.config.num_sources)


def save_separator_config(config: SeparatorConfig, run_dir: str | os.PathLike) -> None:
    """Writes the architecture into a run folder as model.json.

    Raises:
      SepconError: the folder describes another architecture.
    """
    text = json.dumps({"kind": _KIND, "config": dataclasses.asdict(config)}, indent=2)
    write_model_file(Path(run_dir) / MODEL_FILE, text + "\n")


def load_separator_config(run_dir: str | os.PathLike) -> SeparatorConfig:
    """Reads the architecture out of a run folder.

    Raises:
      SepconError: there is no such file, or it is not a separator's.
    """
    path = Path(run_dir) / MODEL_FILE
    return read_description(
        path, kind=_KIND, parse=lambda fields: SeparatorConfig(**fields["config"])
    )


def load_separator(run_dir: str | os.PathLike, step: int | None = None) -> Separator:
    """Builds the separator of a run folder with the weights it had at a step.

    Args:
      run_dir: what `sepcon train_separator` wrote, or a name of packaged weights.
      step: a state kept there; None for the last one.

    Raises:
      SepconError: there is no separator in the folder, or no such state.
    """
    run_dir = folder_of(run_dir)
    separator = Separator(load_separator_config(run_dir))
    read_weights(separator, state_folder(run_dir, chosen_step(run_dir, step)))
    return separator


def chosen_step(run_dir: str | os.PathLike, step: int | None) -> int:
    """Returns the step of a state that is kept in a run folder, the last one for None.

    Raises:
      SepconError: there is no such state.
    """
    steps = list_states(run_dir)
    if step is None:
        step = steps[-1] if steps else None
    if step is None or step not in steps:
        kept = ", ".join(map(str, steps)) or "none"
        raise SepconError(f"{run_dir}: no state of step {step}; kept there: {kept}")
    return step


def _basis(config: SeparatorConfig, stft: type[StftBasis]) -> StftBasis | LearnedBasis:
    if config.basis == "stft":
        return stft(
            window_samples=config.window_samples,
            hop_samples=config.hop_samples,
            causal=config.causal,
        )
    return LearnedBasis(
        window_samples=config.window_samples,
        hop_samples=config.hop_samples,
        num_coefficients=config.num_coefficients,
    )


def _samples(waveform: tf.Tensor) -> tf.Tensor | int:
    return tf.shape(waveform)[-1] if waveform.shape[-1] is None else waveform.shape[-1]


def _refuse(field: str, value: object, expected: str) -> None:
    raise SepconError(f"SeparatorConfig.{field}: got {value!r}, expected {expected}")
