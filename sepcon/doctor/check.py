"""The outcome of one check."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Verdict = Literal["OK", "SLOW", "FAIL"]


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
      name: what was looked at.
      verdict: SLOW is what works and costs time.
      text: what was found.
      cure: what to do about it; empty where all is well.
      values: the same for programs, as JSON has it.
    """

    name: str
    verdict: Verdict
    text: str
    cure: str = ""
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        cure = f"; {self.cure}" if self.cure else ""
        return f"{self.verdict:<5} {self.name}: {self.text}{cure}"
