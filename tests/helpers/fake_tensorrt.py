"""TensorRT on ONNX Runtime and host memory, with the names of one real version and no others.

A plan is the ONNX model itself with a header. Calls that fail say None or False and leave a line in
the logger, as the real ones do.
"""

import enum
import functools
import json
import types

import numpy as np
import onnx
import onnxruntime as ort

from helpers.api_surface import surface

MAGIC = b"FAKE-PLAN "
SCRATCH = 1024
"""Bytes of device memory that a context computes in."""


def make_tensorrt(machine, version):
    """Return a module like `tensorrt` or `tensorrt_rtx` of a version such as `tensorrt-11.4`."""
    names = surface(version)
    trt = types.ModuleType(names["package"])
    trt.__version__ = names["version"]
    for name, members in names["enums"].items():
        setattr(trt, name, enum.IntEnum(name, members))
    rtx = names["package"] == "tensorrt_rtx"
    onnx_types = {1: trt.DataType.FLOAT, 2: trt.DataType.UINT8}

    def fails(name, instead):
        """Decorate a method that, when its call shall fail, logs and returns something instead."""

        def wrap(method):
            @functools.wraps(method)
            def called(self, *arguments):
                if machine.call(name):
                    self._logger.log(trt.ILogger.ERROR, f"{name}: injected")
                    return instead
                return method(self, *arguments)

            return called

        return wrap

    class Native:
        """An object with the attributes of the real class, and no others."""

        def __init__(self, logger):
            self._logger = logger
            self._alive = True
            machine.born(type(self).__name__)

        def __setattr__(self, name, value):
            kinds = names["classes"][type(self).__name__]
            if not name.startswith("_") and kinds.get(name) != "prop rw":
                raise AttributeError(f"{type(self).__name__}.{name} is not in {version}")
            object.__setattr__(self, name, value)

        def __del__(self):
            if getattr(self, "_alive", False):
                machine.alive[type(self).__name__] -= 1
                machine.log.append(f"~{type(self).__name__}")

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

        def __init__(self):
            self._started = True

        def log(self, severity, msg):
            raise NotImplementedError

    class IProgressMonitor:
        def __init__(self):
            self._started = True

        def phase_start(self, phase_name, parent_phase, num_steps):
            raise NotImplementedError

        def step_complete(self, phase_name, step):
            raise NotImplementedError

        def phase_finish(self, phase_name):
            raise NotImplementedError

    class IHostMemory(Native):
        def __init__(self, logger, content):
            super().__init__(logger)
            self._content = content

        def __buffer__(self, flags):
            return memoryview(self._content)

        def __bytes__(self):
            return self._content

    class ITensor(Native):
        def __init__(self, logger, value):
            super().__init__(logger)
            tensor = value.type.tensor_type
            sizes = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
            vars(self).update(name=value.name, shape=sizes, dtype=onnx_types[tensor.elem_type])

    class INetworkDefinition(Native):
        _model = None

        @fails("INetworkDefinition.get_input", None)
        def get_input(self, index):
            return ITensor(self._logger, self._model.graph.input[index])

    class ParserError:
        def desc(self):
            return "the fake refuses\nthis model"

    class OnnxParser(Native):
        def __init__(self, network, logger):
            super().__init__(logger)
            self._network = network
            vars(self)["num_errors"] = 0

        @fails("OnnxParser.parse", False)
        def parse(self, model, path=None):
            self._network._model = onnx.load_from_string(model)
            refused = any(
                node.op_type == "NoSuchOperator" for node in self._network._model.graph.node
            )
            vars(self)["num_errors"] = int(refused)
            return not refused

        def get_error(self, index):
            return ParserError()

    class IOptimizationProfile(Native):
        def set_shape(self, input, min, opt, max):  # noqa: A002 - the real names
            self._shapes = {input: [list(min), list(opt), list(max)]}

    class ITimingCache(Native):
        def __init__(self, logger, blob):
            super().__init__(logger)
            self._blob = bytes(blob)

        @fails("ITimingCache.serialize", None)
        def serialize(self):
            return IHostMemory(self._logger, b"measured")

    class IBuilderConfig(Native):
        _profile = _cache = progress_monitor = None

        def __init__(self, logger):
            super().__init__(logger)
            self._targets = {}
            self._flags = {trt.BuilderFlag.TF32}  # on by default

        @fails("IBuilderConfig.add_optimization_profile", -1)
        def add_optimization_profile(self, profile):
            self._profile = profile
            return 0

        hardware_compatibility_level = trt.HardwareCompatibilityLevel.NONE

        def set_flag(self, flag):
            self._flags.add(flag)

        def clear_flag(self, flag):
            self._flags.discard(flag)

        def set_memory_pool_limit(self, pool, pool_size):
            assert pool == trt.MemoryPoolType.WORKSPACE
            self._workspace = pool_size

        @fails("IBuilderConfig.create_timing_cache", None)
        def create_timing_cache(self, serialized_timing_cache):
            return ITimingCache(self._logger, serialized_timing_cache)

        @fails("IBuilderConfig.set_timing_cache", False)
        def set_timing_cache(self, cache, ignore_mismatch):
            if cache._blob not in (b"", b"measured"):
                return False
            self._cache = cache
            return True

        @fails("IBuilderConfig.get_timing_cache", None)
        def get_timing_cache(self):
            return self._cache

        @fails("IBuilderConfig.set_compute_capability", False)
        def set_compute_capability(self, compute_capability, index):
            self._targets[index] = compute_capability
            return index < self.num_compute_capabilities

    class Builder(Native):
        def __init__(self, logger):
            assert logger._started
            if machine.call("Builder"):
                raise TypeError("pybind11::init(): factory function returned nullptr")
            super().__init__(logger)

        @fails("Builder.create_network", None)
        def create_network(self, flags=0):
            assert flags == 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
            return INetworkDefinition(self._logger)

        @fails("Builder.create_builder_config", None)
        def create_builder_config(self):
            return IBuilderConfig(self._logger)

        @fails("Builder.create_optimization_profile", None)
        def create_optimization_profile(self):
            return IOptimizationProfile(self._logger)

        @fails("Builder.build_serialized_network", None)
        def build_serialized_network(self, network, config):
            monitor = config.progress_monitor
            assert monitor._started
            monitor.phase_start("Building engine", None, 3)
            for step in range(3):
                if monitor.step_complete("Building engine", step) is not True:
                    self._logger.log(ILogger.ERROR, "Build canceled by user")
                    return None
            monitor.phase_finish("Building engine")
            header = {"version": trt.__version__, "profile": config._profile._shapes}
            header["flags"] = [flag.name for flag in config._flags]
            header["hardware"] = config.hardware_compatibility_level.name
            content = MAGIC + json.dumps(header).encode() + b"\n"
            return IHostMemory(self._logger, content + network._model.SerializeToString())

    class Runtime(Native):
        engine_host_code_allowed = False

        def __init__(self, logger):
            if machine.call("Runtime"):
                raise TypeError("pybind11::init(): factory function returned nullptr")
            assert logger._started
            super().__init__(logger)

        @fails("Runtime.deserialize_cuda_engine", None)
        def deserialize_cuda_engine(self, serialized_engine):
            header, _, model = bytes(serialized_engine).removeprefix(MAGIC).partition(b"\n")
            if not bytes(serialized_engine).startswith(MAGIC):
                self._logger.log(ILogger.ERROR, "Magic tag does not match")
                return None
            header = json.loads(header)
            if "VERSION_COMPATIBLE" in header["flags"] and not self.engine_host_code_allowed:
                self._logger.log(ILogger.ERROR, "host code is not allowed")
                return None
            return ICudaEngine(self._logger, header, onnx.load_from_string(model))

        def get_engine_validity(self, buffer):
            if machine.call("Runtime.get_engine_validity"):
                return trt.EngineValidity.INVALID, 4 | 32
            return trt.EngineValidity.VALID, 0

    class ICudaEngine(Native):
        def __init__(self, logger, header, model):
            super().__init__(logger)
            self._profile = header["profile"]
            self._model = model
            self._values = {
                value.name: value for value in (*model.graph.input, *model.graph.output)
            }
            vars(self)["num_io_tensors"] = len(self._values)
            vars(self)["device_memory_size_v2"] = SCRATCH

        def get_tensor_name(self, index):
            return list(self._values)[index]

        def get_tensor_mode(self, name):
            return trt.TensorIOMode.INPUT if name in self._profile else trt.TensorIOMode.OUTPUT

        def get_tensor_dtype(self, name):
            return onnx_types[self._values[name].type.tensor_type.elem_type]

        def get_tensor_profile_shape(self, name, profile_index):
            return self._profile[name]

        @fails("ICudaEngine.create_engine_inspector", None)
        def create_engine_inspector(self):
            return EngineInspector(self)

        @fails("ICudaEngine.create_runtime_config", None)
        def create_runtime_config(self):
            return IRuntimeConfig(self._logger)

        def _context(self, strategy):
            assert machine.stack, "made outside of the CUDA context"
            assert strategy == trt.ExecutionContextAllocationStrategy.USER_MANAGED
            return IExecutionContext(self)

        if rtx:

            @fails("ICudaEngine.create_execution_context", None)
            def create_execution_context(self, runtime_config):
                return self._context(runtime_config._strategy)

        else:

            @fails("ICudaEngine.create_execution_context", None)
            def create_execution_context(self, strategy):
                return self._context(strategy)

    class EngineInspector(Native):
        def __init__(self, engine):
            super().__init__(engine._logger)
            self._engine = engine

        def get_engine_information(self, format):  # noqa: A002 - the real name
            assert format == trt.LayerInformationFormat.JSON
            layers = [
                {
                    "Name": node.name,
                    "LayerType": "CaskConvolution",
                    "Weights": {"Type": "Float", "Count": 100},
                    "Metadata": f"[ONNX Layer: {node.name}]",
                }
                for node in self._engine._model.graph.node
                if node.op_type == "Conv"
            ]
            return json.dumps({"Layers": layers})

    class IRuntimeCache(Native):
        _blob = b""

        @fails("IRuntimeCache.deserialize", False)
        def deserialize(self, blob):
            self._blob = bytes(blob)
            return self._blob.startswith(b"kernels")

        @fails("IRuntimeCache.serialize", None)
        def serialize(self):
            return IHostMemory(self._logger, b"kernels " + self._blob)

    class IRuntimeConfig(Native):
        cuda_graph_strategy = None
        dynamic_shapes_kernel_specialization_strategy = None

        def set_execution_context_allocation_strategy(self, strategy):
            self._strategy = strategy

        @fails("IRuntimeConfig.create_runtime_cache", None)
        def create_runtime_cache(self):
            return IRuntimeCache(self._logger)

        @fails("IRuntimeConfig.set_runtime_cache", False)
        def set_runtime_cache(self, cache=None):
            return True

    class IExecutionContext(Native):
        def __init__(self, engine):
            super().__init__(engine._logger)
            self._engine = engine  # as pybind keeps the engine alive
            self._addresses = {}
            self._batch = None
            self._session = _session(engine._model.SerializeToString())

        def set_device_memory(self, memory, size):
            assert size == SCRATCH
            self._scratch = memory

        @fails("IExecutionContext.set_input_shape", False)
        def set_input_shape(self, name, shape):
            low, _, high = self._engine._profile[name]
            if not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
                self._logger.log(ILogger.ERROR, f"{name}: {shape} is outside of the profile")
                return False
            self._batch = shape[0]
            return True

        @fails("IExecutionContext.infer_shapes", ["image"])
        def infer_shapes(self):
            return []

        def get_tensor_shape(self, name):
            dims = self._engine._values[name].type.tensor_type.shape.dim
            return [self._batch, *(dim.dim_value for dim in dims[1:])]

        @fails("IExecutionContext.set_tensor_address", False)
        def set_tensor_address(self, name, memory):
            self._addresses[name] = memory
            return True

        @fails("IExecutionContext.execute_async_v3", False)
        def execute_async_v3(self, stream_handle):
            assert set(self._addresses) == set(self._engine._values), "a tensor without address"
            machine.streams[stream_handle].append(self._compute)
            return True

        def _compute(self):
            machine.at(self._scratch, SCRATCH)[:] = self._batch  # which no other may hold meanwhile
            (name,) = self._engine._profile
            dtype = {1: np.float32, 2: np.uint8}[
                self._engine._values[name].type.tensor_type.elem_type
            ]
            shape = self.get_tensor_shape(name)
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            image = machine.at(self._addresses[name], size).view(dtype).reshape(shape)
            outputs = [output.name for output in self._session.get_outputs()]
            for output, result in zip(
                outputs, self._session.run(outputs, {name: image}), strict=True
            ):
                memory = machine.at(self._addresses[output], result.nbytes)
                memory[:] = result.reshape(-1).view(np.uint8)

    for kind in (
        *(ILogger, IProgressMonitor, Builder, INetworkDefinition, OnnxParser, ParserError),
        *(IOptimizationProfile, IBuilderConfig, ITimingCache, IHostMemory, ITensor, Runtime),
        *(ICudaEngine, EngineInspector, IRuntimeConfig, IExecutionContext),
        *((IRuntimeCache,) if rtx else ()),
    ):
        for name in [name for name in vars(kind) if not name.startswith("_")]:
            if name not in names["classes"][kind.__name__]:
                delattr(kind, name)
        setattr(trt, kind.__name__, kind)
    return trt


@functools.cache
def _session(model):
    """Return what computes a model; it is the same for all contexts, as nothing of it changes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options)
