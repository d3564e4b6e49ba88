"""What TensorRT-RTX adds: a check of the plan, a cache of compiled kernels, its own graphs."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from hashlib import sha256

from emonet_deploy.emonet_ref.storage.atomic_write import atomic_write
from emonet_deploy.emonet_ref.storage.cache import cache_dir
from emonet_deploy.errors import ArtifactError, BackendError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.tensorrt.engine_runner import EngineRunner
from emonet_deploy.runtime.backends.tensorrt.library import Library, checked, complaints
from emonet_deploy.runtime.hardware.gpu import cuda_device

__all__ = ["RtxRunner"]

_LOGGER = logging.getLogger(__name__)


class RtxRunner(EngineRunner):
    """An engine of TensorRT-RTX, which compiles its kernels for the GPU when it first runs.

    The compiled kernels are kept in the cache folder from one process to the next: after the first
    run of each number of images when nothing else runs, and at the end. A server that is killed
    need not compile them again.
    """

    def run(self, images: Array, names: Sequence[str]) -> dict[str, Array]:
        """Run a batch that is at most the engine's largest; returns fresh arrays."""
        results = super().run(images, names)
        if len(images) not in self._kept_for:
            self._keep_if_idle(len(images))
        return results

    def _keep_if_idle(self, n: int) -> None:
        slots = []
        try:
            while (slot := self._take(wait=False)) is not None:
                slots.append(slot)
            if len(slots) == len(self._slots) and self._kernels is not None:
                self._keep_kernels()
                self._kept_for.add(n)
        finally:
            for slot in slots:
                self._free.put(slot)

    def _check_plan(self, plan: bytes) -> None:
        trt = self._trt
        validity, diagnostics = self._runtime.get_engine_validity(plan)
        if validity == trt.EngineValidity.INVALID:
            reasons = [
                name.lower().replace("_", " ")
                for name, member in trt.EngineInvalidityDiagnostics.__members__.items()
                if int(diagnostics) & int(member)
            ]
            raise ArtifactError(
                f"TensorRT-RTX refuses the engine: {', '.join(reasons) or complaints(trt)}"
            )
        card = cuda_device()
        here = f"{card.slug}-{card.driver}" if card is not None else "no-gpu"
        name = f"{sha256(plan).hexdigest()[:16]}-{here}.bin"
        self._cache_path = cache_dir() / "rtx-kernels" / name
        self._kept_for: set[int] = set()

    def _configure(self, undo: ExitStack) -> None:
        trt = self._trt
        undo.callback(self._forget, "_config")
        self._config = checked(self._engine.create_runtime_config(), "make a configuration", trt)
        self._config.set_execution_context_allocation_strategy(
            trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        # Every batch size has a context of its own: its kernels are specialised before it runs,
        # not in the background while slower ones stand in for them.
        eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        self._config.dynamic_shapes_kernel_specialization_strategy = eager
        if self._graph is not False:
            self._config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self._graph = False  # it captures by itself
        self._kernels = checked(self._config.create_runtime_cache(), "make a kernel cache", trt)
        undo.callback(self._forget, "_kernels")
        with suppress(OSError):
            # False says that the kernels are of another GPU or version: it starts afresh.
            used = self._kernels.deserialize(self._cache_path.read_bytes())
            _LOGGER.info("kernels of %s %s", self._cache_path, "used" if used else "do not fit")
        checked(self._config.set_runtime_cache(self._kernels), "use its kernel cache", trt)
        undo.callback(self._keep_kernels)

    def _make_context(self) -> Library:
        return self._engine.create_execution_context(self._config)

    def _keep_kernels(self) -> None:
        blob = self._kernels.serialize()
        # They can be compiled again; a full disk must not stop the release.
        if blob is not None:
            with suppress(BackendError), atomic_write(self._cache_path, BackendError) as temporary:
                temporary.write_bytes(bytes(blob))
