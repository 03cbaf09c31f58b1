"""Query-by-example retrieval against pairs counted one by one."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from sepcon.metrics.retrieval import query_by_example


def by_loops(embedding, labels):
    """All pairs of clips, one after the other; where no clip has to be drawn."""
    precisions, chances = [], []
    for column in labels.T:
        pairs = []
        present, absent = np.flatnonzero(column), np.flatnonzero(column == 0)
        for number, first in enumerate(present):
            others = [(second, 1) for second in present[number + 1 :]]
            others += [(second, 0) for second in absent]
            for second, same in others:
                a, b = embedding[first].astype(float), embedding[second].astype(float)
                distance = 1 - a @ b / np.sqrt((a @ a) * (b @ b))
                pairs.append((same, -distance))
        same, scores = map(np.array, zip(*pairs, strict=True))
        precisions.append(average_precision_score(same, scores))
        chances.append(same.mean())
    return precisions, chances


def test_against_loops():
    random = np.random.default_rng(0)
    labels = np.zeros((24, 3), int)
    for column in labels.T:
        column[random.permutation(24)[:12]] = 1  # as many without: all of both are taken
    embedding = random.normal(size=(24, 6)) + labels @ random.normal(size=(3, 6))
    precisions, chances = by_loops(embedding, labels)
    found = query_by_example(embedding=embedding, labels=labels)
    np.testing.assert_allclose(found.class_average_precision, precisions, atol=1e-9)
    assert found.mean_average_precision == pytest.approx(np.mean(precisions))
    assert found.chance == pytest.approx(np.mean(chances))
    assert found.chance == pytest.approx(66 / (66 + 144))
    scaled = query_by_example(embedding=7 * embedding, labels=labels)
    np.testing.assert_allclose(scaled.class_average_precision, precisions, atol=1e-9)


def test_a_meaningless_embedding_is_at_chance_and_a_perfect_one_at_one():
    random = np.random.default_rng(1)
    labels = (random.random((600, 8)) < 0.3).astype(np.uint8)
    found = query_by_example(embedding=random.normal(size=(600, 4)), labels=labels)
    assert found.mean_average_precision == pytest.approx(found.chance, abs=0.02)
    constant = query_by_example(embedding=np.ones((600, 4)), labels=labels)
    assert constant.mean_average_precision == pytest.approx(constant.chance)
    single = np.eye(3)[random.integers(0, 3, 200)]
    found = query_by_example(embedding=single, labels=single)
    assert found.mean_average_precision == 1


def test_draws_are_seeded_and_classes_without_pairs_left_out():
    random = np.random.default_rng(2)
    labels = (random.random((300, 4)) < 0.5).astype(np.uint8)
    labels[:, 1], labels[:, 2] = 0, 1
    labels[7, 1] = 1
    embedding = random.normal(size=(300, 4)).astype(np.float32)
    embedding[3] = 0
    arguments = {"embedding": embedding, "labels": labels, "clips_per_class": 20}
    first = query_by_example(**arguments)
    np.testing.assert_array_equal(np.isnan(first.class_average_precision), [0, 1, 1, 0])
    assert first.num_classes_used == 2
    assert query_by_example(**arguments).mean_average_precision == first.mean_average_precision
    other = query_by_example(**arguments, seed=1)
    assert other.mean_average_precision != first.mean_average_precision


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"got \(3, 2\) and \(2, 2\)"):
        query_by_example(embedding=np.ones((3, 2)), labels=np.eye(2))
    with pytest.raises(ValueError, match="no class has two clips"):
        query_by_example(embedding=np.ones((2, 2)), labels=np.eye(2))
