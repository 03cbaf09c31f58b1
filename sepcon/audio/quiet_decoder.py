"""Keeps what the MP3 decoder says of every frame that it does not like off the terminal.

libmpg123 writes it to file descriptor 2, past Python and without a switch.
"""

from __future__ import annotations

import contextlib
import re

from sepcon import standard_error

# How the lines of libmpg123 begin. Python and TensorFlow begin theirs in other ways.
_CHATTER = re.compile(
    rb"^(?:\[[^\]\n]*libmpg123[^\]\n]*\]|\[[\w/]+\.c:|Note: |Warning: |main_data_begin|mpg123: ).*"
    rb"(?:\n|\Z)|^\n(?=Note: |Warning: )",
    re.MULTILINE,
)


def quiet_decoder() -> contextlib.AbstractContextManager[None]:
    """Lets nothing that the MP3 decoder says reach standard error; several threads may be inside.

    For callers that report faults themselves.
    """
    return standard_error.without(_CHATTER)
