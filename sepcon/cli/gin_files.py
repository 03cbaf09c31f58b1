"""The gin files: where they are, what each is for, and which names the project's own ones use."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import sepcon
from sepcon.errors import SepconError, nearest

# Of a run, not of what it is done with: they are no cure for a missing value.
_RUN_FOLDERS = ("runs", "papers", "quickstart")
_BINDING = re.compile(r"^((?:\w+/)*[\w.]+) *= *(.*)", flags=re.MULTILINE)
_INCLUDE = re.compile(r"^include +['\"](.+)['\"]", flags=re.MULTILINE)
_MACRO = re.compile(r"%((?:\w+/)*\w+)")
_SCOPE = re.compile(r"@((?:\w+/)+)\w")


def gin_folders() -> list[str]:
    """The folders in which gin files are sought whatever the current folder is.

    Raises:
      SepconError: the installation holds no gin files.
    """
    package = Path(sepcon.__file__).parent
    for folder in (package.parent / "gin", package / "gin_files"):
        if (folder / "runs").is_dir():
            # The parent too, so that a path from the checkout's root works from elsewhere.
            return [str(folder), str(folder.parent)]
    raise SepconError(f"no gin files beside {package}: install sepcon again")


def project_folder() -> Path:
    """The folder of the project's own gin files."""
    return Path(gin_folders()[0])


def shown_name(path: Path) -> str:
    """A gin file's name as it is given on a command line."""
    folder = project_folder()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def purpose(path: Path) -> str:
    """The sentence with which the header of a gin file says what it is; empty without one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    header = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
    text = "\n".join(line.removeprefix("#").strip() for line in header)
    # Where commands come before, in files of studies, they are passed over.
    paragraphs = [each for each in text.split("\n\n") if not each.startswith("sepcon ")]
    sentence = re.match(r".*?\.(?=\s|$)", paragraphs[0], flags=re.DOTALL) if paragraphs else None
    return " ".join(sentence[0].split()) if sentence else ""


@dataclasses.dataclass(frozen=True)
class GinFile:
    """A gin file of the project, as far as names go.

    Attributes:
      path: where it is.
      bound: what it binds, by name: macros and parameters, with the text behind the equals sign.
      includes: names of the files that it includes.
      macros: the macros that it reads.
      scopes: the scopes in which it refers to something, such as `pretrain` in `@pretrain/adam`.
    """

    path: Path
    bound: Mapping[str, str]
    includes: Sequence[str]
    macros: frozenset[str]
    scopes: frozenset[str]

    @property
    def name(self) -> str:
        return shown_name(self.path)


@functools.cache
def project_files() -> tuple[GinFile, ...]:
    """All gin files of the project, in the order of their names."""
    return tuple(_scan(path) for path in sorted(project_folder().rglob("*.gin")))


def _scan(path: Path) -> GinFile:
    lines = path.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    return GinFile(
        path=path,
        bound=dict(_BINDING.findall(text)),
        includes=_INCLUDE.findall(text),
        macros=frozenset(_MACRO.findall(text)),
        scopes=frozenset(scope.rstrip("/") for scope in _SCOPE.findall(text)),
    )


def files_that_bind(macros: Iterable[str]) -> list[GinFile]:
    """Files of the project that give a value to all these macros, by themselves or by an include.

    Those of runs and studies are left out: they are chosen by the verb.
    """
    return [
        file
        for file in project_files()
        if file.name.partition("/")[0] not in _RUN_FOLDERS
        and "/" in file.name
        and set(macros) <= _given_by(file)
    ]


def _given_by(file: GinFile) -> set[str]:
    by_name = {each.name: each for each in project_files()}
    given: set[str] = set()
    for name in file.includes:
        if name in by_name:
            given |= _given_by(by_name[name])
    required = {name for name, text in file.bound.items() if text == "%gin.REQUIRED"}
    return (given - required) | (set(file.bound) - required)


def find(name: str, folders: Sequence[str]) -> Path | None:
    """The file of this name in the first of some folders that has one."""
    paths = [Path(folder, name).expanduser() for folder in folders]
    return next((path for path in paths if path.is_file()), None)


def missing_file(name: str, folders: Sequence[str]) -> SepconError:
    """The error for a gin file that is nowhere."""
    names = [file.name for file in project_files()]
    # Most often the name is misspelt within its folder, or the folder is another one.
    same = [each for each in names if Path(each).name == Path(name).name]
    beside = [each for each in names if Path(each).parent == Path(name).parent]
    suggestion = nearest(name, beside, least=0.75)
    suggestion = suggestion or (f"; did you mean {same[0]}?" if same else nearest(name, names))
    places = ", ".join(str(folder or "the current folder") for folder in folders)
    cure = (
        "" if suggestion else "; `sepcon list` names those there are, --gin_search_path adds more"
    )
    return SepconError(f"{name}: no such gin file in {places}{suggestion}{cure}")
