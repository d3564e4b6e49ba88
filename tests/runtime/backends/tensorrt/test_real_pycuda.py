"""Sessions on the real pycuda, with a driver that works in host memory: `data/host_cuda.c`.

Skipped where pycuda or a C compiler is missing. TensorRT is the pretended one.
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
import pycuda.driver
from fake_tensorrt import make_tensorrt

class Streams:
    def __getitem__(self, handle):  # work is done at once
        return type("Now", (), {"append": staticmethod(lambda work: work())})

class Host:
    alive, log, stack, streams = collections.Counter(), [], [True], Streams()
    call = staticmethod(lambda name: False)
    def born(self, kind): pass
    def at(self, address, size):
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))

trt = sys.modules["tensorrt"] = make_tensorrt(Host(), "tensorrt-11.4")
from gpu_world import assert_same, images
from tiny_model import write_tiny
from emonet_deploy.export.tensorrt.options import BuildOptions
from emonet_deploy.export.tensorrt.build_engine import build_engine
from emonet_deploy.runtime.hardware.gpu import CudaDevice, cuda_device
from emonet_deploy.runtime.backends.registry import load_session

def counts():
    numbers = (ctypes.c_int * 6)()
    ctypes.CDLL("libcuda.so.1").host_counts(numbers)
    return dict(zip(("memory", "pinned", "streams", "events", "retained", "depth"), numbers))

def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()  # pycuda aborts the process when a context is left in the thread

NOTHING = {"memory": 0, "pinned": 0, "streams": 0, "events": 0, "retained": 1, "depth": 0}
OPEN = NOTHING | {"memory": 5, "pinned": 5, "streams": 1}
assert cuda_device() == CudaDevice("NVIDIA L4", "8.9", "13.0")
model = write_tiny(Path(sys.argv[1]) / "m.onnx")
path = build_engine(model, kind="trt", options=BuildOptions(max_batch=4)).path
want = load_session(model, device="cpu").run(images(6))
session = load_session(path)
assert counts() == OPEN, counts()
assert_same(session.run(images(6)), want)
in_thread(lambda: assert_same(session.run(images(6)), want))
assert session.measure(images(2)).compute == 1.5
assert counts() == OPEN, counts()
in_thread(session.close)
assert counts() == NOTHING, counts()
kept = []
in_thread(lambda: kept.append(load_session(path)))
assert_same(kept[0].run(images(6)), want)
kept.clear()  # nobody closes it
assert counts() == NOTHING, counts()
trt.Runtime.deserialize_cuda_engine = lambda self, plan: None
try:
    load_session(path)
except Exception as error:
    assert "emonet build" in str(error), error
assert counts() == NOTHING, counts()
print("good")
"""


@pytest.fixture
def host_cuda(tmp_path):
    """Folder of a libcuda that works in host memory and lacks no symbol that pycuda names."""
    spec = importlib.util.find_spec("pycuda")
    if spec is None or COMPILER is None or shutil.which("nm") is None:
        pytest.skip("not here: pycuda, a C compiler or nm")
    (driver,) = Path(spec.origin).parent.glob("_driver*.so")
    listed = subprocess.run(["nm", "-D", driver], capture_output=True, text=True, check=True).stdout
    source = (TESTS / "data" / "host_cuda.c").read_text()
    missing = set(re.findall(r" U (cu[A-Z]\w+)", listed)) - set(
        re.findall(r"int (cu\w+)\(", source)
    )
    stubs = "".join(f"int {name}(void) {{ return 801; }}\n" for name in sorted(missing))
    (tmp_path / "all.c").write_text(source + stubs)
    library = tmp_path / "libcuda.so.1"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, tmp_path / "all.c"], check=True)
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="builds a Linux library")
def test_the_real_pycuda_runs_and_releases_sessions(host_cuda, tmp_path):
    paths = [str(host_cuda), os.environ.get("LD_LIBRARY_PATH", "")]
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=os.environ
        | {
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths)),
            "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    # pycuda's complaints about what it could not release go to stderr.
    assert (result.stdout, result.stderr, result.returncode) == ("good\n", "", 0)
