"""A stage of the proof: what it is told, what it leaves behind, and its own process with a limit.

Each stage is a process, so that a crash, a hang or a device that is lost in one is a row of the
result and not the end of it. It writes its rows as they are known: a stage that is stopped at its
limit leaves those it had.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.errors import ArtifactError, BackendError, EmonetError, one_line

__all__ = ["Artifact", "LeftOutError", "Outcome", "Record", "Settings", "attempt", "run_child"]

Status = Literal["passed", "failed", "left out"]

_GRACE = 5  # seconds in which a process that was told to end may do so


class LeftOutError(EmonetError):
    """A stage cannot run here; the message says why."""


@dataclass(frozen=True)
class Artifact:
    """What a stage made for those after it.

    Attributes:
        path: of the file.
        backend: what runs it.
        optimize: of an engine: what it was built for.
    """

    path: str
    backend: str
    optimize: str | None = None


@dataclass(frozen=True)
class Settings:
    """What every stage is told.

    Attributes:
        folder: where the results go; nothing in them names the machine.
        work: where artifacts go.
        checkpoint: as ``--checkpoint`` names it.
        nclass: of the checkpoint.
        backends: which may be used.
        batches: batch sizes of the speeds.
        seconds: measured time for each of them.
        samples: calls for each of them at least.
        faces: how many faces agreement is measured on.
        device: ``cuda``, or ``cpu`` where the proof itself is tested.
    """

    folder: Path
    work: Path
    checkpoint: str = "standin"
    nclass: int = 8
    backends: tuple[str, ...] = ("torch", "onnx", "trt", "trt-rtx")
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    seconds: float = 2.0
    samples: int = 500
    faces: int = 96
    device: Literal["cuda", "cpu"] = "cuda"

    def to_json(self) -> str:
        """Return all of it as JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Read what ``to_json`` gave."""
        found = json.loads(text)
        found |= {key: Path(found[key]) for key in ("folder", "work")}
        return cls(**found | {key: tuple(found[key]) for key in ("backends", "batches")})

    def artifacts(self) -> list[Artifact]:
        """Return what earlier stages made, as far as it is there."""
        rows = self.rows("models") + self.rows("build")
        made = [Artifact(**row["artifact"]) for row in rows if row.get("artifact")]
        return [artifact for artifact in made if Path(artifact.path).is_file()]

    def rows(self, stage: str) -> list[dict[str, Any]]:
        """Return the rows of an earlier stage; none if it has not run."""
        source = self.work if stage in {"models", "build"} else self.folder
        with contextlib.suppress(OSError, ValueError):
            return list(json.loads((source / f"{stage}.json").read_text(encoding="utf-8"))["rows"])
        return []


@dataclass
class Record:
    """The rows of a stage in a file, which is written anew with each."""

    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, **row: Any) -> None:
        """Add a row."""
        self.rows.append(row)
        with atomic_write(self.path, ArtifactError) as temporary:
            text = json.dumps({"rows": self.rows}, indent=1, allow_nan=False, default=str)
            temporary.write_text(text + "\n", encoding="utf-8")

    def require(self) -> None:
        """Raise ``BackendError`` if a row failed."""
        failed = [row for row in self.rows if row.get("failed")]
        if failed:
            name = failed[0].get("name", "a row")
            raise BackendError(
                f"{len(failed)} of {len(self.rows)} failed, {name} first: {failed[0]['failed']}"
            )


@contextlib.contextmanager
def attempt(record: Record, name: str) -> Any:  # noqa: ANN401 - a context manager
    """Let what fails in a block be a row of the record and not the end of the stage."""
    try:
        yield
    except Exception as error:  # of any library that is compared
        record.add(name=name, failed=one_line(error)[:300])


@dataclass(frozen=True)
class Outcome:
    """How a stage ended."""

    stage: str
    status: Status
    seconds: float
    line: str = ""


LEFT_OUT_CODE = 4
"""Of a stage's process; its last line says why."""


def run_child(stage: str, command: Sequence[str], limit: float) -> Outcome:
    """Run a stage's process and everything it starts, at most for some seconds.

    Args:
        stage: its name.
        command: of the process; 0 is good, ``LEFT_OUT_CODE`` left out, all else failed.
        limit: in seconds, after which it is ended.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        start_new_session=os.name == "posix",
    ) as process:  # fmt: skip
        try:
            _, said = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            _end(process)
            return Outcome(stage, "failed", limit, f"stopped at its limit of {limit:.0f} s")
        except BaseException:
            _end(process)
            raise
    seconds = time.perf_counter() - start
    line = next((text for text in reversed(said.splitlines()) if text.strip()), "")[:300]
    if process.returncode == 0:
        return Outcome(stage, "passed", seconds)
    if process.returncode == LEFT_OUT_CODE:
        return Outcome(stage, "left out", seconds, line)
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return Outcome(stage, "failed", seconds, f"ended by {name}; {line}")
    return Outcome(stage, "failed", seconds, line or f"ended with code {process.returncode}")


def _end(process: subprocess.Popen[str]) -> None:
    def send(number: int) -> None:
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)

    send(signal.SIGTERM)
    try:
        process.communicate(timeout=_GRACE)
    except subprocess.TimeoutExpired:
        send(getattr(signal, "SIGKILL", signal.SIGTERM))
        process.communicate()
