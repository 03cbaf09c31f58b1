"""The command line: `sepcon <verb> --gin_file=... --run_dir=...`.

The only room that knows of flags and of gin. It reads the gin files, checks that every required
value is given, and calls one verb, which is a plain Python function. A verb may have flags of its
own for what is asked of it by hand.
"""

from sepcon.cli.command import main
from sepcon.cli.configuration import bound_arguments, configured
from sepcon.cli.gin_files import gin_folders

__all__ = ["bound_arguments", "configured", "gin_folders", "main"]
