"""Self-supervised audio representations from automatically separated sound scenes.

`load` opens a trained model by its name or path; see `sepcon.inference`. Importing this package
loads nothing else: TensorFlow comes with the first model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sepcon.errors import SepconError
    from sepcon.inference.classifier import Classifier
    from sepcon.inference.encoder import Encoder
    from sepcon.inference.load import load
    from sepcon.inference.separator import Separator

__version__ = "0.1.0"
__all__ = ["Classifier", "Encoder", "Separator", "SepconError", "load"]

# Where each public name is.
_MODULES = {
    "Classifier": "sepcon.inference.classifier",
    "Encoder": "sepcon.inference.encoder",
    "Separator": "sepcon.inference.separator",
    "SepconError": "sepcon.errors",
    "load": "sepcon.inference.load",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for at its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
