"""What TensorFlow sees of the machine, and what is missing."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import site
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from sepcon.doctor.check import Check
from sepcon.errors import SepconError, one_line
from sepcon.runs.jobs import visible_gpus

_LIBDEVICE = Path("nvvm") / "libdevice" / "libdevice.10.bc"
# In the order in which they are needed.
_LIBRARIES = ("libcuda.so.1", "libcudart.so.12", "libcublas.so.12", "libcufft.so.11")
_COMPILING = """
import sys
import tensorflow as tf
with tf.device(sys.argv[1]):
    function = tf.function(lambda x: tf.exp(x) * 2.0, jit_compile=True, autograph=False)
    print(float(tf.reduce_sum(function(tf.zeros([4])))))
"""


def machine_checks() -> Iterator[Check]:
    """Yields all of this module, each when it is made: a machine that hangs has told the others."""
    build = dict(tf.sysconfig.get_build_info())
    seen = tf.config.get_visible_devices("GPU")
    yield _versions(build)
    yield _processor()
    yield from (_device(device) for device in seen)
    yield gpu_check(len(seen), build, os.environ)
    if seen:
        yield libdevice_check(os.environ, libdevice_folders())
    yield from (compile_check(device.name) for device in tf.config.list_logical_devices())
    yield _precision(bool(seen))
    yield _cluster(os.environ.get("TF_CONFIG"))


def gpu_check(
    num_seen: int,
    build: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    devices: Path = Path("/dev"),
    load: Callable[[str], object] = ctypes.CDLL,
) -> Check:
    """Whether each GPU of the machine can be used.

    Args:
      num_seen: GPUs that TensorFlow sees.
      build: what TensorFlow says of how it was built.
      environment: of the process.
      devices: where the driver shows those of the machine.
      load: loads a library, or raises an OSError.
    """
    there = visible_gpus({}, devices)
    allowed = visible_gpus(environment, devices)
    values = {"there": len(there), "allowed": len(allowed), "seen": num_seen}
    if not there:
        return Check("GPUs", "OK", "the machine has none; all runs on processors", values=values)
    if num_seen >= len(allowed) and allowed:
        return Check("GPUs", "OK", f"{num_seen} of {len(there)} are seen", values=values)
    text = f"the machine has {len(there)}, TensorFlow sees {num_seen}"
    return Check("GPUs", "FAIL", text, _cure(allowed, build, load), values)


def _cure(allowed: list[str], build: Mapping[str, Any], load: Callable[[str], object]) -> str:
    wheel = f"pip install 'tensorflow[and-cuda]=={tf.__version__}'"
    if not allowed:
        return "CUDA_VISIBLE_DEVICES hides them: unset it"
    if not build.get("is_cuda_build"):
        return f"this TensorFlow was built for processors: {wheel}"
    cudnn = f"libcudnn.so.{build.get('cudnn_version', 9)}"
    for name in (*_LIBRARIES, cudnn):
        try:
            load(name)
        except OSError:
            if name == "libcuda.so.1":
                return "libcuda.so.1, the driver's library, is not found: install the driver"
            return f"{name} is not found: {wheel}"
    return "all libraries are found: look at what `nvidia-smi` says of the driver's version"


def libdevice_folders() -> list[Path]:
    """Where CUDA's compiler may be, the usual places first."""
    wheels = [Path(each) / "nvidia" / "cuda_nvcc" for each in site.getsitepackages()]
    return [*sorted(Path("/usr/local").glob("cuda*")), Path("/usr/lib/cuda"), *wheels]


def libdevice_check(environment: Mapping[str, str], folders: Iterable[Path]) -> Check:
    """Whether XLA finds what it needs to compile for a GPU.

    Args:
      environment: of the process.
      folders: where it may be.
    """
    told = re.search(r"--xla_gpu_cuda_data_dir=(\S+)", environment.get("XLA_FLAGS", ""))
    if told and (Path(told[1]) / _LIBDEVICE).is_file():
        return Check("libdevice", "OK", f"in {told[1]}")
    found = next((folder for folder in folders if (folder / _LIBDEVICE).is_file()), None)
    if found is None:
        cure = "pip install nvidia-cuda-nvcc-cu12, then start this again"
        return Check("libdevice", "FAIL", "is nowhere: XLA cannot compile for a GPU", cure)
    if told:
        cure = f"export XLA_FLAGS=--xla_gpu_cuda_data_dir={found}"
        return Check("libdevice", "FAIL", f"is not where XLA_FLAGS says, {told[1]}", cure)
    return Check("libdevice", "OK", f"in {found}")


def compile_check(device: str) -> Check:
    """Compiles a piece of a graph for a device and runs it, in a process of its own.

    XLA ends the process where it cannot go on, as with flags that it does not know.
    """
    name = f"XLA on {device.rsplit('/', maxsplit=1)[-1].removeprefix('device:')}"
    ended = subprocess.run(
        [sys.executable, "-c", _COMPILING, device], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        told = ended.stderr.strip().splitlines()[-1:] or [f"ended with {ended.returncode}"]
        flag = "export XLA_FLAGS=--xla_gpu_cuda_data_dir=FOLDER, which holds nvvm/libdevice"
        cure = flag if "libdevice" in ended.stderr else "see the message of XLA"
        if "XLA_FLAGS" in told[0]:
            cure = "unset XLA_FLAGS, or leave out what it names"
        words = re.sub(r"^[IWEF]\d{4} .*?\] ", "", told[0])  # of a log: time and place
        return Check(name, "FAIL", one_line(SepconError(words)), cure)
    if ended.stdout.split() != ["8.0"]:
        text = f"gives {ended.stdout.strip()!r}, expected 8.0"
        return Check(name, "FAIL", text, "report this machine")
    return Check(name, "OK", "compiles and runs")


def _versions(build: Mapping[str, Any]) -> Check:
    values = {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "cuda": str(build.get("cuda_version", "")),
        "cudnn": str(build.get("cudnn_version", "")),
    }
    text = ", ".join(f"{name} {value}" for name, value in values.items() if value)
    return Check("versions", "OK", text, values=values)


def _processor() -> Check:
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    text = f"{cores} cores, {memory / 1e9:.0f} GB of memory"
    return Check("processor", "OK", text, values={"cores": cores, "memory_bytes": memory})


def _device(device: Any) -> Check:
    details = tf.config.experimental.get_device_details(device)
    capability = ".".join(map(str, details.get("compute_capability", ())))
    kind = details.get("device_name", device.device_type)
    text = f"{kind}, compute capability {capability or 'unknown'}"
    values = {"device": kind, "compute_capability": capability}
    return Check(device.name.removeprefix("/physical_device:"), "OK", text, values=values)


def _precision(on_gpu: bool) -> Check:
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    text = "float32 products are rounded to TF32 (10 bits)" if tf32 else "float32 is float32"
    if not on_gpu:
        text = "float32 is float32 on processors"
    return Check("precision", "OK", text, values={"tf32": bool(tf32 and on_gpu)})


def _cluster(text: str | None) -> Check:
    if not text:
        return Check("TF_CONFIG", "OK", "not set: one process")
    try:
        config = json.loads(text)
        jobs = ", ".join(f"{name} {len(each)}" for name, each in config["cluster"].items())
        task = config["task"]
        return Check("TF_CONFIG", "OK", f"{jobs}; this is {task['type']} {task['index']}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Check("TF_CONFIG", "FAIL", "cannot be read", "see strategy multi_worker")
