"""A place for one run on the GPU: a stream, buffers, and a context and CUDA graph per batch size.

Batches are rounded up to a few sizes (``batch_sizes``), so that each has a context whose shapes
never change and a graph that is captured once. The contexts of a slot run one after the other and
share its scratch memory; several slots let copies and computation of different runs overlap.
"""

import warnings
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from emonet_deploy.errors import ArtifactError, BackendError, one_line
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.tensorrt.cuda import Buffer, Gpu
from emonet_deploy.runtime.backends.tensorrt.cuda_graph import CudaGraph, capture
from emonet_deploy.runtime.backends.tensorrt.device_array import DeviceArray, DeviceInput
from emonet_deploy.runtime.backends.tensorrt.library import Library, checked
from emonet_deploy.runtime.metadata import EngineInfo, ModelInfo, TensorInfo

__all__ = ["DeviceTimes", "Slot", "batch_sizes"]

NON_BLOCKING: Final = 1
"""CU_STREAM_NON_BLOCKING: the stream does not wait for the legacy stream, on which PyTorch and ONNX
Runtime work, and while it is captured they may go on using theirs (CUDA C++ programming guide,
"Cross-stream dependencies": with a blocking stream each such use would be an error)."""


@dataclass(frozen=True)
class DeviceTimes:
    """How long the device took for the parts of one run, in milliseconds."""

    copy_in: float
    compute: float
    copy_out: float


@dataclass
class _Plan:
    """How a batch of one size is run."""

    context: Library
    graph: CudaGraph | None = None
    ran: bool = False


def batch_sizes(smallest: int, largest: int) -> tuple[int, ...]:
    """Return the sizes that batches are rounded up to: 1, 2, 3, 4, 6, 8, 12, 16, 24 ...

    At most a third of the images of a run are filled up.

    Example:
        >>> batch_sizes(2, 20)
        (2, 3, 4, 6, 8, 12, 16, 20)
    """
    steps = sorted({size << k for size in (1, 3) for k in range(largest.bit_length())})
    return (*(size for size in steps if smallest <= size < largest), largest)


