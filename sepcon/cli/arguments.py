"""The flags of each verb, and what --help says."""

from __future__ import annotations

from typing import Any

from absl import flags as absl_flags

import sepcon
from sepcon.cli.gin_files import project_folder
from sepcon.cli.signatures import read_source
from sepcon.verbs.registry import VERBS, Verb

_STRATEGIES = ["default", "mirrored", "multi_worker", "tpu"]
_TEXTS = {
    "gin_file": "gin file; later ones win",
    "gin_bindings": "one binding, as in a gin file",
    "gin_search_path": "further folders in which gin files are sought",
}
_SWITCHES = {
    "no_defaults": "leave out the verb's own file of gin/runs, which is otherwise read first",
    "shared_config": "bindings may speak to other verbs: no error where this run does not read one",
    "print_config": "show every value with the file and line it comes from, and stop",
    "dry_run": "check files, shapes, memory, steps and disk as far as possible, and stop",
}


def flags_of(verb: Verb) -> Any:
    """The flags of a verb, as absl has them."""
    values = absl_flags.FlagValues()
    for name, text in _TEXTS.items():
        absl_flags.DEFINE_multi_string(name, [], text, flag_values=values)
    absl_flags.DEFINE_alias("gin_param", "gin_bindings", flag_values=values)
    for name, text in _SWITCHES.items():
        absl_flags.DEFINE_boolean(name, False, text, flag_values=values)
    absl_flags.DEFINE_string("run_dir", None, "folder of the run", flag_values=values)
    if "strategy" in read_source(verb.function).parameters:
        text = "how training is distributed; overrides gin"
        absl_flags.DEFINE_enum("strategy", None, _STRATEGIES, text, flag_values=values)
    absl_flags.DEFINE_integer(
        "num_threads", None, "threads of this process; all cores by default", flag_values=values
    )
    for flag in verb.flags:
        define = getattr(absl_flags, f"DEFINE_{flag.type}")
        choices = [flag.choices] if flag.choices else []
        define(flag.name, None, *choices, flag.help, flag_values=values)
        if flag.former:
            absl_flags.DEFINE_alias(flag.former, flag.name, flag_values=values)
    return values


def given_arguments(verb: Verb, values: Any) -> dict[str, Any]:
    """What flags give of the arguments of a verb's function."""
    given = {
        argument: values[flag].value for argument, flag in argument_flags(verb, values).items()
    }
    return {argument: value for argument, value in given.items() if value is not None}


def argument_flags(verb: Verb, values: Any) -> dict[str, str]:
    """The arguments of a verb's function that flags give -> the flag; its own come first."""
    shared = {name: name for name in ("run_dir", "strategy") if name in values}
    return shared | {
        flag.argument or flag.name: flag.name
        for flag in verb.flags
        # --out is --run_dir by another name.
        if not (flag.argument == "run_dir" and values["run_dir"].value is not None)
    }


def general_help() -> str:
    """What `sepcon --help` shows."""
    rows = "\n".join(f"  {name:<16} {verb.summary}" for name, verb in VERBS.items())
    return (
        f"sepcon {sepcon.__version__}: {sepcon.__doc__}\n\n"
        "usage: sepcon VERB [--gin_file=FILE ...] [--gin_bindings=BINDING ...] --run_dir=FOLDER\n"
        "       sepcon list [KIND]\n\n"
        f"verbs:\n{rows}\n  {'list':<16} name the gin files by kind, encoders, data and studies\n\n"
        "gin/runs/VERB.gin is read first. gin files are found in the project's gin folder from\n"
        "anywhere, e.g. data/builtin_scenes.gin. They are code: do not run those of strangers.\n\n"
        f"example:\n  {VERBS['train_separator'].example}\n\n"
        "sepcon VERB --help shows what a verb does, with an example; sepcon list data names the\n"
        "clips that there are to begin with."
    )


def verb_help(name: str, verb: Verb, values: Any) -> str:
    """Returns what `sepcon VERB --help` prints.

    Args:
      name: of the verb.
      verb: its entry in the registry.
      values: its flags.
    """
    usage = f"usage: sepcon {name} {verb.positional} [flags]".replace("  ", " ")
    aliases = {"gin_param", *(flag.former for flag in verb.flags)}
    rows = "\n".join(
        f"  --{flag}: {values[flag].help}" for flag in sorted(values) if flag not in aliases
    )
    summary = verb.summary[0].upper() + verb.summary[1:]
    default = project_folder() / "runs" / f"{name}.gin"
    read = f"runs/{name}.gin is read first; its header names the macros.\n" * default.is_file()
    return (
        f"{summary}.\n{verb.details}\n{read}\n{usage}\n\nflags:\n{rows}\n\n"
        f"example:\n  {verb.example}\n"
    )
