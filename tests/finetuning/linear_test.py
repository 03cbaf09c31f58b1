"""Whose statistics a frozen encoder has, and what is refused."""

import numpy as np
import pytest

from sepcon.errors import SepconError
from sepcon.finetuning.linear import EmbeddedClips, LinearEvaluation, fit_each
from sepcon.models.encoders import small_resnet


def test_the_input_always_has_the_statistics_of_the_clips_and_the_rest_if_asked_to() -> None:
    rng = np.random.default_rng(0)
    batches = [rng.normal(3, 2, (8, 12, 9)).astype(np.float32) for _ in range(2)]
    for statistics in ("input", "all"):
        encoder = small_resnet(
            num_frames=12, num_mels=9, num_maps=3, widths=(3, 4), embedding_size=5
        )
        before = {layer.name: layer.get_weights() for layer in encoder.layers}
        LinearEvaluation(statistics=statistics).take_statistics(encoder, batches)  # type: ignore[arg-type]
        mean, variance = encoder.layers[1].get_weights()
        np.testing.assert_allclose(
            mean, np.mean([each.mean(axis=(0, 1)) for each in batches], axis=0), rtol=1e-4
        )
        np.testing.assert_allclose(
            variance, np.mean([each.var(axis=(0, 1)) for each in batches], axis=0), rtol=1e-3
        )
        changed = {
            layer.name
            for layer in encoder.layers[2:]
            for own, other in zip(layer.get_weights(), before[layer.name], strict=True)
            if not np.array_equal(own, other)
        }
        assert bool(changed) == (statistics == "all")
        assert all("normalization" in name for name in changed)


def test_a_class_without_clips_to_learn_from_is_still_a_class() -> None:
    embedding = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    clips = EmbeddedClips(tuple("abcdefghij"), np.arange(10) % 2, embedding)
    fitted = fit_each(LinearEvaluation(penalties=(1.0, 0.1)), clips, num_classes=3)
    assert [each.kernel.shape for each in fitted] == [(4, 3), (4, 3)]
    found = clips.predictions(fitted[1])
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.embedding, embedding)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(SepconError, match="statistics is 'images', expected one of input, all"):
        LinearEvaluation(statistics="images")  # type: ignore[arg-type]
    with pytest.raises(SepconError, match="penalties are"):
        LinearEvaluation(penalties=())
