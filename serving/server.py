"""``emonet serve``: a mosec server, from its options to its exit code."""

import multiprocessing
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from threading import Event, Thread

import numpy as np

from emonet_deploy.emonet_ref.constants import INPUT_SIZE
from emonet_deploy.emonet_ref.optional_packages import needs
from emonet_deploy.errors import BackendError, one_line
from emonet_deploy.runtime.metadata import ModelInfo
from emonet_deploy.runtime.pipeline.predictor import Predictor
from emonet_deploy.serving.worker_settings import (
    CROP_ROUTE,
    FACES_ROUTE,
    Settings,
)

__all__ = ["ServerOptions", "Trial", "serve", "try_settings"]

_TAKERS = 2
"""Processes that decode ready crops. Cheap work; but mosec gives up when a stage has none left."""

_LOOK = 0.2
"""Seconds between two tries whether the server answers."""


@dataclass(frozen=True)
class ServerOptions:
    """How a server listens, and what it does at once.

    Attributes:
        host: address to listen at.
        port: of it.
        finders: processes that find faces.
        readers: processes that hold the model; when the only one dies, the server ends.
        wait: milliseconds a face waits for others to fill its batch; see ``Trial.wait``.
        queue: requests that may wait; those beyond are answered 429.
        timeout: seconds after which a request is answered 408.
        max_bytes: of a body; a larger one is answered 413.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    finders: int = 2
    readers: int = 2
    wait: int = 5
    queue: int = 64
    timeout: float = 30.0
    max_bytes: int = 32 * 2**20


@dataclass(frozen=True)
class Trial:
    """What a worker told that was loaded before the server.

    Attributes:
        info: the model's record.
        face_ms: how long it takes for one face.
    """

    info: ModelInfo
    face_ms: float

    @property
    def wait(self) -> int:
        """Milliseconds that a face may wait for others: a tenth of its own time, 5 at least.

        Where one face takes long, decoding the next pictures does too, on the same processors, and
        a shorter wait would leave batches half empty (5.6 of 8 with 5 ms, 7.3 with 14, where a face
        took 130).
        """
        return max(5, round(self.face_ms / 10))


def try_settings(settings: Settings) -> Trial:
    """Load everything once, in a process of its own, and run one face.

    So that what is wrong is one line before the server starts, and no memory of a GPU stays
    behind in this process.

    Raises:
        EmonetError: whatever loading the model or the detector raises.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_load_once, settings).result()
        except BrokenProcessPool as error:
            raise BackendError(
                f"the process that tried to load {settings.model} died; "
                "perhaps the machine has too little memory"
            ) from error


def _load_once(settings: Settings) -> Trial:
    settings.load_detector()
    with settings.load_session() as session:
        predictor, face = Predictor(session, 1), np.zeros((INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
        predictor.predict_crops([face])  # what is made lazily is made here
        started = time.perf_counter()
        predictor.predict_crops([face])
        return Trial(session.info, 1000 * (time.perf_counter() - started))


def serve(
    settings: Settings,
    options: ServerOptions,
    starting: Callable[[], None],
    ready: Callable[[], None] = lambda: None,
) -> bool:
    """Serve until SIGTERM or Ctrl-C; what is in flight then is answered.

    Args:
        settings: of the workers.
        options: of the server.
        starting: called before the server starts.
        ready: called when it answers, which it does when each stage has a loaded worker.

    Returns:
        Whether it ended because it was told to, and not by itself.

    Raises:
        BackendError: the address cannot be listened at.
        MissingDependencyError: mosec is not installed.
    """
    # mosec reads its options from the command line, in every process, when it is imported.
    sys.argv = [sys.argv[0], *_arguments(options)]
    with needs("serve", "serve models"):
        import mosec
    from emonet_deploy.serving.mosec_workers import (
        Find,
        Read,
        Take,
    )

    def runtime(worker: type[mosec.Worker], number: int, batch: int = 1) -> mosec.Runtime:
        environment = [settings.environment()] * number
        return mosec.Runtime(worker, number, batch, options.wait, options.timeout, env=environment)

    try:
        server = mosec.Server()  # type: ignore[no-untyped-call]
    except (RuntimeError, OSError) as error:
        where = f"{options.host}:{options.port}"
        raise BackendError(f"cannot listen at {where}: {one_line(error)}") from error
    read = runtime(Read, options.readers, settings.batch)
    server.register_runtime(
        {
            FACES_ROUTE: [runtime(Find, options.finders), read],
            CROP_ROUTE: [runtime(Take, _TAKERS), read],
        }
    )
    starting()
    with _signals_seen() as seen, _when_open(options, ready):
        server.run()  # type: ignore[no-untyped-call]
        return bool(seen() & {signal.SIGTERM, signal.SIGINT})


def _arguments(options: ServerOptions) -> list[str]:
    values = {
        "address": options.host,
        "port": options.port,
        "capacity": options.queue,
        "timeout": ceil(1000 * options.timeout),
        "max-request-size": options.max_bytes,
        "namespace": "emonet",
        "log-level": "warning",
    }
    return [f"--{name}={value}" for name, value in values.items()]


@contextmanager
def _when_open(options: ServerOptions, ready: Callable[[], None]) -> Iterator[None]:
    """Call ``ready`` once, while the block goes on, when somebody listens at the address."""
    ended = Event()

    def watch() -> None:
        while not ended.wait(_LOOK):
            with suppress(OSError):
                socket.create_connection((options.host, options.port), timeout=1).close()
                ready()
                return

    Thread(target=watch, name="ready", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


@contextmanager
def _signals_seen() -> Iterator[Callable[[], set[int]]]:
    """Yield what tells which signals have come, whoever handles them."""
    inbox, outbox = socket.socketpair()
    with inbox, outbox:
        inbox.setblocking(False)
        outbox.setblocking(False)
        before = signal.set_wakeup_fd(outbox.fileno(), warn_on_full_buffer=False)

        def seen() -> set[int]:
            try:
                return set(inbox.recv(4096))
            except BlockingIOError:
                return set()

        try:
            yield seen
        finally:
            signal.set_wakeup_fd(before)
