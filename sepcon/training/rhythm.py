"""After which steps a training saves, logs and validates."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sepcon.errors import SepconError


@dataclass(frozen=True)
class Rhythm:
    """The periods of a training, in steps; see `loop.fit` for what each is for.

    Raises:
      SepconError: a period is not a whole number above 0, or one of keep_state_steps lies outside
        of 0 to num_steps.
    """

    num_steps: int
    steps_per_call: int
    checkpoint_every_steps: int
    log_every_steps: int
    summary_every_steps: int | None = None
    validate_every_steps: int | None = None
    keep_state_steps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "keep_state_steps" or (value is None and "None" in str(field.type)):
                continue
            # A configuration may say 1e3, which is a float.
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SepconError(f"{field.name}: got {value!r}, expected a whole number above 0")
        for step in self.keep_state_steps:
            if not isinstance(step, int) or not 0 <= step <= self.num_steps:
                raise SepconError(
                    f"keep_state_steps: got {step!r}, expected whole numbers from 0 to "
                    f"num_steps={self.num_steps}"
                )

    @property
    def states(self) -> frozenset[int]:
        """The steps after which the weights are kept for ever, the last step included."""
        return frozenset({*self.keep_state_steps, self.num_steps})

    def due(self, period: int | None, step: int) -> bool:
        """Whether it is time for something after `step` steps.

        Args:
          period: in steps; None for never.
          step: steps done; everything is due after the last.
        """
        return period is not None and (step % period == 0 or step == self.num_steps)

    def next_stop(self, step: int) -> int:
        """The step at which the next call of the step function has to end, after `step` steps."""
        periods = (
            self.checkpoint_every_steps,
            self.log_every_steps,
            self.summary_every_steps,
            self.validate_every_steps,
        )
        ends = [(step // period + 1) * period for period in periods if period is not None]
        return min([step + self.steps_per_call, *ends, *(s for s in self.states if s > step)])
