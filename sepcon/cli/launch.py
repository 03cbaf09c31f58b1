"""What a verb that starts other verbs hands on to them, and how it reads their configuration."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepcon.cli.configuration import read_configuration
from sepcon.errors import SepconError


@dataclasses.dataclass(frozen=True)
class SharedCommandLine:
    """The gin part of the command line of a verb that starts others.

    Attributes:
      verb: its name.
      gin_files: as given.
      gin_bindings: as given.
      search_path: as given.
    """

    verb: str
    gin_files: tuple[str, ...]
    gin_bindings: tuple[str, ...]
    search_path: tuple[str, ...]

    def words(self) -> tuple[str, ...]:
        """What every command that is started gets behind its own words.

        What is bound of the verb itself is left out: the others have no use for it.
        """
        bindings = [
            binding
            for binding in self.gin_bindings
            if not binding.strip().startswith(f"{self.verb}.")
        ]
        return (
            "--shared_config",
            *[f"--gin_search_path={folder}" for folder in self.search_path],
            *[f"--gin_file={file}" for file in self.gin_files],
            *[f"--gin_bindings={binding}" for binding in bindings],
        )

    def bound(
        self,
        verb: str,
        defaults: Mapping[str, Any],
        gin_files: Sequence[str],
        gin_bindings: Sequence[str] = (),
    ) -> dict[str, Any]:
        """What a command would have bound that is started with further files and bindings.

        Args:
          verb: of the command.
          defaults: what is asked for, parameters or macros with % before their names -> the value
            where nothing is bound.
          gin_files: read before those of the command line.
          gin_bindings: read behind those of the command line.

        Raises:
          SepconError: the command would fail over its configuration.
        """
        configuration = read_configuration(
            verb,
            [*gin_files, *self.gin_files],
            [*self.gin_bindings, *gin_bindings],
            self.search_path,
        )
        return {name: configuration.bound(name, default) for name, default in defaults.items()}


def launch_of(line: SharedCommandLine) -> Any:
    """What `study` and `finetune_study` take as `launch`."""
    rows = importlib.import_module("sepcon.studies.rows")
    asked = {
        "%ROW": "",
        "%CHANNELS": (),
        "%FIGURES": (),
        "%AGAINST": "",
        "pretrain.supervised": False,
    }

    def read_row(path: str, bindings: Sequence[str]) -> Any:
        try:
            bound = line.bound("pretrain", asked, [path], bindings)
        except SepconError as error:
            raise SepconError(f"{path}: {str(error).splitlines()[0]}") from None
        return rows.StudyRow(
            gin_file=path,
            name=bound["%ROW"] or Path(path).stem,
            channels=tuple(bound["%CHANNELS"]),
            figures=tuple(bound["%FIGURES"]),
            against=bound["%AGAINST"],
            supervised=bool(bound["pretrain.supervised"]),
        )

    return rows.Launch(line.words(), read_row, line.gin_files, line.gin_bindings)
