from pathlib import Path

import filelock
import pytest


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
        # Imported here: most tests need no torch.
        from helpers import golden

        from emonet_deploy.export.onnx import export_onnx

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


@pytest.fixture(scope="session")
def standin8() -> Path:
    """Path of the stand-in for 8 classes: in the cache, as for users, so that it is made once."""
    from emonet_deploy.emonet_ref.standin import standin_path
    from emonet_deploy.emonet_ref.storage.cache import cache_dir

    cache_dir().mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(cache_dir() / "standin.lock"):
        return standin_path(8)
