"""TDCN++: the improved time-dilated convolution network between the basis and the masks.

Kavalerov et al. 2019, "Universal sound separation"; the form used here is that of Wisdom et al.
2020, "Unsupervised sound separation using mixture invariant training".
"""

from __future__ import annotations

import keras
import tensorflow as tf

from sepcon.models.separator.cumulative_norm import cumulative_norm
from sepcon.models.separator.prelu_norm import prelu_norm
from sepcon.models.separator.time_convolution import (
    causal_time_convolution,
    depthwise_time_convolution,
)

_BLOCK_SCALE_BASE = 0.9
_PRELU_SLOPE = 0.1


class ScaledDense(keras.layers.Layer):
    """A dense layer whose output is multiplied by one trainable number.

    The number is multiplied into the kernel, which is the same and spares a pass over the output.

    Args:
      num_inputs: size of the last axis of the input.
      num_outputs: size of the last axis of the output.
      use_bias: whether a bias is added (before the scale).
      scale: where the trainable number starts, None for none.
      matmul_dtype: what the matrix product's inputs and result are rounded to.
    """

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        *,
        use_bias: bool = False,
        scale: float | None = None,
        matmul_dtype: str = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.kernel = self.add_weight(
            shape=(num_inputs, num_outputs), initializer="glorot_uniform", name="kernel"
        )
        self.bias = (
            self.add_weight(shape=(num_outputs,), initializer="zeros", name="bias")
            if (use_bias)
            else None
        )
        self.scale = _scalar(self, scale, "scale") if scale is not None else None
        self._matmul_dtype = matmul_dtype
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Multiplies the last axis of x [..., inputs] by the kernel: [..., outputs]."""
        kernel = tf.convert_to_tensor(self.kernel)
        bias = None if self.bias is None else tf.convert_to_tensor(self.bias)
        if self.scale is not None:
            scale = tf.convert_to_tensor(self.scale)
            kernel = scale * kernel
            bias = None if bias is None else scale * bias
        rows = tf.reshape(x, [-1, kernel.shape[0]])  # one large product, not one per example
        dtype = self._matmul_dtype
        y = tf.cast(tf.matmul(tf.cast(rows, dtype), tf.cast(kernel, dtype)), x.dtype)
        if bias is not None:
            y = tf.nn.bias_add(y, bias)
        return tf.reshape(y, tf.concat([tf.shape(x)[:-1], [kernel.shape[1]]], 0))


class PReluNorm(keras.layers.Layer):
    """PReLU, then normalisation; a single slope, gain and bias each.

    Args:
      norm: `instance`, `layer` or `global`, see `sepcon.models.separator.prelu_norm`.
      causal: whether a frame's statistics are those of the frames up to it.
    """

    def __init__(self, norm: str, *, causal: bool = False, name: str | None = None) -> None:
        super().__init__(name=name, dtype="float32")
        self.slope = _scalar(self, _PRELU_SLOPE, "slope")
        self.gain = _scalar(self, 1.0, "gain")
        self.bias = _scalar(self, 0.0, "bias")
        self._norm = norm
        self._cumulative = causal and norm != "layer"  # which sees nothing but the frame anyway
        self.built = True

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Applies PReLU and the norm to x [batch, frames, channels], which keeps its shape."""
        if self._cumulative:
            return cumulative_norm(
                tf.maximum(x, 0.0) + tf.convert_to_tensor(self.slope) * tf.minimum(x, 0.0),
                gain=tf.convert_to_tensor(self.gain),
                bias=tf.convert_to_tensor(self.bias),
                over_channels=self._norm == "global",
                compiled=training,
            )
        return prelu_norm(
            x,
            slope=tf.convert_to_tensor(self.slope),
            gain=tf.convert_to_tensor(self.gain),
            bias=tf.convert_to_tensor(self.bias),
            norm=self._norm,
            # Training sees one shape, a separator in use many: compiling for each does not pay.
            compiled=training,
        )


class TimeConvolution(keras.layers.Layer):
    """Depthwise convolution over time with bias.

    Args:
      channels: size of the last axis.
      kernel_size: taps, an odd number.
      dilation: frames from tap to tap.
      causal: whether the last tap, instead of the middle one, is at the frame itself.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int,
        dilation: int,
        causal: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.kernel = self.add_weight(
            shape=(kernel_size, 1, channels, 1), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(channels,), initializer="zeros", name="bias")
        self._dilation = dilation
        self._convolution = causal_time_convolution if causal else depthwise_time_convolution
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Filters each channel of x [batch, frames, channels] over time; it keeps its shape."""
        y = self._convolution(x, tf.convert_to_tensor(self.kernel), self._dilation)
        return tf.nn.bias_add(y, tf.convert_to_tensor(self.bias))


