"""One command, from its words to its exit code.

What is wrong with the words, the gin files or their values is told before TensorFlow is loaded.
Then the verb is called, a plain Python function that knows nothing of flags and gin.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags as absl_flags

import sepcon
from sepcon import startup
from sepcon.cli import configurables
from sepcon.cli.arguments import (
    argument_flags,
    flags_of,
    general_help,
    given_arguments,
    verb_help,
)
from sepcon.cli.bindings import Configuration, ConfigurationError
from sepcon.cli.configuration import read_configuration
from sepcon.cli.dry_run import dry_run
from sepcon.cli.launch import launch_of
from sepcon.cli.listing import listing
from sepcon.cli.print_config import print_config
from sepcon.cli.reach import Reach, check_read, check_values, reach
from sepcon.errors import (
    Interrupted,
    SepconError,
    nearest,
    one_line,
    printable,
    raised_in_graph,
)
from sepcon.runs.stop import interruptible
from sepcon.verbs.registry import VERBS, Verb

USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      arguments: the command line without the program's name; `sys.argv` by default.

    Returns:
      The exit code: 0 done, 1 an error told in one line, 2 a wrong command line, 130, 143 or
      129 interrupted by Ctrl-C, SIGTERM or SIGHUP.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("--help", "-h", "help"):
        print(general_help())
        return 0 if words else USAGE_ERROR
    if words[0] == "--version":
        print(sepcon.__version__)
        return 0
    try:
        if words[0] == "list":
            print(listing(words[1:]))
            return 0
        with interruptible():
            return _run(words[0], words[1:])
    except SepconError as error:
        # gin appends where the value was bound; the first line is the message itself.
        print(f"sepcon: error: {str(error).splitlines()[0]}", file=sys.stderr)
        for line in error.details if isinstance(error, ConfigurationError) else ():
            print(line, file=sys.stderr)
        return 1
    except _UsageError as error:
        print(f"sepcon: error: {error}", file=sys.stderr)
        return USAGE_ERROR
    except Interrupted as error:
        print(f"sepcon: {error}", file=sys.stderr)
        return error.exit_code
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
        suggestion = nearest(name, [*VERBS, "list"])
        raise _UsageError(f"unknown verb {name!r}, expected one of {', '.join(VERBS)}{suggestion}")
    verb = VERBS[name]
    values = flags_of(verb)
    if any(word in ("--help", "-h", "--helpfull") for word in words):
        print(verb_help(name, verb, values))
        return 0
    try:
        positional = values(["sepcon", *words])[1:]
    except absl_flags.Error as error:
        raise _UsageError(f"{one_line(error)} (sepcon {name} --help shows the flags)") from None
    if positional and not verb.positional:
        raise _UsageError(f"{name} takes no arguments beside flags, got {positional}")
    given = given_arguments(verb, values)
    out = next((flag for flag in verb.flags if flag.argument == "run_dir"), None)
    if positional:
        given["files"] = positional
        if out and out.for_files:
            given.setdefault("run_dir", out.for_files)
    if not given.get("run_dir") and not values.print_config:
        flag = out.name if out else "run_dir"
        raise _UsageError(f"--{flag} is missing: the folder that receives what the run makes")
    configuration, found = _configuration(name, values, given)
    if values.print_config:
        flags = argument_flags(verb, values)
        by_flags = {name: (flags[name], value) for name, value in given.items() if name in flags}
        print(print_config(configuration, found, by_flags))
        return 0
    given["run_dir"] = Path(given["run_dir"]).expanduser()
    if verb.launches:
        given["launch"] = launch_of(
            name,
            configuration,
            gin_files=values.gin_file,
            gin_bindings=values.gin_bindings,
            search_path=values.gin_search_path,
        )
    _configure_process(values, tensorflow=not verb.launches)
    if values.dry_run:
        with _told(name, verb):
            print(dry_run(verb, given, configuration))
        return 0
    return _call(name, given, configuration)


def _configuration(name: str, values: Any, given: dict[str, Any]) -> tuple[Configuration, Reach]:
    """Reads and checks the configuration of a run."""
    verb = VERBS[name]
    configuration = read_configuration(
        name,
        values.gin_file,
        values.gin_bindings,
        values.gin_search_path,
        # Files are separated with no data set in sight.
        defaults=not values.no_defaults and "files" not in given,
    )
    by_caller = {*given, "run_dir", "config_text", *(["launch"] if verb.launches else [])}
    selector = configurables.selector_of(verb.function)
    found = reach(configuration, selector, given=by_caller)
    if not values.shared_config and not verb.launches:
        check_read(configuration, found, name, list(given))
    if not values.print_config:
        check_values(found, name, argument_flags(verb, values))
    return configuration, found


def _configure_process(values: Any, *, tensorflow: bool = True) -> None:
    """Sets what must be set before TensorFlow starts.

    Its own log stays silent: at the start it reports missing GPU libraries as errors, and real
    errors come as exceptions.

    Args:
      values: of the flags.
      tensorflow: whether to start it. A verb that starts others needs it at the end, if at all.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if values.num_threads is not None:
        # numpy's OpenBLAS reads it when it is loaded. Its own threads wait by spinning, which took
        # a quarter of the processor time of a benchmark with one thread.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(values.num_threads))
    if not tensorflow:
        return
    startup.load_tensorflow()
    runtime = importlib.import_module("sepcon.training.runtime")
    runtime.configure_threads(values.num_threads)


def _call(name: str, given: dict[str, Any], configuration: Configuration) -> int:
    verb = VERBS[name]
    config_text = configuration.text() + _given_text(verb, given)
    with _told(name, verb):
        configurables.configured(verb.function)(config_text=config_text, **given)
    return 0


def _given_text(verb: Verb, given: Mapping[str, Any]) -> str:
    """What flags give of a verb's arguments, as bindings: they come before what gin says."""
    function = verb.function.partition(":")[2]
    names = {flag.argument or flag.name for flag in verb.flags} - {"run_dir"}
    lines = [f"{function}.{name} = {given[name]!r}\n" for name in sorted(names & given.keys())]
    return "".join(["\n# Flags:\n", *lines]) if lines else ""


@contextlib.contextmanager
def _told(name: str, verb: Verb) -> Iterator[None]:
    """Turns what is wrong with the values that gin gave into an error of one line."""
    try:
        yield
    except TypeError as error:
        # A required argument of what the program itself calls, which nobody gave.
        match = re.search(r"missing \d+ required .*", str(error))
        if match is None:
            raise
        raise SepconError(f"configuration of {name}: {match[0]}; bind it in gin") from None
    except ValueError as error:
        if not _is_refusal(error):
            raise
        # gin appends which of its callables refused the value.
        where = re.search(r"In call to configurable '([^']+)'", str(error))
        of = where[1] if where else name
        raise SepconError(f"configuration of {of}: {str(error).splitlines()[0]}") from None


def _is_refusal(error: ValueError) -> bool:
    """Whether a function of this package raised it by itself, of an argument that gin gave it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    own = Path(last.filename).is_relative_to(Path(sepcon.__file__).parent)
    return own and (last.line or "").startswith("raise ValueError")
