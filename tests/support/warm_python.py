"""Python processes in which TensorFlow is loaded already, for tests that start many of them.

Loading takes three seconds of processor time. One process, the server, does it once in a session of
tests, and is forked for every `python` that a test asks for: TensorFlow starts its threads with
the first operation, and until then a process that has loaded it can be forked.

    subprocess.run([warm_python.path(), "-m", "sepcon", "--version"])

What is run has a program, folder, environment, input and output of its own as any other process,
and imports sepcon and whatever else it needs by itself. What it starts by `sys.executable` is
forked from the server too. The process that a test sees is a small one in between, which hands on
signals and the exit code; when it is killed, so is what it stands for, a moment later: wait for the
end of its output before you start something in the same place.
"""

import atexit
import contextlib
import fcntl
import io
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# The folder of socket and launcher, and the process with whose end the server ends.
_FOLDER, _OWNER = "SEPCON_WARM_PYTHON", "SEPCON_WARM_PYTHON_OWNER"
_HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# What libraries read when they are loaded: a process that wants it otherwise must load them itself.
_READ_AT_LOADING = ("TF_", "XLA_", "CUDA_", "OPENBLAS_", "OMP_", "LD_", "PYTHONHASHSEED")
_READ_LATER = ("TF_CONFIG", "TF_CPP_MIN_LOG_LEVEL")
_OTHER_LIBRARIES = ("tensorflow_datasets", "scipy.optimize", "scipy.signal", "soundfile", "soxr")
_NO_PROCESS = 0
_SPENT_FILE = "spent.jsonl"


def prepare() -> None:
    """Called where a session of tests begins; its workers inherit what is prepared."""
    if _FOLDER in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="warm-python-"))
    launcher = folder / "python"
    here = Path(__file__).resolve()
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{here}" "{folder}" "$@"\n')
    launcher.chmod(0o755)
    os.environ[_FOLDER], os.environ[_OWNER] = str(folder), str(os.getpid())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def path() -> str:
    """Returns what to start in the place of `sys.executable`; starts the server if none runs."""
    if not hasattr(os, "pidfd_open"):
        return sys.executable
    folder = Path(os.environ[_FOLDER])
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "socket").exists():
            _start_server(folder)
    return str(folder / "python")


@contextlib.contextmanager
def used() -> Iterator[None]:
    """Has everything that is started by `sys.executable` meanwhile forked from the server."""
    before, sys.executable = sys.executable, path()
    try:
        yield
    finally:
        sys.executable = before


