"""An engine on a GPU, and the slots in which its runs overlap."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from queue import Empty, LifoQueue
from typing import Final

from emonet_deploy.errors import ArtifactError, InputError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.tensorrt.cuda import Gpu
from emonet_deploy.runtime.backends.tensorrt.device_array import DeviceArray, read_device_array
from emonet_deploy.runtime.backends.tensorrt.library import Library, checked, logger_of
from emonet_deploy.runtime.backends.tensorrt.slot import DeviceTimes, Slot
from emonet_deploy.runtime.metadata import EngineInfo, ModelInfo

__all__ = ["EngineRunner"]

SLOTS: Final = 2
"""One computes while the other copies, or computes too where a small batch does not fill a GPU."""

_TYPES: Final = {"float32": "FLOAT", "uint8": "UINT8"}


class EngineRunner:
    """An engine loaded on the GPU; several threads may run it."""

    def __init__(
        self,
        trt: Library,
        gpu: Gpu,
        plan: bytes,
        info: ModelInfo,
        engine: EngineInfo,
        *,
        graph: bool | None = None,
    ) -> None:
        """Load a plan and allocate memory for its largest batch, once for each slot.

        Args:
            trt: the package that built it.
            gpu: to run on.
            plan: the serialised engine.
            info: its record.
            engine: the record's part on the engine.
            graph: True runs as CUDA graphs, and warns where that does not work; None does so
                silently; False runs plainly.

        Raises:
            ArtifactError: TensorRT does not take the plan, or it is not what the record says.
            BackendError: CUDA or TensorRT failed.
        """
        self._trt = trt
        self._gpu = gpu
        self._info = info
        self._record = engine
        self._graph = graph
        self._slots: list[Slot] = []
        # The one used last is used next: its contexts and graphs are there already.
        self._free: LifoQueue[Slot] = LifoQueue()
        with gpu.current(), ExitStack() as undo:
            self._load(plan, undo)
            self._undo = undo.pop_all()
        for slot in self._slots:
            self._free.put(slot)

    def close(self) -> None:
        """Wait for the runs of all threads, then release everything; twice is harmless."""
        taken = [self._free.get() for _ in self._slots]
        try:
            self.release()
        finally:
            # Who waits for one learns from it that the session is closed.
            for slot in taken:
                self._free.put(slot)

    def release(self) -> None:
        """Wait for the device and release everything, in any thread, also after an error."""
        with self._gpu.current():
            self._undo.close()

    def run(self, images: Array, names: Sequence[str]) -> dict[str, Array]:
        """Run a batch that is at most the engine's largest; returns fresh arrays."""
        with self._gpu.current(), self._slot() as slot:
            slot.start(images, names)
            return slot.finish(len(images), names)

    def run_each(self, batches: Sequence[Array], names: Sequence[str]) -> list[dict[str, Array]]:
        """Run several batches; while one computes, the next one's images are copied."""
        results: list[dict[str, Array]] = []
        under_way: deque[tuple[Slot, int]] = deque()
        with self._gpu.current():
            try:
                for images in batches:
                    # Never waiting for a slot while holding one: two threads would wait for ever.
                    slot = self._take(wait=not under_way)
                    if slot is None:
                        slot, n = under_way.popleft()
                        results.append(self._finished(slot, n, names, keep=True))
                    self._started(slot, images, names)
                    under_way.append((slot, len(images)))
                while under_way:
                    slot, n = under_way.popleft()
                    results.append(self._finished(slot, n, names))
            finally:
                for slot, _ in under_way:
                    try:
                        slot.wait()
                    finally:
                        self._free.put(slot)
        return results

    def run_on_device(self, images: object, names: Sequence[str]) -> dict[str, DeviceArray]:
        """Run a batch that lies on the device, and leave the results there; see the session."""
        with self._gpu.current(), self._slot() as slot:
            given = read_device_array(images, self._info.inputs[0])
            if len(given) > self._record.max_batch:
                raise InputError(f"the engine takes {self._record.max_batch} images at once")
            slot.start(given, ())
            return slot.finish_on_device(len(given), names)

    def measure(self, images: Array) -> DeviceTimes:
        """Run a batch and return how long the device took; the results are not kept."""
        with self._gpu.current(), self._slot() as slot:
            return slot.measure(images, [output.name for output in self._info.outputs])

    @contextmanager
    def _slot(self) -> Iterator[Slot]:
        slot = self._free.get()
        try:
            yield slot
        finally:
            self._free.put(slot)

    def _take(self, wait: bool) -> Slot | None:
        try:
            return self._free.get(block=wait)
        except Empty:
            return None

    def _started(self, slot: Slot, images: Array, names: Sequence[str]) -> None:
        try:
            slot.start(images, names)
        except BaseException:
            self._free.put(slot)
            raise

    def _finished(
        self, slot: Slot, n: int, names: Sequence[str], keep: bool = False
    ) -> dict[str, Array]:
        """Return a run's results; the slot goes back unless it is kept and all went well."""
        done = False
        try:
            results = slot.finish(n, names)
            done = True
        finally:
            if not (keep and done):
                self._free.put(slot)
        return results

    def _load(self, plan: bytes, undo: ExitStack) -> None:
        """Fill the fields, and ``undo`` with how to empty them; it runs backwards.

        What lies on the GPU is kept in fields only: a local variable would outlive the undoing
        in the traceback of an error.
        """
        trt = self._trt
        for _ in range(SLOTS):
            self._slots.append(Slot(self._gpu, self._info, self._record))
            undo.callback(self._slots[-1].free)
        undo.callback(self._forget, "_runtime")
        self._runtime = checked(trt.Runtime(logger_of(trt)), "start its runtime", trt)
        # An engine for several versions carries a runtime of its own, which is code.
        if self._record.options.get("version_compatible"):
            self._runtime.engine_host_code_allowed = True
        self._check_plan(plan)
        undo.callback(self._forget, "_engine")
        self._engine = checked(
            self._runtime.deserialize_cuda_engine(plan), "load the engine", trt, ArtifactError
        )
        self._check_tensors()
        self._configure(undo)
        for slot in self._slots:
            undo.callback(slot.detach)
            slot.attach(trt, self._make_context, self._engine.device_memory_size_v2, self._graph)

    def _check_plan(self, plan: bytes) -> None:
        """Ask TensorRT whether it would take a plan, where it can be asked."""

    def _configure(self, undo: ExitStack) -> None:
        """Prepare what contexts are made with; how to empty it goes on ``undo``."""

    def _make_context(self) -> Library:
        """Return a context whose scratch memory is given to it by its slot."""
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        return self._engine.create_execution_context(strategy)

    def _check_tensors(self) -> None:
        """Raise ``ArtifactError`` unless names, types and profile are those of the record."""
        trt = self._trt
        image = self._info.inputs[0]
        modes = [(trt.TensorIOMode.INPUT, image)]
        modes += [(trt.TensorIOMode.OUTPUT, output) for output in self._info.outputs]
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
        profile = self._engine.get_tensor_profile_shape(image.name, 0)
        batches = [shape[0] for shape in profile]
        record = self._record
        if batches != [record.min_batch, record.opt_batch, record.max_batch]:
            raise ArtifactError(f"the engine's batches are {batches}, not those of its record")

    def _forget(self, name: str) -> None:
        setattr(self, name, None)
