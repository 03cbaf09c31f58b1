"""Keeps the messages of the MP3 decoder about damaged frames off the terminal.

libmpg123 writes them to file descriptor 2, past Python, and has no switch to turn them off.
"""

from __future__ import annotations

import contextlib
import re

from sepcon.runs import standard_error

# How the lines of libmpg123 begin. Python and TensorFlow begin theirs in other ways.
_CHATTER = re.compile(
    rb"^(?:\[[^\]\n]*libmpg123[^\]\n]*\]|\[[\w/]+\.c:|Note: |Warning: |main_data_begin|mpg123: ).*"
    rb"(?:\n|\Z)|^\n(?=Note: |Warning: )",
    re.MULTILINE,
)


def quiet_decoder() -> contextlib.AbstractContextManager[None]:
    """Lets nothing that the MP3 decoder says reach standard error; several threads may be inside.

    For callers that report damaged files themselves.
    """
    return standard_error.without(_CHATTER)
