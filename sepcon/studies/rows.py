"""What a study is made of: rows, the worlds that they share, and runs, a row with a seed in one."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class StudyRow:
    """A way of pretraining, as its gin file describes it.

    Attributes:
      gin_file: what is given to `sepcon pretrain`.
      name: what the tables call it (the macro ROW; the file's name without one).
      channels: names of the channels it learns from (the macro CHANNELS): separator states of the
        study, or kinds of `sepcon control_channels`.
      figures: the figures it is drawn in (the macro FIGURES).
      against: the row that it is compared with (the macro AGAINST); empty for the study's baseline.
      supervised: whether it learns from labels (pretrain.supervised): the upper end of the scale.
    """

    gin_file: str
    name: str
    channels: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    against: str = ""
    supervised: bool = False

    @property
    def folder(self) -> str:
        return Path(self.gin_file).stem


@dataclasses.dataclass(frozen=True)
class Launch:
    """How a study starts the other verbs.

    Attributes:
      words: flags that every command gets behind its own gin files: the study's, without what is
        bound of the study itself.
      read_row: reads a row's gin file, and bindings behind it, as `sepcon pretrain` would, and
        raises a SepconError if that would fail.
      gin_files: those of the study's command line, for the record.
      gin_bindings: those of the study's command line, all of them.
      command: what the words of a job are given to; None for `sepcon` itself.
    """

    words: tuple[str, ...]
    read_row: Callable[[str, Sequence[str]], StudyRow]
    gin_files: tuple[str, ...] = ()
    gin_bindings: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class World:
    """Scenes, and where a separator is involved the one trained on them.

    Attributes:
      rotation: name of a way to split the data; empty where there is only one.
      separator: the seed of the separator; None for the one there is, or for none.
    """

    rotation: str = ""
    separator: int | None = None

    @property
    def folder(self) -> Path:
        """Below the study's run folder."""
        parts = [rotation_folder(self.rotation)]
        if self.separator is not None:
            parts.append(f"separator{self.separator}")
        return Path(*parts)


def rotation_folder(name: str) -> str:
    """Returns the name of a rotation as that of a folder."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")


@dataclasses.dataclass(frozen=True)
class Run:
    """One pretraining. Attributes: row, what is trained; world, on what; seed."""

    row: StudyRow
    world: World
    seed: int
