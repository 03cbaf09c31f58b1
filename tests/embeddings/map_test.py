"""Maps: what is near stays near, what is drawn, and what is said when the library is missing."""

import sys

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from sepcon.embeddings.map import Points, map_figure, single_class_points, t_sne
from sepcon.embeddings.store import Embeddings
from sepcon.errors import SepconError


def clusters(num_points: int = 60, dim: int = 20, num_classes: int = 3) -> Points:
    random = np.random.default_rng(0)
    label = np.arange(num_points) % num_classes
    centres = random.normal(scale=4.0, size=(num_classes, dim))
    return Points(centres[label] + random.normal(size=(num_points, dim)), label)


def test_neighbours_stay_neighbours_and_a_seed_repeats_itself():
    points = clusters()
    places = t_sne(points.embedding)
    assert places.shape == (60, 2)
    distance = np.linalg.norm(places[:, np.newaxis] - places, axis=-1) + 1e9 * np.eye(60)
    assert (points.label[distance.argmin(axis=1)] == points.label).all()
    assert trustworthiness(points.embedding, places) > 0.8
    np.testing.assert_array_equal(places, t_sne(points.embedding))


def test_constant_dimensions_and_scales_do_not_matter():
    points = clusters(24)
    with_constant = np.hstack([1e3 * points.embedding, np.full((24, 2), 5.0)])
    np.testing.assert_allclose(t_sne(with_constant), t_sne(points.embedding), rtol=0.02, atol=0.5)


def test_clips_of_one_class_are_taken_and_a_few_are_not_enough():
    labels = np.zeros((40, 3), np.uint8)
    labels[np.arange(40), np.arange(40) % 3] = 1
    labels[5:10] = 1  # several classes
    labels[10] = 0
    ids, embedding = np.arange(40).astype(str), np.arange(40.0)[:, np.newaxis]
    points = single_class_points(Embeddings(ids, embedding, labels, ("a", "b", "c")))
    assert points is not None
    kept = [*range(5), *range(11, 40)]
    np.testing.assert_array_equal(points.embedding[:, 0], kept)
    np.testing.assert_array_equal(points.label, np.array(kept) % 3)
    few = Embeddings(ids[:11], embedding[:11], labels[:11], ("a", "b", "c"))
    assert single_class_points(few) is None


def test_many_clips_are_thinned_out_evenly():
    labels = np.eye(2, dtype=np.uint8)[np.arange(5000) // 2500]
    embedding = np.arange(5000.0)[:, np.newaxis]
    points = single_class_points(Embeddings(embedding, embedding, labels, ("a", "b")))
    assert points is not None
    assert points.label.mean() == 0.5
    assert len(points.label) == 1000


def test_the_figure_is_a_picture_of_all_panels():
    points = clusters(30)
    figure = map_figure("caption", [("first", points), ("second", points)], ("a", "b", "c"))
    assert figure.caption == "caption"
    assert figure.png.startswith("iVBORw0KGgo")  # PNG in base64


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(SepconError, match=r"sklearn.*pip install 'sepcon\[report\]'"):
        t_sne(clusters(12).embedding)
