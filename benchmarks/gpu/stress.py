"""Many threads and sizes at once beside PyTorch, while sessions come and go: results must hold."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from emonet_deploy.benchmarks.gpu.ceilings import require_torch
from emonet_deploy.benchmarks.gpu.speed import sample_images
from emonet_deploy.benchmarks.gpu.stage import LeftOutError, Record, attempt
from emonet_deploy.errors import BackendError, one_line
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session

__all__ = ["exit_with_open_session", "leave_open", "stress"]

_THREADS: Final = 4
_SLACK: Final = 64 << 20
"""Bytes that libraries may have kept for themselves."""

_LEAVING: Final = """
import sys
from emonet_deploy.benchmarks.gpu.stress import leave_open
leave_open(*sys.argv[1:])
"""


def stress(
    record: Record, name: str, load: Callable[[], Session], seconds: float, device: str
) -> None:
    """Run a session from several threads with batches of all sizes, while others use the GPU.

    Args:
        record: gets a row on results, one on memory.
        name: of the artifact.
        load: opens a session of it.
        seconds: how long.
        device: ``cuda``, or ``cpu`` for tests.
    """
    with attempt(record, f"{name}: threads"), load() as session:
        batches = [sample_images(session, n, seed=n) for n in (1, 3, 2, 5, 1, 8)]
        want = [session.run(images) for images in batches]
        before = _free_bytes(device)
        failures: list[str] = []
        end = time.perf_counter() + seconds
        runs = [0] * _THREADS

        def work(number: int) -> None:
            while time.perf_counter() < end or runs[number] < len(batches):
                index = (number + runs[number]) % len(batches)
                _require_equal(session.run(batches[index]), want[index])
                runs[number] += 1

        def use_torch() -> None:
            import torch

            require_torch(device)
            ones = torch.ones(1 << 16, device=device)
            while time.perf_counter() < end:
                ones = ones * 1.5 / 1.5  # on the legacy stream, which a captured one may break
                if not bool(torch.isfinite(ones.sum())):
                    raise BackendError("PyTorch computed something else beside it")

        def reopen() -> None:
            while time.perf_counter() < end:
                with load() as other:
                    _require_equal(other.run(batches[0]), want[0])

        def caught(work: Callable[..., None], *arguments: int) -> threading.Thread:
            def run() -> None:
                try:
                    work(*arguments)
                except LeftOutError:
                    pass
                except Exception as error:
                    failures.append(one_line(error))

            return threading.Thread(target=run)

        threads = [caught(work, number) for number in range(_THREADS)]
        threads += [caught(use_torch), caught(reopen)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise BackendError(f"{len(failures)} threads failed: {failures[0]}")
        record.add(name=f"{name}: threads", runs=sum(runs))
        after = _free_bytes(device)
        lost = None if before is None or after is None else before - after
        row: dict[str, Any] = {"name": f"{name}: memory", "lost_bytes": lost}
        if lost is not None and lost > _SLACK:
            row["failed"] = f"{lost >> 20} MiB of the device's memory are gone"
        record.add(**row)


def exit_with_open_session(record: Record, path: str, backend: str, device: str) -> None:
    """Let a process end that has closed nothing: it must do so in peace."""
    name = f"{backend}: a process that ends with an open session"
    with attempt(record, name):
        command = [sys.executable, "-c", _LEAVING, path, backend, device]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode or done.stderr.strip():
            last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise BackendError(f"it ended with {done.returncode} and said: {last}")
        record.add(name=name)


def leave_open(path: str, backend: Any, device: Any) -> None:  # noqa: ANN401 - words
    """Run a session once and leave it as it is."""
    from emonet_deploy.runtime.backends.registry import load_session

    session = load_session(path, backend, device)
    session.run(sample_images(session, 1))
    globals()["_left"] = session


def _require_equal(got: dict[str, Array], want: dict[str, Array]) -> None:
    for name, values in want.items():
        limit = 1e-3 * (float(np.abs(values).max()) or 1.0)
        if got[name].shape != values.shape or not np.abs(got[name] - values).max() <= limit:
            raise BackendError(f"{name} is another one than alone")


def _free_bytes(device: str) -> int | None:
    import torch

    if device != "cuda" or not torch.cuda.is_available():
        return None
    torch.cuda.synchronize()
    return int(torch.cuda.mem_get_info()[0])