def spent_by_forks() -> list[dict[str, Any]]:
    """What has been forked and has ended: the 'test' that asked for it, and processor 'seconds'."""
    path = Path(os.environ[_FOLDER]) / _SPENT_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _start_server(folder: Path) -> None:
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(
            [sys.executable, __file__, "--serve", folder],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    while not (folder / "socket").exists():
        if server.poll() is not None:
            raise RuntimeError((folder / "server.log").read_text())
        time.sleep(0.05)


def launch(folder: str, words: list[str]) -> int:
    """Asks the server for a process, and ends as that ends; the launcher's part."""
    options = not words or (words[0].startswith("-") and words[0] not in ("-m", "-c"))
    # Those of multiprocessing inherit files that would have to be handed on too.
    if options or "--multiprocessing-fork" in words:
        return _without_server(words)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(f"{folder}/socket")
    except OSError:
        return _without_server(words)
    ignored = [int(n) for n in _HANDED_ON if signal.getsignal(n) is signal.SIG_IGN]
    request = {
        "words": words,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "ignored": ignored,
    }
    text = json.dumps(request).encode()
    socket.send_fds(connection, [len(text).to_bytes(4, "big")], [0, 1, 2])
    connection.sendall(text)
    process = _received(connection)
    if process == _NO_PROCESS:
        return _without_server(words)
    for number in _HANDED_ON:
        if int(number) not in ignored:
            signal.signal(number, lambda number, _: os.kill(process, number))
    code = _received(connection)
    if code < 0:
        if -code in _HANDED_ON:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _without_server(words: list[str]) -> int:
    os.execv(sys.executable, [sys.executable, *words])


def _received(connection: socket.socket) -> int:
    data = connection.recv(4, socket.MSG_WAITALL)
    if len(data) < 4:
        sys.exit("warm_python: the server is gone")
    return int.from_bytes(data, "big", signed=True)


class Server:
    """Forks itself for every request, and tells the launcher how the process ended."""

    def __init__(self, folder: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "new_socket"))
        self._listener.listen(64)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._fixed = _read_at_loading(os.environ)
        self._launchers: dict[int, socket.socket] = {}  # by process
        self._tests: dict[int, str] = {}  # that asked, by process
        self._spent = folder / _SPENT_FILE
        (folder / "new_socket").rename(folder / "socket")

    def serve(self, owner: int) -> dict[str, Any] | None:
        """Returns a request in a process that was forked for it; None when the owner is gone."""
        while os.path.exists(f"/proc/{owner}"):
            for key, _ in self._selector.select(1.0):
                if key.fileobj is self._listener:
                    request = self._accept()
                    if request is not None:
                        return request
                elif isinstance(key.fileobj, socket.socket):
                    self._launcher_gone(key.fileobj, key.data)
                else:
                    self._process_ended(key.fd, key.data)
        return None

    def _accept(self) -> dict[str, Any] | None:
        launcher, _ = self._listener.accept()
        size, files, _, _ = socket.recv_fds(launcher, 4, 3)
        request = json.loads(launcher.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
        process = _NO_PROCESS
        if _read_at_loading(request["environment"]) == self._fixed:
            process = os.fork()
            if process == 0:
                for number, file in enumerate(files):
                    os.dup2(file, number)
                # Else the objects would close them when they are collected: by then the numbers
                # are those of other files.
                for item in (self._selector, self._listener, launcher, *self._launchers.values()):
                    item.close()
                os.closerange(3, 4096)  # What else the server has open.
                return request
        for file in files:
            os.close(file)
        launcher.sendall(process.to_bytes(4, "big", signed=True))
        if process != _NO_PROCESS:
            self._launchers[process] = launcher
            self._tests[process] = request["environment"].get("PYTEST_CURRENT_TEST", "")
            self._selector.register(launcher, selectors.EVENT_READ, process)
            self._selector.register(os.pidfd_open(process), selectors.EVENT_READ, process)
        return None

    def _launcher_gone(self, launcher: socket.socket, process: int) -> None:
        self._selector.unregister(launcher)
        os.kill(process, signal.SIGKILL)

    def _process_ended(self, file: int, process: int) -> None:
        _, status, usage = os.wait4(process, 0)
        code = os.waitstatus_to_exitcode(status)
        line = {"test": self._tests.pop(process), "seconds": usage.ru_utime + usage.ru_stime}
        with contextlib.suppress(OSError), open(self._spent, "a") as spent:
            spent.write(json.dumps(line) + "\n")
        self._selector.unregister(file)
        os.close(file)
        launcher = self._launchers.pop(process)
        if launcher in self._selector.get_map():
            self._selector.unregister(launcher)
        with contextlib.suppress(OSError), launcher:  # It may have been killed.
            launcher.sendall(code.to_bytes(4, "big", signed=True))


def _read_at_loading(environment: Any) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_AT_LOADING) and name not in _READ_LATER
    }


def load() -> None:
    """Loads TensorFlow as a command of sepcon does, and forgets sepcon."""
    here = Path(__file__).resolve()
    sys.path[:0] = [str(here.parents[2]), str(here.parent)]
    from no_stacks import take_no_stacks

    from sepcon import startup

    startup.load_tensorflow()
    take_no_stacks()
    for name in _OTHER_LIBRARIES:
        __import__(name)
    for name in [name for name in sys.modules if name.split(".")[0] == "sepcon"]:
        del sys.modules[name]
    del sys.path[:2]


def become(request: dict[str, Any], search_path: list[str]) -> None:
    """Makes this process, just forked, the one that a launcher asked for, and runs its program."""
    environment, words = request["environment"], request["words"]
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    _open_streams(unbuffered=bool(environment.get("PYTHONUNBUFFERED")))
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    sys.executable = f"{environment[_FOLDER]}/python"
    first = {"-c": "", "-m": os.getcwd()}.get(words[0], os.path.dirname(os.path.abspath(words[0])))
    given = [each for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:] = [first, *given, *search_path]
    _run(words)


def _open_streams(*, unbuffered: bool) -> None:
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.fdopen(number, "wb", 0 if unbuffered else -1, closefd=False)
        stream = io.TextIOWrapper(
            file,
            encoding="utf-8",
            errors="backslashreplace" if name == "stderr" else "strict",
            line_buffering=name == "stderr",
            write_through=unbuffered,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(words: list[str]) -> None:
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        exec(compile(words[1], "<string>", "exec"), module.__dict__)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def main() -> None:
    if sys.argv[1] != "--serve":
        sys.exit(launch(sys.argv[1], sys.argv[2:]))
    owner = int(os.environ[_OWNER])
    # Without the folder of this file and what the environment adds.
    added = {str(Path(__file__).resolve().parent), *os.environ.get("PYTHONPATH", "").split(":")}
    search_path = [folder for folder in sys.path if folder not in added]
    load()
    request = Server(Path(sys.argv[2])).serve(owner)
    if request is not None:
        become(request, search_path)


_MAIN = sys.modules[__name__]  # Kept alive, whatever `__main__` becomes.
if __name__ == "__main__":
    main()
