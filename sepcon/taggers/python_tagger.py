"""A Python function as a tagger."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import Any, get_args

import numpy as np

from sepcon.audio.resampling import resampled
from sepcon.audio.samples import FULL_SCALE, SAMPLE_RATE_HZ
from sepcon.errors import SepconError
from sepcon.importing.clip_source import Clip
from sepcon.models.python_code import function_named, told_by_name
from sepcon.taggers.tagger import Sees, read_class_names


@dataclasses.dataclass(frozen=True)
class PythonTagger:
    """A Python function that says which classes a clip may hold.

    Of sound it is given the waveform, float32 [samples] in [-1, 1]; of pictures uint8 [pictures,
    height, width, 3]. It returns scores, [frames, classes] or [classes]. Its digest is of its name
    and of the text of its module: when something else changes its scores, such as weights that it
    reads, another run_dir has to be taken.

    Attributes:
      name: what the scores are called by.
      function: 'module:function' or 'path/to/file.py:function'.
      classes: file with its classes, see `read_class_names`.
      sees: "sound" or "pictures".
      sample_rate_hz: what it wants to hear.
    """

    name: str
    function: str
    classes: str
    sees: Sees = "sound"
    sample_rate_hz: int = SAMPLE_RATE_HZ

    def __post_init__(self) -> None:
        if self.sees not in get_args(Sees):
            raise SepconError(
                f"tagger {self.name}: sees is {self.sees!r}, expected one of "
                f"{', '.join(get_args(Sees))}"
            )

    @functools.cached_property
    def class_names(self) -> tuple[str, ...]:
        return read_class_names(self.classes)

    @functools.cached_property
    def digest(self) -> str:
        _, attribute, text = _found(self.function)
        return hashlib.sha256(f"{attribute}\0".encode() + text).hexdigest()

    @property
    def rule(self) -> str:
        at = f" at {self.sample_rate_hz} Hz" if self.sees == "sound" else ""
        return f"{self.sees}{at} by {self.function}"

    def scores(self, clip: Clip) -> np.ndarray:
        """See `Tagger`."""
        function, _, _ = _found(self.function)
        content = clip.pictures
        if self.sees == "sound":
            waveform = clip.audio.astype(np.float32) / FULL_SCALE
            content = resampled(waveform, rate_hz=SAMPLE_RATE_HZ, wanted_hz=self.sample_rate_hz)
        return np.atleast_2d(told_by_name(lambda: function(content), self.function))


@functools.lru_cache(maxsize=8)
def _found(name: str) -> tuple[Callable[..., Any], str, bytes]:
    return function_named(name)
