import os
from pathlib import Path

import filelock
import pytest

# Two workers share the cores: threads of OpenMP that wait actively would take them from each
# other. To be set before anything loads torch; commands that tests start inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def data():
    """Folder of the golden files."""
    return Path(__file__).parent / "data"


@pytest.fixture(scope="session", autouse=True)
def shared_folder(tmp_path_factory):
    """Tell the helpers which folder all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    # With pytest-xdist each worker has a folder of its own below the one they share.
    shared = base.parent if base.name.startswith("popen-") else base
    os.environ["EMONET_TESTS_SHARED"] = str(shared)


@pytest.fixture(scope="session")
def golden_onnx():
    """Make, once for all workers, the ONNX file of the golden weights: call it with nclass."""
    # Imported here: most tests need no torch.
    from helpers.onnx_models import golden_file

    return golden_file


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
