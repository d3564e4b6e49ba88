"""The real tritonserver, of the package nvidia-pytriton in a virtual environment of its own.

It has the Python backend alone, so a backend in Python stands in for ONNX Runtime's. Old releases
of Triton let strangers run code: on the loopback interface, and for tests, only.
"""

import os
import shutil
import signal
import subprocess
import sysconfig
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.served import free_port, wait_for

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-triton"
BACKENDS = ROOT / "tests" / "data" / "backends"
LIBPYTHON = Path(sysconfig.get_config_var("LIBDIR")) / sysconfig.get_config_var("INSTSONAME")


@dataclass
class Triton:
    process: subprocess.Popen
    http: int
    grpc: int
    metrics: int
    log: Path

    def url(self, model, scheme="http"):
        return f"{scheme}://127.0.0.1:{getattr(self, scheme)}/v2/models/{model}"

    def pending(self, model):
        """Return how many requests wait for a model."""
        return self.metric("nv_inference_pending_request_count", model)

    def metric(self, name, model):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics") as answer:
            (line,) = (
                line
                for line in answer.read().decode().splitlines()
                if line.startswith(f'{name}{{model="{model}"')
            )
        return float(line.rpartition(" ")[2])

    def stand_in_pids(self):
        """Return the processes that stand in for ONNX Runtime's backend, one for each model."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_text()
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            living = state != "Z" and int(parent) == self.process.pid
            if living and "backends/onnxruntime" in line:
                found.append(int(folder.name))
        return found


def python(code, *arguments):
    """Run code in the environment of Triton's own client; returns what it prints."""
    command = [VENV / "bin" / "python", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def slow_down(folder, seconds):
    """Let a model of a repository, as the stand-in runs it, take its time for each batch."""
    with open(folder / "config.pbtxt", "a") as config:
        config.write(f'parameters {{ key: "pause" value {{ string_value: "{seconds}" }} }}\n')


@contextmanager
def tritonserver(folder, models):
    """Run the server on a repository until the block ends; its models are loaded."""
    packages = next(VENV.glob("lib/python3.*/site-packages"), None)
    if packages is None or not (packages / "pytriton").is_dir():
        pytest.skip("no .venv-triton with nvidia-pytriton; `make test-triton` makes it")
    if not LIBPYTHON.is_file() or ".so" not in LIBPYTHON.name:
        pytest.skip(f"Triton's Python backend needs a shared libpython; {LIBPYTHON} is none")
    server = packages / "pytriton" / "tritonserver"
    backends = folder / "backends"
    shutil.copytree(server / "backends", backends)
    shutil.copytree(BACKENDS, backends, dirs_exist_ok=True)
    version = packages.parent.name.removeprefix("python")
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, backends / "python")
    http, grpc, metrics = free_port(), free_port(), free_port()
    log = folder / "triton.log"
    with open(log, "w") as out:
        process = subprocess.Popen(
            [
                server / "bin" / "tritonserver", f"--model-repository={models}",
                f"--backend-directory={backends}", "--disable-auto-complete-config",
                "--model-control-mode=none", "--exit-timeout-secs=30",
                "--http-address=127.0.0.1", f"--http-port={http}",
                "--grpc-address=127.0.0.1", f"--grpc-port={grpc}",
                "--metrics-address=127.0.0.1", f"--metrics-port={metrics}",
            ],
            stdout=out, stderr=out,
            env=os.environ | {
                "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}",
                "LD_LIBRARY_PATH": f"{packages / 'nvidia_pytriton.libs'}:{LIBPYTHON.parent}",
            },
        )  # fmt: skip

    def ready():
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{http}/v2/health/ready") as answer:
                return answer.status == 200
        except OSError:
            return False

    try:
        wait_for(ready)
        yield Triton(process, http, grpc, metrics, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
