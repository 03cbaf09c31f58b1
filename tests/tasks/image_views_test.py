"""Views of images in a task: what they take, what they leave, and what they refuse."""

import numpy as np
import pytest
import tensorflow as tf
from image_fixtures import picture

from sepcon.data.clip_examples import ClipExamples
from sepcon.doctor.graph_lint import lint_task
from sepcon.errors import SepconError
from sepcon.models.encoders import small_resnet
from sepcon.tasks.image_views import ImageViews
from sepcon.tasks.pretraining import SimilarityAndCoincidence
from sepcon.views.image_augment import ColourJitter, RandomBlur, RandomGrey, RandomResizedCrop

VIEWS = ImageViews(
    crop=RandomResizedCrop(size=16),
    anchor_augmentations=(ColourJitter(), RandomGrey(), RandomBlur()),
    positive_augmentations=(ColourJitter(),),
)


def batch(rows: int = 4) -> dict[str, tf.Tensor]:
    images = np.stack([picture(n, height=20, width=20) for n in range(rows)])
    uniforms = np.random.default_rng(0).random((rows, VIEWS.num_uniforms), np.float32)
    aspect = np.linspace(0.5, 2, rows).astype(np.float32)
    return {
        "image": tf.constant(images),
        "aspect": tf.constant(aspect),
        "uniforms": tf.constant(uniforms),
        "labels": tf.zeros([rows, 0]),
    }


def test_both_views_use_all_the_columns_and_none_of_each_others() -> None:
    assert VIEWS.num_uniforms == (5 + 6 + 1 + 2) + (5 + 6)
    assert VIEWS.encoder_arguments == {"image_size": 16}
    given = batch()
    anchor, positive = VIEWS(given)
    assert anchor.shape == positive.shape == (4, 16, 16, 3)
    for view in (anchor, positive, VIEWS.plain(given)):
        assert 0 <= float(tf.reduce_min(view)) <= float(tf.reduce_max(view)) <= 1
    np.testing.assert_array_equal(VIEWS.single(given), anchor)
    columns = given["uniforms"].numpy()
    columns[:, 14:] = 1 - columns[:, 14:]
    other_anchor, other_positive = VIEWS({**given, "uniforms": tf.constant(columns)})
    np.testing.assert_array_equal(other_anchor, anchor)
    assert not np.allclose(other_positive, positive)


def test_an_example_has_the_views_that_its_own_uniforms_give() -> None:
    given = batch()
    alone = {name: value[2:3] for name, value in given.items()}
    for view, of_one in zip(VIEWS(given), VIEWS(alone), strict=True):
        np.testing.assert_allclose(view[2:3], of_one, atol=1e-6)


def test_summaries_show_images_and_views() -> None:
    images = VIEWS.summaries(batch(6)).images
    shapes = {name: value.shape for name, value in images.items()}
    assert shapes == dict.fromkeys(("image", "anchor", "positive"), (4, 16, 16, 3))


def test_simclr_has_nothing_that_fails_on_an_accelerator() -> None:
    encoder = small_resnet(image_size=16, embedding_size=8, widths=(4, 5))
    objective = SimilarityAndCoincidence(coincidence_weight=0.0, projection_hidden_sizes=(8,))
    task = objective.task(encoder=encoder, views=VIEWS, examples=None)  # type: ignore[arg-type]
    spec = {name: tf.TensorSpec(value.shape, value.dtype) for name, value in batch().items()}
    # Gradients of what nobody reads of a fused normalisation, which is pruned before it runs.
    assert lint_task(task, spec, allowed=[r"^zeros_like_\d+: ZerosLike .* <unknown>$"]) == []
    assert np.isfinite(task.loss(batch(), training=True)["loss"])


def test_sound_is_refused() -> None:
    class Clips:
        name = "some clips"

    examples = ClipExamples(Clips())  # type: ignore[arg-type]
    with pytest.raises(SepconError, match="some clips: ImageViews are made of images, got Clip"):
        VIEWS.opened(examples)
    with pytest.raises(ValueError, match="centre_share"):
        ImageViews(crop=RandomResizedCrop(), centre_share=0.0)