class Slot:
    """Runs batches on a stream of its own, one at a time.

    It is filled in two steps, since what lies in its buffers is released last: made before the
    engine is loaded, attached to it, detached from it, freed.
    """

    def __init__(self, gpu: Gpu, info: ModelInfo, engine: EngineInfo) -> None:
        """Make the stream and the buffers for the engine's largest batch, in the GPU's context."""
        self._gpu = gpu
        self._input: TensorInfo = info.inputs[0]
        self._outputs = info.outputs
        self._sizes = batch_sizes(engine.min_batch, engine.max_batch)
        self._make_context: Callable[[], Library] | None = None
        self._plans: dict[int, _Plan] = {}
        self._events: list[Any] = []
        self._batch = 0
        with ExitStack() as undo:
            self._stream = gpu.driver.Stream(NON_BLOCKING)
            undo.callback(self._forget, "_stream")
            self._buffers: dict[str, Buffer] = {}
            undo.callback(self._free_buffers)
            for tensor in (self._input, *self._outputs):
                shape = (engine.max_batch, *(size or 1 for size in tensor.shape[1:]))
                self._buffers[tensor.name] = Buffer(gpu.driver, shape, tensor.dtype)
            self._undo = undo.pop_all()

    def attach(
        self, trt: Library, make_context: Callable[[], Library], scratch: int, graph: bool | None
    ) -> None:
        """Let batches run on an engine, and check that it is what its record says.

        Args:
            trt: the package of the engine.
            make_context: makes a context that is given its scratch memory.
            scratch: size of that, in bytes.
            graph: True runs as CUDA graphs and warns where that does not work; None does so
                silently; False runs plainly.

        Raises:
            ArtifactError: the engine gives another shape than its record says.
            BackendError: CUDA or TensorRT failed.
        """
        self._trt = trt
        self._graph_wanted = graph is not False
        self._warns = graph is True
        self._make_context = make_context
        self._scratch_size = max(scratch, 1)
        self._scratch = self._gpu.driver.mem_alloc(self._scratch_size)
        self._prepare(self._sizes[-1])
        for tensor in (self._input, *self._outputs):
            shape = tuple(self._plans[self._sizes[-1]].context.get_tensor_shape(tensor.name))
            if shape != (self._sizes[-1], *tensor.shape[1:]):
                raise ArtifactError(f"{tensor.name} is {shape} in the engine, not {tensor.shape}")

    def detach(self) -> None:
        """Wait for the device, then release everything that belongs to the engine."""
        with ExitStack() as undo:
            undo.callback(self._free_scratch)
            undo.callback(self._plans.clear)
            for plan in self._plans.values():
                undo.callback(_close_graph, plan)
            undo.callback(self.wait)
            self._make_context = None
            self._events.clear()

    def free(self) -> None:
        """Release the buffers and the stream."""
        self._undo.close()

    def start(self, images: Array | DeviceInput, names: Sequence[str]) -> None:
        """Put a run on the stream; ``finish`` waits for it. After an error nothing is under way.

        Args:
            images: a batch that is at most the engine's largest; on a device it must stay as it is
                until the run is over.
            names: of the outputs to copy to the host.

        Raises:
            BackendError: the slot has been detached, or CUDA or TensorRT failed.
        """
        n = len(images)
        self._batch = self._sizes[bisect_left(self._sizes, n)]
        self._prepare(self._batch)
        if not isinstance(images, DeviceInput):
            host = self._buffers[self._input.name].host
            host[:n] = images
            host[n : self._batch] = 0
        try:
            self._enqueue(images, names)
        except BaseException:
            # Whatever happened, nobody may touch the buffers while the device does.
            self.wait()
            raise

    def finish(self, n: int, names: Sequence[str]) -> dict[str, Array]:
        """Wait for a run of ``n`` images and return fresh arrays."""
        self.wait()
        return {name: self._buffers[name].host[:n].copy() for name in names}

    def finish_on_device(self, n: int, names: Sequence[str]) -> dict[str, DeviceArray]:
        """Copy the outputs of a run of ``n`` images on the device, and wait for both."""
        driver, results = self._gpu.driver, {}
        try:
            for name in names:
                buffer = self._buffers[name]
                made = DeviceArray(self._gpu, (n, *buffer.host.shape[1:]), buffer.host.dtype.str)
                results[name] = made
                driver.memcpy_dtod_async(made.allocation, buffer.device, made.nbytes, self._stream)
        finally:
            self.wait()
        return results

    def measure(self, images: Array, names: Sequence[str]) -> DeviceTimes:
        """Run a batch and return how long the device took; the results are not kept."""
        missing = 4 - len(self._events)
        self._events += [self._gpu.driver.Event() for _ in range(missing)]
        self._marking = True
        try:
            self.start(images, names)
            self.wait()
            return DeviceTimes(*map(self._elapsed, range(3)))
        finally:
            self._marking = False

    def wait(self) -> None:
        """Wait until the stream has nothing to do."""
        self._stream.synchronize()

    _marking = False

    def _prepare(self, batch: int) -> None:
        """Have a context for a batch size.

        Contexts are kept in fields only: a local variable would outlive their release in the
        traceback of an error.
        """
        if batch in self._plans:
            return
        if self._make_context is None:
            raise BackendError("this session is closed; load the artifact again")
        plan = _Plan(None)
        try:
            plan.context = checked(self._make_context(), "make a context", self._trt)
            plan.context.set_device_memory(int(self._scratch), self._scratch_size)
            shape = (batch, *self._input.shape[1:])
            taken = plan.context.set_input_shape(self._input.name, shape)
            checked(taken, f"take {batch} images", self._trt)
            missing = plan.context.infer_shapes()
            if missing:
                raise BackendError(f"TensorRT needs more than a batch size: {', '.join(missing)}")
            for name, buffer in self._buffers.items():
                placed = plan.context.set_tensor_address(name, int(buffer.device))
                checked(placed, f"place {name}", self._trt)
        except BaseException:
            plan.context = None
            raise
        self._plans[batch] = plan

    def _enqueue(self, images: Array | DeviceInput, names: Sequence[str]) -> None:
        driver, n = self._gpu.driver, len(images)
        self._mark(0)
        source = self._buffers[self._input.name]
        if isinstance(images, DeviceInput):
            size = n * (source.host.nbytes // len(source.host))
            driver.memcpy_dtod_async(source.device, images.address, size, self._stream)
        else:
            driver.memcpy_htod_async(source.device, source.host[: self._batch], self._stream)
        self._mark(1)
        self._execute()
        self._mark(2)
        for name in names:
            buffer = self._buffers[name]
            driver.memcpy_dtoh_async(buffer.host[:n], buffer.device, self._stream)
        self._mark(3)

    def _execute(self) -> None:
        plan = self._plans[self._batch]
        # The first run is plain: TensorRT defers work to it.
        if self._graph_wanted and plan.ran and plan.graph is None:
            try:
                plan.graph = capture(self._execute_plainly, int(self._stream.handle))
            except Exception as error:  # of cuda-bindings, of a driver that is too old ...
                self._graph_wanted = False
                if self._warns:
                    warnings.warn(f"running without a CUDA graph: {one_line(error)}", stacklevel=2)
        if plan.graph is not None:
            plan.graph.launch(int(self._stream.handle))
        else:
            self._execute_plainly()
        plan.ran = True

    def _execute_plainly(self) -> None:
        ran = self._plans[self._batch].context.execute_async_v3(int(self._stream.handle))
        checked(ran, "run the engine", self._trt)

    def _mark(self, index: int) -> None:
        if self._marking:
            self._events[index].record(self._stream)

    def _elapsed(self, index: int) -> float:
        return float(self._events[index].time_till(self._events[index + 1]))

    def _free_scratch(self) -> None:
        scratch = getattr(self, "_scratch", None)
        if scratch is not None:
            self._scratch = None
            scratch.free()

    def _free_buffers(self) -> None:
        with ExitStack() as stack:
            for buffer in self._buffers.values():
                stack.callback(buffer.free)
            self._buffers.clear()

    def _forget(self, name: str) -> None:
        setattr(self, name, None)


def _close_graph(plan: _Plan) -> None:
    graph, plan.graph, plan.context = plan.graph, None, None
    if graph is not None:
        graph.close()
