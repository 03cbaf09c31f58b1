"""Encoders of images on disk, and as the start of encoders of sound."""

from pathlib import Path

import numpy as np
import pytest

from sepcon.errors import SepconError
from sepcon.models.encoders import log_mel_statistics, small_cnn, small_resnet
from sepcon.models.images.encoder_files import (
    load_image_encoder,
    save_image_encoder_config,
    take_body,
)
from sepcon.models.weights import state_folder, write_weights

SIZES = {"embedding_size": 6, "widths": (4, 5)}


def of_images(**changes: object):  # type: ignore[no-untyped-def]
    encoder = small_resnet(image_size=16, **{**SIZES, **changes})
    rng = np.random.default_rng(0)
    encoder.set_weights([rng.uniform(0.1, 1, w.shape) for w in encoder.get_weights()])
    return encoder


def test_an_encoder_of_images_comes_back(tmp_path: Path) -> None:
    encoder = of_images()
    save_image_encoder_config(run_dir=tmp_path, encoder=encoder, image_size=16)
    write_weights(encoder, state_folder(tmp_path, 3))
    images = np.random.default_rng(1).random((2, 16, 16, 3), np.float32)
    np.testing.assert_array_equal(load_image_encoder(tmp_path)(images), encoder(images))


def test_sound_is_seen_as_the_image_of_its_maps_would_be() -> None:
    source = of_images()
    encoder = small_resnet(num_frames=16, num_mels=48, num_maps=3, **SIZES)
    take_body(encoder, source)
    image = np.random.default_rng(1).random((2, 16, 16, 3), np.float32)
    # Both normalise their input by the statistics that each has: make them those of no change.
    for each, shape in ((encoder, (48,)), (source, (3,))):
        layer = each.layers[1]
        assert layer.name.startswith("normalize")
        layer.set_weights([np.zeros(shape), np.full(shape, 1 - 1e-3)])
    side_by_side = image.transpose(0, 1, 3, 2).reshape(2, 16, 48)  # [frames, maps, mels]
    np.testing.assert_allclose(encoder(side_by_side), source(image), rtol=1e-5)


def test_one_map_is_seen_as_a_grey_image() -> None:
    source = of_images()
    encoder = small_resnet(num_frames=16, num_mels=16, **SIZES)
    take_body(encoder, source)
    grey = np.random.default_rng(1).random((2, 16, 16), np.float32)
    encoder.layers[1].set_weights([np.zeros(16), np.full(16, 1 - 1e-3)])
    source.layers[1].set_weights([np.zeros(3), np.full(3, 1 - 1e-3)])
    image = np.repeat(grey[..., np.newaxis], 3, axis=-1)
    np.testing.assert_allclose(encoder(grey), source(image), rtol=1e-4, atol=1e-4)


def test_another_network_is_no_start() -> None:
    encoder = small_resnet(num_frames=16, num_mels=48, num_maps=3, **SIZES)
    with pytest.raises(SepconError, match=r"layer conv.* has shape \(3, 3, 3, 7\) in the start"):
        take_body(encoder, of_images(widths=(7, 5)))
    with pytest.raises(SepconError, match="the start has 9 layers with weights, small_resnet has"):
        take_body(encoder, small_cnn(image_size=16, embedding_size=6))


def test_statistics_of_the_log_mel_are_those_of_numpy() -> None:
    log_mel = np.random.default_rng(0).normal(1, 2, (2, 30, 6)).astype(np.float32)
    encoder = log_mel_statistics(num_frames=30, num_mels=6, num_maps=3)
    encoder.layers[1].set_weights([np.zeros(6), np.full(6, 1 - 1e-3)])
    expected = np.concatenate([log_mel.mean(axis=1), log_mel.std(axis=1)], axis=1)
    np.testing.assert_allclose(encoder(log_mel), expected, rtol=1e-4)
