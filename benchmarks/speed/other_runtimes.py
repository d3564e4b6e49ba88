"""Other runtimes on the same weights, to be timed in turns with the toolkit's own.

Each takes the reference's weights: PyTorch compiled, ncnn a trace of it, OpenVINO and MNN the plain
float32 ONNX model. All threads and precisions are those of the reference.
"""

import importlib.metadata
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from emonet_deploy.benchmarks.choices import Peer
from emonet_deploy.emonet_ref.constants import INPUT_NAME, TENSOR_OUTPUTS
from emonet_deploy.emonet_ref.model import EmoNet
from emonet_deploy.emonet_ref.optional_packages import EXTRAS, needs, pip_install
from emonet_deploy.errors import BackendError, InputError, MissingDependencyError
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.openvino import OpenVinoSession
from emonet_deploy.runtime.backends.session import Session

__all__ = ["PEERS", "PeerSession", "open_peers", "require_peers"]

Images = NDArray[np.float32]
Run = Callable[[Images], Sequence[Array]]
"""From one image, 1 x 3 x 256 x 256, to the four outputs of the ``tensor`` interface."""

PEERS: Final = get_args(Peer)
_PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "torch.compile": (),
    "openvino": ("openvino",),
    "mnn": ("MNN",),
    "ncnn": ("ncnn", "pnnx"),
}


class PeerSession(Session):
    """Another runtime behind the toolkit's interface; batches go through it one by one."""

    backend: ClassVar[Any] = "peer"

    def __init__(self, name: str, run: Run, reference: Session) -> None:
        version = importlib.metadata.version(name.partition(".")[0])
        info = replace(reference.info, tools={name: version})
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


def require_peers(names: Sequence[str]) -> None:
    """Raise unless peers are known and installed: before the work that comes before them.

    Raises:
        InputError: an unknown peer.
        MissingDependencyError: a peer is not installed.
    """
    for name in names:
        if name not in PEERS:
            raise InputError(f"no peer is called {name!r}; choose {', '.join(PEERS)}")
        for package in _PACKAGES[name]:
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError(
                    f"{package} is not installed and is needed to compare with {name}",
                    hint=pip_install(*EXTRAS["peers"]),
                )


@contextmanager
def open_peers(
    names: Sequence[str], model: EmoNet, plain: Path, reference: Session, threads: int
) -> Iterator[list[PeerSession]]:
    """Load peers; leaving the context removes what their converters wrote.

    Args:
        names: which of ``PEERS``.
        model: the reference's network.
        plain: its float32 ONNX model as it is, not rewritten for CPUs.
        reference: the reference.
        threads: CPU threads for each.

    Raises:
        InputError: an unknown peer.
        MissingDependencyError: a peer is not installed.
        BackendError: a peer cannot convert the model.
        ArtifactError: OpenVINO cannot.
    """
    require_peers(names)
    with tempfile.TemporaryDirectory(prefix="emonet-peers-") as folder:
        peers = []
        for name in names:
            with needs("peers", f"compare with {name}"):
                run = _load(name, model.eval(), plain, threads, Path(folder))
            peers.append(PeerSession(name, run, reference))
        yield peers


def _load(name: str, model: EmoNet, plain: Path, threads: int, folder: Path) -> Run:
    match name:
        case "openvino":
            return _openvino(plain, threads)
        case "mnn":
            return _mnn(plain, threads, folder)
        case "ncnn":
            return _ncnn(model, threads, folder)
        case _:
            return _compiled(model)


def _compiled(model: EmoNet) -> Run:
    network: Any = torch.compile(model)

    def run(images: Images) -> list[Array]:
        with torch.inference_mode():
            return [output.numpy() for output in network(torch.from_numpy(images))]

    return run


def _openvino(plain: Path, threads: int) -> Run:
    session = OpenVinoSession(plain, "cpu", threads)

    def run(images: Images) -> list[Array]:
        results = session.run(images)
        return [results[name] for name in TENSOR_OUTPUTS]

    return run


def _mnn(plain: Path, threads: int, folder: Path) -> Run:
    import MNN

    path = folder / "model.mnn"
    # The converter itself: MNN's command around it installs packages and reports to its makers.
    convert = "import sys, _tools; _tools.mnnconvert(sys.argv)"
    _convert(
        *(sys.executable, "-c", convert, "-f", "ONNX", "--bizCode", "emonet"),
        *("--modelFile", str(plain), "--MNNModel", str(path)),
    )
    if not path.is_file():  # the converter fails in silence
        raise BackendError("MNN could not convert the model")
    interpreter = MNN.Interpreter(str(path))
    session = interpreter.createSession({"numThread": threads, "precision": "high"})
    given = interpreter.getSessionInput(session, INPUT_NAME)

    def tensor(values: Images) -> Any:  # noqa: ANN401 - MNN has no types
        kind = MNN.Tensor_DimensionType_Caffe
        return MNN.Tensor(values.shape, MNN.Halide_Type_Float, values, kind)

    def run(images: Images) -> list[Array]:
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

    # pnnx loses the axis of a ReduceSum in an ONNX model; in a trace it keeps it.
    traced = folder / "model.pt"
    with torch.no_grad():
        trace: Any = torch.jit.trace  # has no types
        trace(model, torch.zeros(1, 3, 256, 256)).save(str(traced))
    _convert(pnnx.EXEC_PATH, str(traced), "inputshape=[1,3,256,256]", "fp16=0")
    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    net.load_param(str(traced.with_suffix(".ncnn.param")))
    net.load_model(str(traced.with_suffix(".ncnn.bin")))

    def run(images: Images) -> list[Array]:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(images[0]).clone())
            return [np.array(extractor.extract(f"out{i}")[1]) for i in range(4)]

    return run


def _convert(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(f"converting the model failed: {last}")
