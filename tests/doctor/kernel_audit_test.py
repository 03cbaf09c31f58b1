"""The audit tells which operations a GPU runs, on a machine that has none."""

import itertools

import pytest
import tensorflow as tf

from sepcon.audio.log_mel import LogMel
from sepcon.doctor.kernel_audit import ON_PURPOSE, audit_graph
from sepcon.embeddings import shallow
from sepcon.models import encoders
from sepcon.models.products.embedding import EmbeddingModel
from sepcon.models.products.separation import SeparationModel
from sepcon.models.separator.network import Separator, SeparatorConfig


def audit(function, *specs):
    specs = specs or (tf.TensorSpec([4, 6]),)
    return audit_graph(tf.function(function, autograph=False).get_concrete_function(*specs).graph)


def findings(function, *specs):
    return [(each.kind, each.operation) for each in audit(function, *specs).findings]


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda x: tf.matmul(x, x, transpose_b=True), None),
        (lambda x: x[:, 1:], None),
        (lambda x: tf.gather(tf.cast(x, tf.int16), [0, 2]), ("host", "GatherV2")),
        (lambda x: tf.gather(tf.bitcast(tf.cast(x, tf.int16), tf.float16), [0, 2]), None),
        (lambda x: tf.cast(x, tf.int32) + 1, ("waits", "AddV2")),
        (lambda x: tf.cast(x, tf.int64) + 1, None),
        (lambda x: tf.shape(x)[0] + 1, None),  # known before the step
        (lambda x: x[tf.cast(x[0, 0], tf.int32) :], ("waits", "Pack")),
        (
            lambda x: tf.image.adjust_contrast(x[..., None, None], 2.0),
            ("chance", "AdjustContrastv2"),
        ),
        (lambda x: tf.strings.as_string(x), ("no XLA", "AsString")),
        (lambda x: tf.numpy_function(lambda y: y, [x], tf.float32), ("host", "PyFunc")),
    ],
)
def test_findings(function, expected):
    found = findings(function)
    assert (expected in found) if expected else found == []


def test_functions_are_looked_into():
    inner = tf.function(lambda x: tf.cast(x, tf.int32) + 1, autograph=False)
    assert findings(lambda x: inner(x)) == [("waits", "AddV2")]
    # What XLA compiles stays on the device as a whole.
    compiled = tf.function(lambda x: tf.cast(x, tf.int32) + 1, jit_compile=True, autograph=False)
    assert findings(lambda x: compiled(x)) == []


def test_launches_are_counted():
    assert audit(lambda x: tf.reshape(tf.tanh(x) * 2.0, [6, 4])).launches == 2
    island = tf.function(lambda x: tf.tanh(x) * 2.0 + 1.0, jit_compile=True)
    assert audit(lambda x: island(x) - 1.0).launches == 2


@pytest.mark.parametrize("hidden", [None, 4])
def test_shallow_classifier_stays_on_the_device(hidden):
    """For blocks of any length: data sets of many sizes share one graph."""
    sizes = (8, hidden, 3) if hidden else (8, 3)
    shapes = [shape for pair in itertools.pairwise(sizes) for shape in (pair, pair[1:])]
    graph = shallow._block_graph(4, tuple(shapes)).get_concrete_function().graph
    assert audit_graph(graph).findings == []


def test_products_leave_to_the_host_what_the_table_says():
    encoder = encoders.small_cnn(embedding_size=8, num_frames=None)
    config = SeparatorConfig(
        num_sources=3, bottleneck=8, conv_channels=8, num_repeats=1, num_dilations=2
    )
    models = (
        EmbeddingModel(encoder, LogMel(), patch_seconds=0.5),
        SeparationModel(Separator(config)),
    )
    graphs = [function.graph for model in models for function in model.signatures.values()]
    assert [finding for graph in graphs for finding in audit_graph(graph).findings] == []
    # Nothing in the table that is not there.
    told = [str(each) for graph in graphs for each in audit_graph(graph, on_purpose=()).findings]
    for each in ON_PURPOSE:
        assert any(each.excuses(line) for line in told), each
