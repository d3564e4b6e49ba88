"""One engine run as a CUDA graph: launched as a whole, it costs the CPU one call.

pycuda has no graphs; ``cuda-bindings`` has, and works on pycuda's stream by its handle.
"""

from collections.abc import Callable
from typing import Any

from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.requirements import CUDA_BINDINGS

__all__ = ["CudaGraph", "capture"]


class CudaGraph:
    """A captured run, ready to be launched."""

    def __init__(self, cuda: Any, executable: Any) -> None:  # noqa: ANN401 - no type stubs
        self._cuda = cuda
        self._executable = executable

    def launch(self, stream: int) -> None:
        """Put the run on a stream, given by its handle."""
        _check(self._cuda, self._cuda.cuGraphLaunch(self._executable, stream))

    def close(self) -> None:
        """Release the graph; it must not be running."""
        _check(self._cuda, self._cuda.cuGraphExecDestroy(self._executable))


def capture(run: Callable[[], None], stream: int) -> CudaGraph:
    """Capture what ``run`` puts on a stream.

    The same must have run plainly before: TensorRT defers work to the first run at a shape.

    Args:
        run: puts work on the stream, and must not wait for it.
        stream: its handle.

    Raises:
        BackendError: cuda-bindings is missing, or the work cannot be captured. The stream can be
            used as before.
    """
    try:
        from cuda.bindings import driver as cuda
    except ImportError as error:
        raise BackendError(f"CUDA graphs need cuda-bindings: {CUDA_BINDINGS.install}") from error
    # Thread-local: other threads may allocate memory while this one captures.
    mode = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    _check(cuda, cuda.cuStreamBeginCapture(stream, mode))
    try:
        run()
    except BaseException:
        # The capture must end in any case, or the stream stays useless.
        _, graph = cuda.cuStreamEndCapture(stream)
        if graph is not None and int(graph):
            cuda.cuGraphDestroy(graph)
        raise
    graph = _check(cuda, cuda.cuStreamEndCapture(stream))
    try:
        executable = _check(cuda, cuda.cuGraphInstantiate(graph, 0))
    finally:
        cuda.cuGraphDestroy(graph)
    return CudaGraph(cuda, executable)


def _check(cuda: Any, results: tuple[Any, ...]) -> Any:  # noqa: ANN401 - no type stubs
    """Return what a call of cuda-bindings gave beside its status, or raise."""
    status, *values = results
    if status != cuda.CUresult.CUDA_SUCCESS:
        raise BackendError(f"a CUDA graph failed: {status.name}")
    return values[0] if values else None
