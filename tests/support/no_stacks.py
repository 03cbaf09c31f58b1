"""Graphs made without the Python stack of every operation, for tests.

TensorFlow takes it for the messages of errors inside a graph ("detected at node ... defined at"):
no test reads that part. Under pytest it is deep: it took a quarter of the time of making a graph,
which is most of the time of all tests.
"""


def take_no_stacks() -> None:
    """Gives all operations made from now on the stack of this call."""
    from tensorflow.python.util import tf_stack

    stack = tf_stack.extract_stack()
    # Has its frames worked out and kept. XLA of TensorFlow 2.21 asks for them from where this is
    # not safe: what is compiled with a stack that nobody has asked before ends the process.
    len(stack)
    tf_stack.extract_stack = lambda stacklevel=1: stack
