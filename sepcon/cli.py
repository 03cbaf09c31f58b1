"""The command line: `sepcon <verb> --gin_file=... --run_dir=...`.

The only module that knows of flags and of gin. It reads the gin files, checks that every required
value is given, saves the resolved configuration into the run folder and calls one verb, which is a
plain Python function. A verb may have flags of its own for what is asked of it by hand.
"""

from __future__ import annotations

import importlib
import importlib.util  # gin 0.5 uses it without importing it.
import os
import re
import sys
import tokenize
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from absl import flags

import sepcon
from sepcon import startup
from sepcon.errors import SepconError, one_line, printable, raised_in_graph
from sepcon.verbs.registry import CONFIGURABLES, VERBS, Verb

USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      arguments: the command line without the program's name; `sys.argv` by default.

    Returns:
      The exit code: 0 done, 1 an error told in one line, 2 a wrong command line, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("--help", "-h", "help"):
        print(_general_help())
        return 0 if words else USAGE_ERROR
    if words[0] == "--version":
        print(sepcon.__version__)
        return 0
    try:
        return _run(words[0], words[1:])
    except SepconError as error:
        # gin appends where the value was bound; the first line is the message itself.
        print(f"sepcon: error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    except _UsageError as error:
        print(f"sepcon: error: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("sepcon: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except Exception as error:
        fault = raised_in_graph(error)
        if fault is None:
            raise
        print(f"sepcon: error: {printable(str(fault))}", file=sys.stderr)
        return 1


class _UsageError(Exception):
    """The command line itself is wrong."""


def _run(name: str, words: list[str]) -> int:
    if name not in VERBS:
        raise _UsageError(f"unknown verb {name!r}; expected one of {', '.join(VERBS)}")
    verb = VERBS[name]
    values = _flags(verb)
    if any(word in ("--help", "-h", "--helpfull") for word in words):
        print(_verb_help(name, verb, values))
        return 0
    try:
        positional = values(["sepcon", *words])[1:]
    except flags.Error as error:
        raise _UsageError(f"{one_line(error)} (sepcon {name} --help shows the flags)") from None
    if positional and not verb.positional:
        raise _UsageError(f"{name} takes no arguments beside flags, got {positional}")
    given = _arguments(verb, values)
    if not given.get("run_dir"):
        flag = next((f.name for f in verb.flags if f.argument == "run_dir"), "run_dir")
        raise _UsageError(f"--{flag} is missing: the folder that receives what the run makes")
    if positional:
        given["files"] = positional
    _configure_process(values)
    return _call(name, verb, values, given)


def _arguments(verb: Verb, values: Any) -> dict[str, Any]:
    """What flags give of the arguments of a verb's function."""
    named = {"run_dir": "run_dir", "strategy": "strategy"}
    named |= {flag.name: flag.argument or flag.name for flag in verb.flags}
    given = [(argument, values[flag].value) for flag, argument in named.items()]
    return {argument: value for argument, value in given if value is not None}


def _flags(verb: Verb) -> Any:
    values = flags.FlagValues()
    flags.DEFINE_multi_string(
        "gin_file", [], "gin file; may be repeated, later ones win", flag_values=values
    )
    flags.DEFINE_multi_string(
        "gin_bindings", [], "one binding, as in a gin file; may be repeated", flag_values=values
    )
    flags.DEFINE_alias("gin_param", "gin_bindings", flag_values=values)
    flags.DEFINE_multi_string(
        "gin_search_path", [], "further folders in which gin files are sought", flag_values=values
    )
    flags.DEFINE_string("run_dir", None, "folder of the run", flag_values=values)
    flags.DEFINE_enum(
        "strategy",
        None,
        ["default", "mirrored", "multi_worker", "tpu"],
        "how training is distributed; overrides gin",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "num_threads", None, "threads of this process; all cores by default", flag_values=values
    )
    for flag in verb.flags:
        define = getattr(flags, f"DEFINE_{flag.type}")
        choices = [flag.choices] if flag.choices else []
        define(flag.name, None, *choices, flag.help, flag_values=values)
    return values


def _general_help() -> str:
    rows = "\n".join(f"  {name:<16} {verb.summary}" for name, verb in VERBS.items())
    return (
        f"sepcon {sepcon.__version__}: {sepcon.__doc__}\n\n"
        "usage: sepcon VERB --gin_file=FILE [--gin_file=FILE ...] "
        "[--gin_bindings=BINDING ...] --run_dir=FOLDER\n\n"
        f"verbs:\n{rows}\n\n"
        "gin files are found in the project's gin folder from anywhere, e.g. runs/pretrain.gin.\n"
        "They are code: do not run those of strangers.\n\n"
        f"example:\n  {VERBS['train_separator'].example}\n\n"
        "sepcon VERB --help shows what a verb does, with an example."
    )


def _verb_help(name: str, verb: Verb, values: Any) -> str:
    usage = f"usage: sepcon {name} {verb.positional} [flags]".replace("  ", " ")
    rows = "\n".join(
        f"  --{flag}: {values[flag].help}" for flag in sorted(values) if flag != "gin_param"
    )
    summary = verb.summary[0].upper() + verb.summary[1:]
    return (
        f"{summary}.\n{verb.details}\n\n{usage}\n\nflags:\n{rows}\n\nexample:\n  {verb.example}\n"
    )


def _configure_process(values: Any) -> None:
    """Sets what must be set before TensorFlow starts.

    Its own log stays silent: at the start it reports missing GPU libraries as errors, and real
    errors come as exceptions.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if values.num_threads is not None:
        # numpy's OpenBLAS reads it when it is loaded. Its own threads wait by spinning, which took
        # a quarter of the processor time of a benchmark with one thread.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(values.num_threads))
    startup.load_tensorflow()
    runtime = importlib.import_module("sepcon.training.runtime")
    runtime.configure_threads(values.num_threads)


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


def configured(name: str, *, gin_files: Sequence[str], gin_bindings: Sequence[str]) -> Any:
    """Makes what gin files describe, for programs beside the verbs.

    Args:
      name: module:name, one of `CONFIGURABLES`.
      gin_files: later ones win.
      gin_bindings: single bindings, which win over the files.

    Raises:
      SepconError: a file or binding is wrong.
    """
    _parse_gin(gin_files, gin_bindings, ())
    return _registered[name.replace(":", ".")]()


def bound_arguments(
    verb: str, *, gin_files: Sequence[str], gin_bindings: Sequence[str]
) -> dict[str, Any]:
    """What gin files give of the arguments of a verb, for programs beside the verbs.

    What an argument refers to is made; bind to None what shall not be.

    Args:
      verb: one of `VERBS`.
      gin_files: later ones win.
      gin_bindings: single bindings, which win over the files.

    Raises:
      SepconError: a file or binding is wrong.
    """
    gin = _parse_gin(gin_files, gin_bindings, ())
    return gin.get_bindings(_registered[VERBS[verb].function])


def _parse_gin(files: Sequence[str], bindings: Sequence[str], search_path: Sequence[str]) -> Any:
    """Reads the gin files and bindings and returns the gin module, locked."""
    import gin

    gin.clear_config()
    folders = ["", *search_path, *gin_folders()]
    _read_files_from(gin, folders)
    register(gin)
    try:
        gin.parse_config_files_and_bindings(files, bindings, finalize_config=False)
    except _GIN_ERRORS as error:
        # Of the folders that files are looked for in, gin does not know.
        if missing := re.search(r"Unable to open file: (.+?)\. Searched", str(error)):
            places = ", ".join(str(folder or "the current folder") for folder in folders)
            raise SepconError(
                f"configuration: {missing[1]}: no such gin file in {places}; correct the name or "
                "give --gin_search_path"
            ) from None
        raise SepconError(f"configuration: {one_line(error)}") from None
    _check_required(gin.config_str())
    gin.finalize()
    return gin


def _read_files_from(gin: Any, folders: Sequence[str]) -> None:
    """Makes gin look for files, included ones too, in these folders and nowhere else.

    gin's own search takes the folder of an include for a Python package and fails where the
    current folder happens to hold one of that name, such as `data`.
    """

    def find(name: str) -> Path | None:
        paths = [Path(folder, name).expanduser() for folder in folders]
        return next((path for path in paths if path.is_file()), None)

    def read(name: str) -> TextIO:
        path = find(name)
        assert path is not None, name
        return open(path, encoding="utf-8")

    gin.config._FILE_READERS[:] = [(read, lambda name: find(name) is not None)]


def register(gin: Any) -> None:
    """Makes every configurable function and dataclass known to gin, once per process."""
    for path in CONFIGURABLES:
        module, name = path.split(":")
        if f"{module}.{name}" not in _registered:
            _registered[f"{module}.{name}"] = gin.external_configurable(
                getattr(importlib.import_module(module), name), module=module
            )
    for verb in VERBS.values():
        module, name = verb.function.split(":")
        if verb.function not in _registered:
            _registered[verb.function] = gin.external_configurable(
                getattr(importlib.import_module(module), name),
                module="sepcon",
                denylist=["run_dir", "config_text", *(["launch"] if verb.launches else [])],
            )


_GIN_ERRORS = (
    ValueError,
    SyntaxError,
    OSError,
    TypeError,
    ImportError,
    tokenize.TokenError,
)
_registered: dict[str, Callable[..., Any]] = {}


def _check_required(config: str) -> None:
    """Raises a SepconError if a macro is used that has no value."""
    macros = dict(re.findall(r"^([\w/]+) = (.*)", config, flags=re.MULTILINE))
    used = set(re.findall(r"%([\w/]+)\b(?!\.)", config))
    missing = sorted(name for name in used if macros.get(name, "%gin.REQUIRED") == "%gin.REQUIRED")
    if missing:
        raise SepconError(
            f"required value missing: {', '.join(missing)}; the header of the gin file says what "
            f"it is; give it as --gin_bindings='{missing[0]}=...' or by a further --gin_file"
        )


def _call(name: str, verb: Verb, values: Any, given: dict[str, Any]) -> int:
    gin = _parse_gin(values.gin_file, values.gin_bindings, values.gin_search_path)
    given["run_dir"] = Path(given["run_dir"]).expanduser()
    if verb.launches:
        given["launch"] = _launch(name, values)
    try:
        _registered[verb.function](config_text=gin.config_str(), **given)
    except TypeError as error:
        # gin reports a required argument that nobody gave as a TypeError of the call.
        match = re.search(r"missing \d+ required .*", str(error))
        if match is None:
            raise
        flag = next((flag.name for flag in verb.flags if f"'{flag.name}'" in match[0]), None)
        cure = "bind it in gin" if flag is None else f"give --{flag}"
        raise SepconError(f"configuration of {name}: {match[0]}; {cure}") from None
    except ValueError as error:
        if not _is_refusal(error):
            raise
        # gin appends which of its callables refused the value.
        where = re.search(r"In call to configurable '([^']+)'", str(error))
        of = where[1] if where else name
        raise SepconError(f"configuration of {of}: {str(error).splitlines()[0]}") from None
    if not verb.launches:  # What such a verb is given is for those that it starts.
        _warn_of_unused(gin, values.gin_bindings)
    return 0


def _is_refusal(error: ValueError) -> bool:
    """Whether a function of this package raised it by itself, of an argument that gin gave it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    own = Path(last.filename).is_relative_to(Path(sepcon.__file__).parent)
    return own and (last.line or "").startswith("raise ValueError")


def _launch(name: str, values: Any) -> Any:
    """What a verb that starts others hands on to them, and how it reads the files of its rows."""
    study = importlib.import_module("sepcon.studies.rows")
    words = [
        f"--{flag}={value}"
        for flag in ("gin_search_path", "gin_file", "gin_bindings")
        for value in values[flag].value
        # What is bound of the verb itself, the others have no use for.
        if flag != "gin_bindings" or not value.strip().startswith(f"{name}.")
    ]

    def read_row(path: str, bindings: Sequence[str]) -> Any:
        files = ["runs/pretrain.gin", path, *values.gin_file]
        try:
            gin = _parse_gin(files, [*values.gin_bindings, *bindings], values.gin_search_path)
        except SepconError as error:
            raise SepconError(f"{path}: {str(error).splitlines()[0]}") from None
        return study.StudyRow(
            gin_file=path,
            name=_bound(gin, "%ROW", Path(path).stem),
            channels=tuple(_bound(gin, "%CHANNELS", ())),
            figures=tuple(_bound(gin, "%FIGURES", ())),
            against=_bound(gin, "%AGAINST", ""),
            supervised=bool(_bound(gin, "pretrain.supervised", False)),
        )

    return study.Launch(tuple(words), read_row, tuple(values.gin_file), tuple(values.gin_bindings))


def _bound(gin: Any, name: str, default: Any) -> Any:
    """What a parameter, or a macro with % before its name, is bound to."""
    try:
        return gin.query_parameter(name)
    except ValueError:
        return default


def _warn_of_unused(gin: Any, bindings: Sequence[str]) -> None:
    """Tells of bindings on the command line that this run has not read.

    Those of shared files are left out: a file may well speak to several verbs.
    """
    pattern = re.compile(r"^((?:[\w/.]*/)?[\w.]+\.\w+) *=", flags=re.MULTILINE)
    used = set(pattern.findall(gin.operative_config_str()))
    used |= {name.rpartition("/")[2] for name in used}
    given = [match[1] for binding in bindings if (match := pattern.match(binding))]
    unused = sorted(name for name in given if name not in used)
    if unused:
        print(f"sepcon: note: this run has no use for {', '.join(unused)}", file=sys.stderr)
