"""Which weights of a training are kept: chosen by the validation clips, and by the test itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from sepcon.finetuning.predictions import Predictions
from sepcon.models.classifier import Classifier, write_selected
from sepcon.training.logs import METRICS_FILE, read_metric

SELECTED_FILE = "selected.npz"
OPTIMISTIC_FILE = "optimistic.npz"


@dataclasses.dataclass(frozen=True)
class Selection:
    """Looks at the weights as they are, and keeps them if they are the best so far.

    Two ways of choosing go side by side: by the validation clips (accuracy, then cross-entropy),
    and by the test clips themselves. What was seen before is read from the log of the run, so that
    a run that was stopped goes on to the same choice.

    Attributes:
      folder: of the run.
      classifier: whose weights are kept; None where nothing is that takes sound.
      step: returns how many steps were done.
      predict: by role, 'validation' and 'test', returns the predictions on its clips.
    """

    folder: Path
    classifier: Classifier | None
    step: Callable[[], int]
    predict: Mapping[str, Callable[[], Predictions]]

    def __call__(self) -> Mapping[str, float]:
        """Returns 'accuracy' and 'cross_entropy' on validation, and 'test_accuracy'."""
        validation, test = (self.predict[role]() for role in ("validation", "test"))
        test = dataclasses.replace(test, step=self.step())
        merit = (validation.accuracy, -validation.cross_entropy)
        before = list(zip(self._seen("accuracy"), self._seen("cross_entropy"), strict=True))
        if all(merit > (accuracy, -entropy) for accuracy, entropy in before):
            if self.classifier is not None:
                write_selected(self.classifier, self.folder, test.step)
            test.save(self.folder / SELECTED_FILE)
        if all(test.accuracy > accuracy for accuracy in self._seen("test_accuracy")):
            dataclasses.replace(test, embedding=None).save(self.folder / OPTIMISTIC_FILE)
        return {
            "accuracy": validation.accuracy,
            "cross_entropy": validation.cross_entropy,
            "test_accuracy": test.accuracy,
        }

    def _seen(self, name: str) -> list[float]:
        if not (self.folder / METRICS_FILE).is_file():
            return []
        return read_metric(self.folder, f"validation/{name}")[1]