class TdcnBlock(keras.layers.Layer):
    """One residual block: dense, PReLU and norm, convolution, PReLU and norm, dense.

    Args:
      bottleneck: size of the last axis of input and output.
      conv_channels: size of the last axis inside.
      kernel_size: taps of the convolution.
      dilation: frames from tap to tap.
      norm: what normalisation averages over.
      scale: where the trainable factor of the block's output starts, None for none.
      matmul_dtype: what the matrix products' inputs and results are rounded to.
      causal: whether no frame sees later ones.
    """

    def __init__(
        self,
        *,
        bottleneck: int,
        conv_channels: int,
        kernel_size: int,
        dilation: int,
        norm: str,
        scale: float | None,
        matmul_dtype: str,
        causal: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.dense1 = ScaledDense(
            bottleneck, conv_channels, scale=1.0, matmul_dtype=matmul_dtype, name="dense1"
        )
        self.normact1 = PReluNorm(norm, causal=causal, name="normact1")
        self.timeconv = TimeConvolution(
            conv_channels,
            kernel_size=kernel_size,
            dilation=dilation,
            causal=causal,
            name="timeconv",
        )
        self.normact2 = PReluNorm(norm, causal=causal, name="normact2")
        self.dense2 = ScaledDense(
            conv_channels, bottleneck, scale=scale, matmul_dtype=matmul_dtype, name="dense2"
        )
        self.built = True

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Adds the output of the block to x [batch, frames, bottleneck]."""
        y = self.normact1(self.dense1(x), training=training)
        # [batch, frames, conv_channels]
        y = self.normact2(self.timeconv(y), training=training)
        return x + self.dense2(y)


class Tdcn(keras.layers.Layer):
    """A bottleneck and repeats of blocks whose dilation doubles from block to block.

    Args:
      num_inputs: size of the input's last axis.
      bottleneck: size of the output's last axis.
      conv_channels: size of the last axis inside a block.
      num_repeats: how often the dilations start again at 1.
      num_dilations: blocks in a repeat, of dilation 1, 2, 4 ...
      kernel_size: taps of the convolutions.
      norm: what normalisation averages over.
      block_scale: `exponential` (the output of block b is scaled by 0.9^b, trainable) or `none`.
      skip_residual: whether the input of every repeat goes through a dense layer to the input of
        every later one.
      matmul_dtype: what the matrix products' inputs and results are rounded to.
      causal: whether no frame sees later ones.
    """

    def __init__(
        self,
        num_inputs: int,
        *,
        bottleneck: int,
        conv_channels: int,
        num_repeats: int,
        num_dilations: int,
        kernel_size: int,
        norm: str,
        block_scale: str,
        skip_residual: bool,
        matmul_dtype: str,
        causal: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self._num_dilations = num_dilations
        self.initial_dense = ScaledDense(
            num_inputs,
            bottleneck,
            use_bias=True,
            scale=1.0,
            matmul_dtype=matmul_dtype,
            name="initial_dense",
        )
        # Each layer is an attribute: lists of them are not seen by tf.train.Checkpoint.
        self._num_blocks = num_repeats * num_dilations
        for b in range(self._num_blocks):
            block = TdcnBlock(
                bottleneck=bottleneck,
                conv_channels=conv_channels,
                kernel_size=kernel_size,
                dilation=2 ** (b % num_dilations),
                norm=norm,
                scale=_BLOCK_SCALE_BASE**b if block_scale == "exponential" else None,
                matmul_dtype=matmul_dtype,
                causal=causal,
                name=f"block_{b}",
            )
            setattr(self, block.name, block)
        starts = range(0, self._num_blocks, num_dilations)
        pairs = [f"{a}_to_{b}" for b in starts for a in starts if a < b]
        self._skip_pairs = tuple(pairs) if skip_residual else ()
        for pair in self._skip_pairs:
            skip = ScaledDense(
                bottleneck,
                bottleneck,
                use_bias=True,
                scale=1.0,
                matmul_dtype=matmul_dtype,
                name=f"skip_{pair}",
            )
            setattr(self, skip.name, skip)
        self.built = True

    @property
    def blocks(self) -> list[TdcnBlock]:
        """The blocks in order."""
        return [getattr(self, f"block_{b}") for b in range(self._num_blocks)]

    @property
    def skips(self) -> dict[str, ScaledDense]:
        """The dense layers between repeats, by `<block>_to_<block>`."""
        return {pair: getattr(self, f"skip_{pair}") for pair in self._skip_pairs}

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Maps features x [batch, frames, bins] to activations [batch, frames, bottleneck]."""
        x = self.initial_dense(x)  # [batch, frames, bottleneck]
        skips = self.skips
        inputs: dict[int, tf.Tensor] = {}
        for b, block in enumerate(self.blocks):
            if skips and b % self._num_dilations == 0:
                for source, earlier in inputs.items():
                    x = x + skips[f"{source}_to_{b}"](earlier)
                inputs[b] = x
            x = block(x, training=training)
        return x


def _scalar(layer: keras.layers.Layer, value: float, name: str) -> keras.Variable:
    return layer.add_weight(shape=(), initializer=keras.initializers.Constant(value), name=name)
