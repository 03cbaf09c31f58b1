"""What exported graphs hear and refuse, the same in all three products, and without sepcon."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from encoder_stub import LOG_MEL, PATCH_SECONDS, noise, small_encoder
from separator_stub import CONFIG

from sepcon.models.classifier import Classifier
from sepcon.models.products.classification import ClassificationModel
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.models.products.separation import SeparationModel
from sepcon.models.products.waveform import CARD_LINES
from sepcon.models.separator.network import Separator

MAIN_OUTPUT = {"encoder": "embedding", "classifier": "probabilities", "separator": "sources"}


def make_product(kind):
    if kind == "separator":
        keras.utils.set_random_seed(7)
        return SeparationModel(Separator(CONFIG))
    if kind == "encoder":
        return EmbeddingModel(small_encoder(), LOG_MEL, patch_seconds=PATCH_SECONDS)
    classifier = Classifier(encoder=small_encoder(), num_classes=3, normalize=True)
    return ClassificationModel(
        classifier, LOG_MEL, patch_seconds=PATCH_SECONDS, class_names=("a", "b", "c")
    )


@pytest.fixture(scope="module", params=MAIN_OUTPUT)
def product(request, tmp_path_factory):
    """The module alive, the same loaded from a SavedModel, and the name of its main output."""
    module = make_product(request.param)
    folder = str(tmp_path_factory.mktemp(request.param))
    if request.param == "classifier":
        table = tmp_path_factory.mktemp("class_map") / "class_map.csv"
        table.write_text("index,mid,display_name\n")
        module.class_map_file = tf.saved_model.Asset(str(table))
    tf.saved_model.save(module, folder, signatures=module.signatures)
    return module, tf.saved_model.load(folder), MAIN_OUTPUT[request.param]


def with_sample(value):
    waveform = noise(2, 9000)
    waveform[1, 5] = value
    return waveform


REFUSED = {
    "one channel": (noise(16000, 1), r"shape \[16000, 1\].*Was \[samples, channels\] given"),
    "two channels": (noise(16000, 2), r"shape \[16000, 2\].*Was \[samples, channels\] given"),
    "many channels": (noise(65, 64), r"shape \[65, 64\].*Average the channels"),
    "empty recordings": (noise(2, 0), r"shape \[2, 0\] holds no samples"),
    "an empty recording": (noise(0), "holds no samples"),
    "nothing at all": (noise(0, 0), r"shape \[0, 0\] holds no samples"),
    "NaN": (with_sample(np.nan), "recording 1 of the batch.*peak: -?nan"),
    "infinite": (with_sample(-np.inf), "recording 1 of the batch.*peak: -inf"),
    "integers as floats": (with_sample(-12345.0), "peak: 12345.*those of 16 bits by 32768"),
    "a sum that overflows": (np.full([1, 9000], 3e38, np.float32), "peak: inf"),
    "beyond float32": (np.full([1, 9000], 1e300), "peak: inf"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_graph_refuses(name, product):
    module, loaded, _ = product
    waveform, message = REFUSED[name]
    calls = [module, loaded]
    if waveform.ndim == 2 and waveform.dtype == np.float32:
        calls += [module.signatures["serving_default"], loaded.signatures["serving_default"]]
    for call in calls:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            call(waveform=tf.constant(waveform))


@pytest.mark.parametrize(
    "waveform",
    [
        noise(1),
        noise(1, 1),
        noise(64, 1),
        noise(64, 64),
        noise(65, 65),
        with_sample(100.0),
        np.zeros((1, 9000), np.float32),
    ],
    ids=["one sample", "a batch of it", "64 of it", "64 by 64", "65 by 65", "peak 100", "silence"],
)
def test_what_is_short_few_or_loud_passes(waveform, product):
    module, loaded, output = product
    for call in (module, loaded):
        values = call(waveform)[output]
        assert values.shape[:1] == waveform.shape[:1] or waveform.ndim == 1
        assert np.isfinite(values).all()


def test_an_empty_batch_gives_outputs_of_no_recordings(product):
    module, loaded, _ = product
    filled = module(noise(2, 9000))
    for call in (module, loaded):
        for name, value in call(noise(0, 9000)).items():
            whole = filled[name].shape
            shape = whole if name == "patch_time_seconds" else (0, *whole[1:])
            assert value.shape == shape, name


@pytest.mark.parametrize("shape", [(2, 9000), (9000,)])
def test_int16_is_divided_by_full_scale_and_float64_is_cast(shape, product):
    integers = np.random.default_rng(1).integers(-32768, 32767, shape, np.int16)
    for call in product[:2]:
        expected = call(integers.astype(np.float32) / 32768)
        for waveform in (integers, integers.astype(np.float64) / 32768):
            for name, value in call(waveform).items():
                np.testing.assert_array_equal(value, expected[name])


def test_other_types_are_refused(product):
    module, loaded, _ = product
    for waveform in (np.ones(9000, np.int32), np.ones((1, 2, 9000), np.float32)):
        with pytest.raises(ValueError, match=r"waveform must be float32.*or int16"):
            module(waveform)
        with pytest.raises(ValueError, match=r"(?s)dtype=tf\.float32.*dtype=tf\.int16"):
            loaded(waveform)


def test_a_patch_signature_gives_nan_where_it_cannot_refuse():
    module = make_product("encoder")
    waveform = noise(4, 8000)
    waveform[1, 5], waveform[2, 5], waveform[3, 5] = np.nan, np.inf, 101.0
    values = module.embed_patch(waveform)["embedding"].numpy()
    assert np.isfinite(values[0]).all()
    assert np.isnan(values[1:]).all()
    np.testing.assert_allclose(values[0], module(waveform[:1])["embedding"][0], atol=1e-5)


def test_the_card_says_so():
    card = repr(CARD_LINES)
    assert all(word in card for word in ("int16", "more than 64", "NaN", "beyond 100", "empty"))
