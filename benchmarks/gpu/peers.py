"""PyTorch on the same GPU and weights, in every way people run it, as sessions."""

import importlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, ClassVar, Final, Literal, get_args

import torch
from torch import Tensor

from emonet_deploy.emonet_ref.constants import INPUT_SIZE, TENSOR_OUTPUTS
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.errors import MissingDependencyError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.metadata import ModelInfo, tensors_of

__all__ = ["GPU_PEERS", "GpuPeer", "open_gpu_peer"]

Peer = Literal[
    "eager fp32", "eager tf32", "eager fp16", "compiled fp16", "graph fp16", "torch-tensorrt fp16"
]

GPU_PEERS: Final[tuple[Peer, ...]] = get_args(Peer)

Network = Callable[[Tensor], Sequence[Tensor]]


class GpuPeer(Session):
    """One way to run the reference on a GPU."""

    backend: ClassVar[Any] = "peer"

    def __init__(
        self, name: Peer, network: Network, kind: torch.dtype, nclass: int, device: str
    ) -> None:
        inputs, outputs = tensors_of(nclass, "tensor")
        info = ModelInfo(
            nclass, "peer", "fp32" if kind == torch.float32 else "fp16",
            inputs=inputs, outputs=outputs, tools={"torch": torch.__version__},
        )  # fmt: skip
        super().__init__(info, provider=f"PyTorch {name}", device=device)
        self.name = name
        self._network, self._kind, self._tf32 = network, kind, name == "eager tf32"

    def _run(self, images: Array) -> dict[str, Array]:
        return self._run_for(images, TENSOR_OUTPUTS)

    def _run_for(self, images: Array, names: Sequence[str]) -> dict[str, Array]:
        flags = {"benchmark": True, "deterministic": False, "allow_tf32": self._tf32}
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, **flags):
            given = torch.from_numpy(images)
            if self.device == "cuda":
                given = given.pin_memory().to("cuda", non_blocking=True)
            if self._kind == torch.float16:
                given = given.to(self._kind, memory_format=torch.channels_last)
            outputs = dict(zip(TENSOR_OUTPUTS, self._network(given), strict=True))
            return {name: outputs[name].float().cpu().contiguous().numpy() for name in names}


def open_gpu_peer(name: Peer, model: EmoNet, device: str) -> GpuPeer:
    """Return a session of a peer.

    Args:
        name: one of ``GPU_PEERS``.
        model: the reference's network, which is left as it is.
        device: ``cuda``, or ``cpu`` for tests.

    Raises:
        MissingDependencyError: Torch-TensorRT is not installed.
    """
    half = name.endswith("fp16")
    kind = torch.float16 if half else torch.float32
    made: Any = deepcopy(model).eval().to(device)
    if half:
        made = made.to(dtype=kind, memory_format=torch.channels_last)
    network: Network = made
    match name:
        case "compiled fp16":
            network = torch.compile(made, mode="max-autotune")
        case "graph fp16":
            network = _Graphs(made, device)
        case "torch-tensorrt fp16":
            network = _torch_tensorrt(made)
    return GpuPeer(name, network, kind, model.nclass, device)


class _Graphs:
    """A CUDA graph for each batch size."""

    def __init__(self, network: Network, device: str) -> None:
        self._network, self._device = network, device
        self._made: dict[int, tuple[Any, Tensor, Sequence[Tensor]]] = {}

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        if self._device != "cuda":
            return self._network(images)
        if len(images) not in self._made:
            self._made[len(images)] = self._capture(images)
        graph, given, outputs = self._made[len(images)]
        given.copy_(images)
        graph.replay()
        return outputs

    def _capture(self, images: Tensor) -> tuple[Any, Tensor, Sequence[Tensor]]:
        given = images.clone(memory_format=torch.channels_last)
        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._network(given)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._network(given)
        return graph, given, outputs


def _torch_tensorrt(network: Any) -> Network:  # noqa: ANN401 - a module of half
    try:
        compiler: Any = importlib.import_module("torch_tensorrt")
    except ImportError as error:
        raise MissingDependencyError("Torch-TensorRT is not installed") from error
    sizes = (1, 8, 64)
    shapes = [(n, 3, INPUT_SIZE, INPUT_SIZE) for n in sizes]
    given = compiler.Input(
        min_shape=shapes[0], opt_shape=shapes[1], max_shape=shapes[2], dtype=torch.float16
    )
    compiled: Network = compiler.compile(network, inputs=[given], enabled_precisions={torch.half})
    return compiled
