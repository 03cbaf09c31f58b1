"""Products of encoders that see several log-mel maps, against patches cut by hand."""

import numpy as np
import pytest
from encoder_stub import noise

from sepcon.audio.maps.log_mel_maps import FrontEnd, LogMelMaps, ResizedLogMelMaps
from sepcon.models.encoders import small_cnn
from sepcon.models.products.embedding import EmbeddingModel

PATCH = 8000


@pytest.mark.parametrize(
    "front_end",
    [LogMelMaps(mels_per_map=8), ResizedLogMelMaps(mels_per_map=8, num_columns=20)],
    ids=lambda front_end: type(front_end).__name__,
)
def test_a_recording_is_the_mean_of_its_patches(front_end: FrontEnd) -> None:
    encoder = small_cnn(
        embedding_size=6, num_frames=front_end.num_frames(PATCH), num_mels=24, num_maps=3
    )
    module = EmbeddingModel(encoder, front_end, patch_seconds=0.5, hop_seconds=0.3)
    waveform = noise(2, 14000)
    outputs = module(waveform)
    # Whole frames past the first patch, of which every 0.3 s is a start, and the last.
    past = -(-6000 // front_end.hop_samples) * front_end.hop_samples
    padded = np.pad(waveform, ((0, 0), (0, PATCH + past - 14000)))
    for number, start in enumerate((0, 4800, past)):
        patch = padded[:, start : start + PATCH]
        expected = encoder(front_end(patch), training=False)
        np.testing.assert_allclose(outputs["patch_embedding"][:, number], expected, atol=2e-4)
    assert outputs["patch_embedding"].shape == (2, 3, 6)
    np.testing.assert_allclose(
        outputs["embedding"], outputs["patch_embedding"].numpy().mean(axis=1), atol=1e-5
    )
    log_mel = outputs["log_mel"]
    if isinstance(front_end, LogMelMaps):
        np.testing.assert_allclose(log_mel, front_end(padded), atol=2e-4)
    else:
        assert log_mel.shape == (2, 3 * 20, 24)
        np.testing.assert_allclose(log_mel[:, 20:40], front_end(padded[:, 4800:12800]), atol=2e-4)
    assert module(noise(1, 100))["patch_embedding"].shape == (1, 1, 6)
    single = module.embed_patch(padded[:, :PATCH])["embedding"]
    np.testing.assert_allclose(single, outputs["patch_embedding"][:, 0], atol=2e-4)
