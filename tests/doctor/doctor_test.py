"""The doctor finds what is made wrong on purpose, and nothing else."""

import json

import pytest
import tensorflow as tf

from sepcon.cli.command import main
from sepcon.doctor import cases, steps
from sepcon.doctor.doctor import REPORT_FILE
from sepcon.doctor.machine import gpu_check, libdevice_check
from sepcon.losses import assignment
from sepcon.replicas import has_accelerator

CUDA = {"is_cuda_build": True, "cudnn_version": "9"}


def found(name):
    """Loads all libraries but one."""

    def load(library):
        if library == name:
            raise OSError(library)

    return load


@pytest.mark.parametrize(
    "seen, build, environment, missing, verdict, words",
    [
        (1, CUDA, {}, "", "OK", "1 of 1 are seen"),
        (0, {}, {}, "", "FAIL", "built for processors: pip install 'tensorflow[and-cuda]=="),
        (0, CUDA, {"CUDA_VISIBLE_DEVICES": "-1"}, "", "FAIL", "CUDA_VISIBLE_DEVICES hides them"),
        (0, CUDA, {}, "libcuda.so.1", "FAIL", "install the driver"),
        (0, CUDA, {}, "libcudnn.so.9", "FAIL", "libcudnn.so.9 is not found: pip install"),
        (0, CUDA, {}, "", "FAIL", "the driver's version"),
    ],
)
def test_a_gpu_that_tensorflow_does_not_see(
    tmp_path, seen, build, environment, missing, verdict, words
):
    (tmp_path / "nvidia0").touch()
    check = gpu_check(seen, build, environment, devices=tmp_path, load=found(missing))
    assert check.verdict == verdict
    assert words in str(check)


def test_a_machine_without_a_gpu_is_well(tmp_path):
    assert gpu_check(0, {}, {}, devices=tmp_path).verdict == "OK"


def test_libdevice_is_named_with_its_cure(tmp_path):
    missing, there = tmp_path / "missing", tmp_path / "there"
    (there / "nvvm" / "libdevice").mkdir(parents=True)
    (there / "nvvm" / "libdevice" / "libdevice.10.bc").touch()
    wrong = {"XLA_FLAGS": f"--xla_gpu_cuda_data_dir={missing}"}
    assert libdevice_check({}, [missing, there]).verdict == "OK"
    assert "pip install nvidia-cuda-nvcc" in libdevice_check({}, [missing]).cure
    assert libdevice_check(wrong, [missing]).verdict == "FAIL"
    assert libdevice_check(wrong, [there]).cure.endswith(f"cuda_data_dir={there}")


def test_a_flag_that_ends_the_process_is_a_line(tmp_path, monkeypatch, capsys):
    """And no step is taken then, which would end the doctor."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_nonsense=1")
    assert main(["doctor", "--json", f"--run_dir={tmp_path}"]) == 1
    told = capsys.readouterr()
    lines = {line["name"]: line for line in map(json.loads, told.out.splitlines())}
    failed = [name for name, line in lines.items() if line["verdict"] == "FAIL"]
    assert failed == ["XLA on CPU:0", "steps and speed"]
    assert lines["XLA on CPU:0"]["text"] == "Unknown flag in XLA_FLAGS: --xla_nonsense=1"
    assert lines["XLA on CPU:0"]["cure"].startswith("unset XLA_FLAGS")
    assert f"2 of {len(lines)} checks failed" in told.err
    assert len(json.loads((tmp_path / REPORT_FILE).read_text())["checks"]) == len(lines)


def test_a_task_is_looked_at_by_the_command(tmp_path, capsys):
    words = ["doctor", "--quick", "--json", "--tasks=separation, learned", f"--run_dir={tmp_path}"]
    assert main(words) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["verdict"] for line in lines} == {"OK"}
    last = [line["name"] for line in lines][-2:]
    assert last == ["kernels of separation, learned basis", "separation, learned basis on CPU:0"]
    assert lines[-2]["values"]["launches"] > 100
    assert lines[-1]["values"]["gradient_error"] < 1e-3
    assert json.loads((tmp_path / REPORT_FILE).read_text())["checks"] == lines


def test_a_form_for_accelerators_that_computes_something_else_is_a_failure(monkeypatch):
    def wrong(first, second, *, transposed=False):
        product = tf.matmul(first, second, transpose_b=transposed)
        return -product if has_accelerator() else product

    monkeypatch.setattr(assignment, "_multiplied", wrong)
    checks = steps.step_checks("separation", cases.CASES["separation"], [])
    assert [check.verdict for check in checks] == ["OK", "FAIL"]
    assert "do not train on it" in checks[1].cure


def test_an_operation_without_a_gpu_kernel_is_a_failure():
    function = tf.function(lambda x: tf.gather(x, [0, 2]), autograph=False)
    graph = function.get_concrete_function(tf.TensorSpec([4, 6], tf.int16)).graph
    check = steps.kernel_check("a task", graph)
    assert check.verdict == "FAIL"
    assert "GatherV2 of int16, int32 has no GPU kernel" in check.text


def test_unknown_tasks_are_refused(tmp_path, capsys):
    assert main(["doctor", "--tasks=separating", f"--run_dir={tmp_path}"]) == 1
    assert (
        "tasks: got ['separating'], expected beginnings of: separation;" in capsys.readouterr().err
    )
