"""Processes of the tests that are forked, not started, differ in nothing but their time."""

import os
import signal
import subprocess
import sys
import time

import pytest
import warm_python


def run(*words: str, **arguments) -> subprocess.CompletedProcess[str]:
    command = [warm_python.path(), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **arguments)


def test_tensorflow_is_loaded_and_sepcon_is_not():
    code = "import sys; print('tensorflow' in sys.modules, 'sepcon' in sys.modules)"
    assert run("-c", code).stdout == "True False\n"


def test_a_program_has_its_own_words_folder_environment_and_streams(tmp_path):
    program = (
        "import os, sys\n"
        "import sibling\n"
        "print(sys.argv[1:], os.getcwd(), os.environ['MINE'], sys.stdin.read(), __name__)\n"
        "print(sibling.__file__, file=sys.stderr)\n"
        "sys.exit(7)\n"
    )
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "sibling.py").write_text("")
    ended = run(
        str(tmp_path / "program.py"),
        "a",
        "b c",
        input="heard",
        cwd=tmp_path,
        env={**os.environ, "MINE": "here"},
    )
    assert ended.stdout == f"['a', 'b c'] {tmp_path} here heard __main__\n"
    assert ended.stderr == f"{tmp_path}/sibling.py\n"
    assert ended.returncode == 7


def test_a_module_is_run_and_an_exception_is_told(tmp_path):
    version = run("-m", "sepcon", "--version", cwd=tmp_path)
    expected = [sys.executable, "-m", "sepcon", "--version"]
    assert version.stdout == subprocess.check_output(expected, text=True, cwd=tmp_path)
    failed = run("-c", "1 / 0")
    assert (failed.returncode, failed.stderr.splitlines()[-1]) == (
        1,
        "ZeroDivisionError: division by zero",
    )


def test_what_it_starts_is_forked_too():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    assert run("-c", code, "import sys; print('tensorflow' in sys.modules)").stdout == "True\n"


@pytest.mark.parametrize("changed", [{"OMP_NUM_THREADS": "3"}, {"TF_USE_LEGACY_KERAS": "1"}])
def test_what_is_read_when_a_library_is_loaded_wants_a_process_that_loads_it(changed):
    code = "import os, sys; print('tensorflow' in sys.modules, {**os.environ}.items() >= CHANGED)"
    code = code.replace("CHANGED", f"{changed}.items()")
    assert run("-c", code, env={**os.environ, **changed}).stdout == "False True\n"


SLEEPING = (
    "import os, signal, sys, time\n"
    "print(os.getpid(), flush=True)\n"
    "try: time.sleep(60)\n"
    "except KeyboardInterrupt: sys.exit(5)\n"
)


@pytest.mark.parametrize(
    "number, code", [(signal.SIGINT, 5), (signal.SIGTERM, -15), (signal.SIGKILL, -9)]
)
def test_signals_reach_it_and_its_end_is_seen(number, code):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command = [warm_python.path(), "-c", SLEEPING]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        pid = int(process.stdout.readline())
    finally:
        signal.signal(signal.SIGINT, before)
    time.sleep(0.1)  # The launcher learns the number of the process after it has begun.
    process.send_signal(number)
    assert process.communicate()[0] == ""
    assert process.returncode == code
    assert not os.path.exists(f"/proc/{pid}/exe")
