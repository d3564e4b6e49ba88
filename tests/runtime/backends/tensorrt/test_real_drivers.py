"""Sessions on the real pycuda and cuda-bindings; `data/host_cuda.c` is the driver, in host memory.

Skipped where the package or a C compiler is missing. TensorRT is the pretended one.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[3]
COMPILER = shutil.which("cc") or shutil.which("gcc")

SCRIPT = """
import collections, ctypes, sys, threading, warnings
from pathlib import Path
import numpy as np
warnings.simplefilter("error")
if sys.argv[2] == "cuda-bindings":
    sys.modules["pycuda"] = sys.modules["pycuda.driver"] = None
else:
    import pycuda.driver
graphs_work = sys.argv[3] == "graphs"
from helpers.fake_tensorrt import make_tensorrt

captured, kept, launches = {}, {}, []  # by stream; by graph and by what was made of it

class Streams:
    def __getitem__(self, handle):  # work is done at once, unless it is captured
        append = captured[handle].append if handle in captured else lambda work: work()
        return type("Now", (), {"append": staticmethod(append)})

@ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)
def told(what, stream, graph):
    if what == b"begin":
        captured[stream] = []
    elif what == b"end":
        kept[graph] = captured.pop(stream)
    elif what == b"lost":
        captured.pop(stream)
    elif what == b"instantiate":
        kept[stream] = kept[graph]
    else:
        launches.append(graph)
        for work in kept[graph]:
            work()

ctypes.CDLL("libcuda.so.1").host_tells(told)

class Host:
    alive, log, stack, streams = collections.Counter(), [], [True], Streams()
    call = staticmethod(lambda name: False)
    def born(self, kind): pass
    def at(self, address, size):
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))

if sys.argv[4] == "torch":
    from helpers import torch_tensorrt
    trt = torch_tensorrt.make_tensorrt(device="cpu")
else:
    trt = make_tensorrt(Host(), "tensorrt-11.4")
sys.modules["tensorrt"] = trt
from helpers.gpu_world import assert_same, images
from helpers.tiny_model import write_tiny
from emonet_deploy.export.tensorrt.options import BuildOptions
from emonet_deploy.export.tensorrt.build_engine import build_engine
from emonet_deploy.runtime.hardware.gpu import CudaDevice, cuda_device
from emonet_deploy.runtime.backends.registry import load_session

def counts():
    numbers = (ctypes.c_int * 8)()
    ctypes.CDLL("libcuda.so.1").host_counts(numbers)
    return dict(zip(NOTHING, numbers))

def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()  # pycuda aborts the process when a context is left in the thread

NOTHING = {"memory": 0, "pinned": 0, "streams": 0, "events": 0, "retained": 1}
NOTHING |= {"graphs": 0, "executables": 0, "depth": 0}
OPEN = NOTHING | {"memory": 12, "pinned": 10, "streams": 2}
assert cuda_device() == CudaDevice("NVIDIA L4", "8.9", "13.0")
model = write_tiny(Path(sys.argv[1]) / "m.onnx")
path = build_engine(model, kind="trt", options=BuildOptions(max_batch=4)).path
want = load_session(model, device="cpu").run(images(6))
session = load_session(path)
assert counts() == OPEN, counts()
for _ in range(4):
    assert_same(session.run(images(6)), want)
in_thread(lambda: assert_same(session.run(images(6)), want))
made = counts()["executables"]
assert bool(made) == graphs_work and (len(launches) >= made), (made, launches)

class OnDevice:  # this driver's device memory is the host's
    def __init__(self, array):
        self.__dlpack_device__ = lambda: (2, 0)
        self.__dlpack__ = lambda stream: array.__dlpack__()

results = session.run_on_device(OnDevice(images(4)))
def read(array):
    address, shape = array.__cuda_array_interface__["data"][0], array.shape
    return Host().at(address, array.nbytes).view(np.float32).reshape(shape).copy()
on_host = session.run(images(4))
assert_same({name: read(array) for name, array in results.items()}, on_host)
del results
assert session.measure(images(2)).compute == 1.5
assert counts() == OPEN | {"events": 4, "executables": counts()["executables"]}, counts()
in_thread(session.close)
assert counts() == NOTHING, counts()
alone = []
in_thread(lambda: alone.append(load_session(path)))
assert_same(alone[0].run(images(6)), want)
alone.clear()  # nobody closes it
assert counts() == NOTHING, counts()
trt.Runtime.deserialize_cuda_engine = lambda self, plan: None
try:
    load_session(path)
except Exception as error:
    assert "emonet build" in str(error), error
assert counts() == NOTHING, counts()
print("good")
"""


PACKAGES = {"pycuda": "pycuda", "cuda-bindings": "cuda.bindings"}


@pytest.fixture
def host_cuda(tmp_path):
    """Make the folder of a libcuda that works in host memory; call it with a file that links to it.

    The library lacks no symbol that the file names.
    """

    def make(user=None):
        if COMPILER is None or shutil.which("nm") is None:
            pytest.skip("not here: a C compiler or nm")
        source = (TESTS / "data" / "host_cuda.c").read_text()
        named = set()
        if user is not None:
            listed = subprocess.run(["nm", "-D", user], capture_output=True, text=True, check=True)
            named = set(re.findall(r" U (cu[A-Z]\w+)", listed.stdout))
        missing = sorted(named - set(re.findall(r"int (cu\w+)\(", source)))
        (tmp_path / "all.c").write_text(
            source + "".join(f"int {name}(void) {{ return 801; }}\n" for name in missing)
        )
        library = tmp_path / "libcuda.so.1"
        command = [COMPILER, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library]
        subprocess.run([*command, tmp_path / "all.c", "-ldl"], check=True)
        return tmp_path

    return make


def installed(package):
    try:
        return importlib.util.find_spec(PACKAGES[package])
    except ModuleNotFoundError:
        return None


@pytest.mark.skipif(sys.platform != "linux", reason="builds a Linux library")
@pytest.mark.parametrize(
    ("package", "graphs", "computes"),
    [
        ("pycuda", "graphs", "onnx"),
        ("cuda-bindings", "graphs", "onnx"),
        # What stands in for TensorRT on a GPU without it, here on the host.
        ("cuda-bindings", "none", "torch"),
    ],
)
def test_a_real_package_runs_and_releases_sessions(host_cuda, tmp_path, package, graphs, computes):
    spec = installed(package)
    if spec is None:
        pytest.skip(f"not here: {package}")
    if package == "pycuda" and installed("cuda-bindings") is None:
        graphs = "none"
    (user,) = Path(spec.origin).parent.glob("_driver*.so") if package == "pycuda" else [None]
    paths = [str(host_cuda(user)), os.environ.get("LD_LIBRARY_PATH", "")]
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), package, graphs, computes],
        env=os.environ
        | {
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths)),
            "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)]),
        }
        | ({} if graphs == "graphs" else {"HOST_CUDA_NO_GRAPHS": "1"}),
        capture_output=True,
        text=True,
        check=False,
    )
    # pycuda's complaints about what it could not release go to stderr.
    assert (result.stdout, result.stderr, result.returncode) == ("good\n", "", 0)
