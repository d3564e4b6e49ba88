"""Running an engine on a GPU: one execution context, one stream, memory for the largest batch."""

import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from emonet_deploy.errors import ArtifactError, BackendError, one_line
from emonet_deploy.runtime.backends.tensorrt.cuda import Buffer, Gpu
from emonet_deploy.runtime.backends.tensorrt.cuda_graph import CudaGraph, capture
from emonet_deploy.runtime.backends.tensorrt.library import Library, checked, logger_of
from emonet_deploy.runtime.metadata import EngineInfo, ModelInfo
from emonet_deploy.runtime.types import Array

__all__ = ["DeviceTimes", "EngineRunner"]

_TYPES: Final = {"float32": "FLOAT", "uint8": "UINT8"}


@dataclass(frozen=True)
class DeviceTimes:
    """How long the device took for the parts of one run, in milliseconds."""

    copy_in: float
    compute: float
    copy_out: float


class EngineRunner:
    """An engine loaded on the GPU. Not for several threads at once: its owner holds a lock."""

    def __init__(
        self,
        trt: Library,
        gpu: Gpu,
        plan: bytes,
        info: ModelInfo,
        engine: EngineInfo,
        *,
        graph: bool = False,
    ) -> None:
        """Load a plan and allocate memory for its largest batch.

        Args:
            trt: the package that built it.
            gpu: to run on.
            plan: the serialised engine.
            info: its record.
            engine: the record's part on the engine.
            graph: run as a CUDA graph where that works, plainly where it does not.

        Raises:
            ArtifactError: TensorRT does not take the plan, or it is not what the record says.
            BackendError: CUDA or TensorRT failed.
        """
        self._trt = trt
        self._gpu = gpu
        self._record = engine
        self._input = info.inputs[0]
        self._outputs = info.outputs
        self._graph_wanted = graph
        self._graph: CudaGraph | None = None
        self._batch = 0
        self._events: list[Any] = []
        with gpu.current(), ExitStack() as undo:
            self._load(plan, undo)
            self._check_tensors()
            self._allocate()
            undo.callback(self._drop_graph)
            undo.callback(self._synchronize)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Wait for the device and release everything, in any thread, also after an error."""
        with self._gpu.current():
            self._undo.close()

    def run(self, images: Array) -> dict[str, Array]:
        """Run a batch that is at most the engine's largest; returns fresh arrays."""
        n = len(images)
        with self._gpu.current():
            self._run(images)
            return {
                output.name: self._buffers[output.name].host[:n].copy() for output in self._outputs
            }

    def measure(self, images: Array) -> DeviceTimes:
        """Run a batch and return how long the device took; the results are not kept."""
        with self._gpu.current():
            self._events += [self._gpu.driver.Event() for _ in range(4)]
            try:
                self._run(images)
                return DeviceTimes(*map(self._elapsed, range(3)))
            finally:
                self._events.clear()

    def _run(self, images: Array) -> None:
        n = len(images)
        batch = max(n, self._record.min_batch)
        self._set_batch(batch)
        source = self._buffers[self._input.name]
        source.host[:n] = images
        source.host[n:batch] = 0
        try:
            self._enqueue(batch)
        finally:
            # Whatever happened, nobody may touch the buffers while the device does.
            self._synchronize()

    def _load(self, plan: bytes, undo: ExitStack) -> None:
        """Fill the fields, and ``undo`` with how to empty them; it runs backwards.

        What lies on the GPU is kept in fields only: a local variable would outlive the undoing
        in the traceback of an error.
        """
        trt = self._trt
        self._stream = self._gpu.driver.Stream()
        undo.callback(self._forget, "_stream")
        self._buffers: dict[str, Buffer] = {}
        undo.callback(self._free_buffers)
        undo.callback(self._forget, "_runtime")
        self._runtime = checked(trt.Runtime(logger_of(trt)), "start its runtime", trt)
        self._check_plan(plan)
        undo.callback(self._forget, "_engine")
        self._engine = checked(
            self._runtime.deserialize_cuda_engine(plan), "load the engine", trt, ArtifactError
        )
        undo.callback(self._forget, "_context")
        self._context = checked(self._make_context(undo), "make a context", trt)

    def _check_plan(self, plan: bytes) -> None:
        """Ask TensorRT whether it would take a plan, where it can be asked."""

    def _make_context(self, undo: ExitStack) -> Library:
        """Return a context; what must be done before it is released goes on ``undo``."""
        return self._engine.create_execution_context()

    def _check_tensors(self) -> None:
        """Raise ``ArtifactError`` unless names, types and profile are those of the record."""
        trt = self._trt
        modes = [(trt.TensorIOMode.INPUT, self._input)]
        modes += [(trt.TensorIOMode.OUTPUT, output) for output in self._outputs]
        wanted = {
            tensor.name: (mode, getattr(trt.DataType, _TYPES[tensor.dtype]))
            for mode, tensor in modes
        }
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        found = {
            name: (self._engine.get_tensor_mode(name), self._engine.get_tensor_dtype(name))
            for name in names
        }
        if found != wanted:
            raise ArtifactError("the engine's inputs and outputs are not those of its record")
        profile = self._engine.get_tensor_profile_shape(self._input.name, 0)
        batches = [shape[0] for shape in profile]
        record = self._record
        if batches != [record.min_batch, record.opt_batch, record.max_batch]:
            raise ArtifactError(f"the engine's batches are {batches}, not those of its record")

    def _allocate(self) -> None:
        """Make buffers for the largest batch, and tell the context where they are."""
        self._set_batch(self._record.max_batch)
        for tensor in (self._input, *self._outputs):
            shape = tuple(self._context.get_tensor_shape(tensor.name))
            if shape != (self._batch, *tensor.shape[1:]):
                raise ArtifactError(f"{tensor.name} is {shape} in the engine, not {tensor.shape}")
            buffer = Buffer(self._gpu.driver, shape, tensor.dtype)
            self._buffers[tensor.name] = buffer
            placed = self._context.set_tensor_address(tensor.name, int(buffer.device))
            checked(placed, f"place {tensor.name}", self._trt)

    def _set_batch(self, batch: int) -> None:
        if batch == self._batch:
            return
        # What was captured holds for one shape.
        self._drop_graph()
        self._batch = 0
        shape = (batch, *self._input.shape[1:])
        checked(
            self._context.set_input_shape(self._input.name, shape),
            f"take {batch} images",
            self._trt,
        )
        missing = self._context.infer_shapes()
        if missing:
            raise BackendError(f"TensorRT needs more than a batch size: {', '.join(missing)}")
        self._batch = batch
        self._ran = False

    def _enqueue(self, batch: int) -> None:
        """Put copy, run and copy on the stream, which is kept in its field only, as in `_load`."""
        driver = self._gpu.driver
        self._mark(0)
        source = self._buffers[self._input.name]
        driver.memcpy_htod_async(source.device, source.host[:batch], self._stream)
        self._mark(1)
        self._execute()
        self._mark(2)
        for output in self._outputs:
            buffer = self._buffers[output.name]
            driver.memcpy_dtoh_async(buffer.host[:batch], buffer.device, self._stream)
        self._mark(3)

    def _execute(self) -> None:
        if self._graph_wanted and self._ran and self._graph is None:
            try:
                self._graph = capture(self._execute_plainly, int(self._stream.handle))
            except Exception as error:  # of cuda-bindings, of a driver that is too old ...
                self._graph_wanted = False
                warnings.warn(f"running without a CUDA graph: {one_line(error)}", stacklevel=2)
        if self._graph is not None:
            self._graph.launch(int(self._stream.handle))
        else:
            self._execute_plainly()
        self._ran = True

    def _execute_plainly(self) -> None:
        ran = self._context.execute_async_v3(int(self._stream.handle))
        checked(ran, "run the engine", self._trt)

    def _synchronize(self) -> None:
        self._stream.synchronize()

    def _mark(self, index: int) -> None:
        if self._events:
            self._events[index].record(self._stream)

    def _elapsed(self, index: int) -> float:
        return float(self._events[index].time_till(self._events[index + 1]))

    def _drop_graph(self) -> None:
        if self._graph is not None:
            graph, self._graph = self._graph, None
            graph.close()

    def _free_buffers(self) -> None:
        with ExitStack() as stack:
            for buffer in self._buffers.values():
                stack.callback(buffer.free)
            self._buffers.clear()

    def _forget(self, name: str) -> None:
        setattr(self, name, None)
