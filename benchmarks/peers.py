"""Other runtimes on the same weights, to be timed in turns with the toolkit's own.

Each takes the reference's weights: PyTorch as it is and compiled, ncnn a trace of it, OpenVINO and
MNN the plain float32 ONNX model. None is handed out before its outputs were seen to be the
reference's.
"""

import contextlib
import importlib.metadata
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from emonet_deploy.emonet_ref.contract import INPUT_NAME, TENSOR_OUTPUTS
from emonet_deploy.emonet_ref.extras import needs
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.errors import BackendError

__all__ = ["PEERS", "Peer", "open_peers"]

Array = NDArray[np.float32]
Run = Callable[[Array], Sequence[Array]]
"""From one image, 1 x 3 x 256 x 256, to the four outputs of the ``tensor`` interface."""

PEERS: Final = ("torch.compile", "openvino", "mnn", "ncnn")

TOLERANCE: Final = 2e-3
"""Largest error of a peer, as a share of each output's largest value: float32, any algorithm."""


@dataclass(frozen=True)
class Peer:
    """Another runtime with the reference's weights loaded."""

    name: str
    version: str
    run: Run


@contextlib.contextmanager
def open_peers(
    model: EmoNet, plain: Path, image: Array, threads: int, names: Sequence[str] = PEERS
) -> Iterator[list[Peer]]:
    """Load peers and check them; leaving the context removes what their converters wrote.

    Args:
        model: the reference.
        plain: its float32 ONNX model as it is, not rewritten for CPUs.
        image: what they are checked on, 1 x 3 x 256 x 256.
        threads: CPU threads for each.
        names: which of ``PEERS``.

    Raises:
        MissingDependencyError: a peer is not installed.
        BackendError: a peer cannot convert the model, or computes something else.
    """
    expected = _torch(model.eval(), threads)(image)
    with tempfile.TemporaryDirectory(prefix="emonet-peers-") as folder:
        peers = []
        for name in names:
            with needs("peers", f"compare with {name}"):
                peer = _open(name, model, plain, threads, Path(folder))
            _check(peer, image, expected)
            peers.append(peer)
        yield peers


def _open(name: str, model: EmoNet, plain: Path, threads: int, folder: Path) -> Peer:
    version = importlib.metadata.version(name.partition(".")[0])
    match name:
        case "torch.compile":
            return Peer(name, version, _torch(torch.compile(model.eval()), threads))
        case "openvino":
            return Peer(name, version, _openvino(plain, threads))
        case "mnn":
            return Peer(name, version, _mnn(plain, threads, folder))
        case "ncnn":
            return Peer(name, version, _ncnn(model, threads, folder))
        case _:
            raise BackendError(f"no peer is called {name}; there are {', '.join(PEERS)}")


def _check(peer: Peer, image: Array, expected: Sequence[Array]) -> None:
    for name, want, got in zip(TENSOR_OUTPUTS, expected, peer.run(image), strict=True):
        error = np.abs(np.reshape(got, want.shape) - want).max() / np.abs(want).max()
        if not error <= TOLERANCE:
            raise BackendError(f"{peer.name} computes another {name}: off by {error:.1e} of it")


def _torch(network: Callable[[torch.Tensor], Any], threads: int) -> Run:
    torch.set_num_threads(threads)

    def run(images: Array) -> list[Array]:
        with torch.inference_mode():
            return [output.numpy() for output in network(torch.from_numpy(images))]

    return run


def _openvino(plain: Path, threads: int) -> Run:
    import openvino

    compiled = openvino.Core().compile_model(
        str(plain),
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        },
    )

    def run(images: Array) -> list[Array]:
        results = compiled({INPUT_NAME: images})
        return [results[name] for name in TENSOR_OUTPUTS]

    return run


def _mnn(plain: Path, threads: int, folder: Path) -> Run:
    import MNN

    path = folder / "model.mnn"
    main = "from MNN.tools.mnnconvert import main; main()"
    _convert(
        *(sys.executable, "-c", main, "-f", "ONNX", "--bizCode", "emonet"),
        *("--modelFile", str(plain), "--MNNModel", str(path)),
    )
    interpreter = MNN.Interpreter(str(path))
    session = interpreter.createSession({"numThread": threads, "precision": "high"})
    given = interpreter.getSessionInput(session, INPUT_NAME)

    def tensor(values: Array) -> Any:  # noqa: ANN401 - MNN has no types
        return MNN.Tensor(
            values.shape, MNN.Halide_Type_Float, values, MNN.Tensor_DimensionType_Caffe
        )

    def run(images: Array) -> list[Array]:
        given.copyFrom(tensor(images))
        interpreter.runSession(session)
        outputs = []
        for name in TENSOR_OUTPUTS:
            source = interpreter.getSessionOutput(session, name)
            host = tensor(np.zeros(source.getShape(), np.float32))
            source.copyToHostTensor(host)
            outputs.append(np.array(host.getNumpyData(), np.float32))
        return outputs

    return run


def _ncnn(model: EmoNet, threads: int, folder: Path) -> Run:
    import ncnn
    import pnnx

    # pnnx loses the axis of a ReduceSum in ONNX; from a trace it keeps it.
    traced = folder / "model.pt"
    example = torch.zeros(1, 3, 256, 256)
    with torch.no_grad():
        torch.jit.trace(model.eval(), example).save(str(traced))
    _convert(pnnx.EXEC_PATH, str(traced), "inputshape=[1,3,256,256]", "fp16=0")
    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    net.load_param(str(traced.with_suffix(".ncnn.param")))
    net.load_model(str(traced.with_suffix(".ncnn.bin")))

    def run(images: Array) -> list[Array]:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(images[0]).clone())
            return [np.array(extractor.extract(f"out{i}")[1]) for i in range(4)]

    return run


def _convert(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(f"converting the model failed: {last}")
