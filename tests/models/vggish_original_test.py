"""VGGish as it was published: its layers, its number of weights, its one length of patches."""

import keras
import numpy as np
import pytest

from sepcon.errors import SepconError
from sepcon.models.batch_norm import plain_json
from sepcon.models.encoder_input import is_input_normalisation
from sepcon.models.encoders import with_frames
from sepcon.models.vggish_original import vggish_original

HIDDEN = 24


@pytest.fixture(scope="module")
def small() -> keras.Model:
    """With few units where the published one has 4096: seventeen million weights take seconds."""
    return vggish_original(embedding_size=8, hidden_units=HIDDEN, num_frames=16, num_mels=32)


def num_weights(*, area: int, hidden: int, embedding: int) -> int:
    convolutions = [(1, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    dense = [(area * 512, hidden), (hidden, hidden), (hidden, embedding)]
    return sum(9 * i * o + o for i, o in convolutions) + sum(i * o + o for i, o in dense)


def test_it_has_the_published_layers(small):
    found = sum(int(np.prod(each.shape)) for each in small.trainable_weights)
    assert found == num_weights(area=2, hidden=HIDDEN, embedding=8)
    # Of 96 frames and 64 bands 6 x 4 are left: the 72 million that are known of VGGish.
    assert num_weights(area=24, hidden=4096, embedding=128) == 72_141_184


def test_it_has_no_normalisation_but_that_of_its_input(small):
    norms = [each for each in small.layers if isinstance(each, keras.layers.BatchNormalization)]
    assert [is_input_normalisation(each) for each in norms] == [True]
    log_mel = np.random.default_rng(0).normal(size=(2, 16, 32)).astype(np.float32)
    copy = keras.models.model_from_json(plain_json(small))
    copy.set_weights(small.get_weights())
    np.testing.assert_array_equal(copy(log_mel), small(log_mel))
    assert small(log_mel).shape == (2, 8)


def test_patches_of_another_length_are_refused(small):
    with pytest.raises(SepconError, match="takes patches of one length alone; give num_frames"):
        vggish_original()
    with pytest.raises(SepconError, match="takes patches of 16 frames alone, asked for 32"):
        with_frames(small, 32)
    assert with_frames(small, 16).output_shape == (None, 8)
