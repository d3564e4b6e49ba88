from pathlib import Path

import filelock
import golden
import pytest

from emonet_deploy.export.to_onnx import export_onnx


@pytest.fixture(scope="session")
def data():
    """Folder of the golden files."""
    return Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def golden_onnx(tmp_path_factory):
    """Make, once for all workers, the ONNX file of the golden weights: call it with nclass."""
    base = tmp_path_factory.getbasetemp()
    # With pytest-xdist each worker has a folder of its own below the one they share.
    shared = base.parent if base.name.startswith("popen-") else base

    def make(nclass: int) -> Path:
        path = shared / f"golden_{nclass}.onnx"
        with filelock.FileLock(f"{path}.lock"):
            if not path.exists():
                export_onnx(golden.model(nclass), path, f"sha256:{'0' * 64}")
        return path

    return make


@pytest.fixture(scope="session")
def onnx8(golden_onnx):
    """Path of the golden 8-class model as ONNX."""
    return golden_onnx(8)
