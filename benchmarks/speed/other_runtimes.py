"""Other runtimes on the same weights, to be timed in turns with the toolkit's own.

All have the reference's threads. What a peer computes in is its row's precision: those of float32
must compute what the reference does, the others are judged as artifacts of their precision are.
"""

import importlib.metadata
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from emonet_deploy.benchmarks.choices import Peer
from emonet_deploy.benchmarks.speed.peers import litert, mnn, ncnn, onnxruntime, openvino, pytorch
from emonet_deploy.benchmarks.speed.peers.source import Open, Run, Source
from emonet_deploy.emonet_ref.constants import TENSOR_OUTPUTS
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.emonet_ref.optional_packages import EXTRAS, needs, pip_install
from emonet_deploy.errors import InputError, MissingDependencyError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.choices import Precision
from emonet_deploy.runtime.pipeline.preprocess import to_tensor

__all__ = [
    "PEERS",
    "PeerSession",
    "PeerSpec",
    "convert_peers",
    "open_peers",
    "quantized",
    "require_peers",
]


@dataclass(frozen=True)
class PeerSpec:
    """One peer.

    Attributes:
        distribution: whose version its row shows.
        convert: from the reference to what can be opened on a number of threads.
        packages: the modules it needs.
        precision: of its convolutions; those in int8 are made on sample faces.
    """

    distribution: str
    convert: Callable[[Source], Open]
    packages: tuple[str, ...] = ()
    precision: Precision = "fp32"


PEERS: Final[Mapping[Peer, PeerSpec]] = {
    "torch.compile": PeerSpec("torch", pytorch.compiled),
    "torch.compile-int8": PeerSpec("torch", pytorch.quantized, ("torchao",), "int8"),
    "openvino": PeerSpec("openvino", openvino.plain, ("openvino",)),
    "openvino-nncf": PeerSpec("nncf", openvino.quantized, ("openvino", "nncf"), "int8"),
    "mnn": PeerSpec("MNN", mnn.float32, ("MNN",)),
    "mnn-int8": PeerSpec("MNN", mnn.quantized, ("MNN",), "int8"),
    "ncnn": PeerSpec("ncnn", ncnn.float32, ("ncnn", "pnnx")),
    "ncnn-bf16": PeerSpec("ncnn", ncnn.bfloat16, ("ncnn", "pnnx"), "bf16"),
    "litert": PeerSpec("ai-edge-litert", litert.float32, ("ai_edge_litert", "litert_torch")),
    "onnxruntime-int8": PeerSpec("onnxruntime", onnxruntime.quantized, ("onnxruntime",), "int8"),
}


class PeerSession(Session):
    """Another runtime behind the toolkit's interface; batches go through it one by one."""

    backend: ClassVar[Any] = "peer"

    def __init__(
        self,
        name: str,
        run: Run,
        reference: Session,
        distribution: str | None = None,
        precision: Precision = "fp32",
    ) -> None:
        version = _version(distribution or name)
        info = replace(reference.info, precision=precision, tools={name: version})
        super().__init__(info, provider=f"{name} {version}", device="cpu")
        self.name = name
        self._one = run

    def _run(self, images: Array) -> dict[str, Array]:
        parts = [self._one(images[i : i + 1]) for i in range(len(images))]
        # The first dimension, the batch, is free in the record and 1 here.
        shapes = {t.name: tuple(size or 1 for size in t.shape) for t in self.info.outputs}
        return {
            name: np.concatenate([np.reshape(part[i], shapes[name]) for part in parts])
            for i, name in enumerate(TENSOR_OUTPUTS)
        }


def _version(distribution: str) -> str:
    """Return the version of a distribution, which may be here under its name for GPUs."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version(f"{distribution}-gpu")


def require_peers(names: Sequence[Peer]) -> None:
    """Raise unless peers are known and installed: before the work that comes before them.

    Raises:
        InputError: an unknown peer.
        MissingDependencyError: a peer is not installed.
    """
    for name in names:
        if name not in PEERS:
            raise InputError(f"no peer is called {name!r}; choose {', '.join(PEERS)}")
        for package in PEERS[name].packages:
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError(
                    f"{package} is not installed and is needed to compare with {name}",
                    hint=pip_install(*EXTRAS["peers"]),
                )


def quantized(names: Sequence[Peer]) -> list[Peer]:
    """Return those peers that are calibrated on sample faces."""
    return [name for name in names if PEERS[name].precision == "int8"]


@contextmanager
def convert_peers(
    names: Sequence[Peer], model: EmoNet, plain: Path, faces: NDArray[np.uint8] | None = None
) -> Iterator[dict[Peer, Open]]:
    """Convert the reference for peers; leaving the context removes what their converters wrote.

    Args:
        names: which of ``PEERS``.
        model: the reference's network.
        plain: its float32 ONNX model as it is, not rewritten for CPUs.
        faces: face crops that those in int8 are calibrated on, N x 256 x 256 x 3, RGB.

    Raises:
        InputError: an unknown peer.
        MissingDependencyError: a peer is not installed.
        BackendError: a peer cannot convert the model.
    """
    require_peers(names)
    calibration = to_tensor(np.empty((0, 256, 256, 3), np.uint8) if faces is None else faces)
    with tempfile.TemporaryDirectory(prefix="emonet-peers-") as folder:
        converted = {}
        for name in dict.fromkeys(names):
            own = Path(folder, name)
            own.mkdir()
            # Converters tell their progress where our results go.
            with needs("peers", f"compare with {name}"), redirect_stdout(sys.stderr):
                source = Source(model.eval(), plain, calibration, own)
                converted[name] = PEERS[name].convert(source)
        yield converted


def open_peers(
    converted: Mapping[Peer, Open], reference: Session, threads: int
) -> list[PeerSession]:
    """Load what ``convert_peers`` gave.

    Args:
        converted: by peer.
        reference: the reference.
        threads: CPU threads for each.

    Raises:
        ArtifactError: OpenVINO cannot load the model.
    """
    return [
        PeerSession(
            name, open_on(threads), reference, PEERS[name].distribution, PEERS[name].precision
        )
        for name, open_on in converted.items()
    ]
