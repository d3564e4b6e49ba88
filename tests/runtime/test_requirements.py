"""What is missing is said with its command; what is here, with its version."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from emonet_deploy.errors import BackendError, MissingDependencyError
from emonet_deploy.runtime import requirements
from emonet_deploy.runtime.hardware.gpu import CudaDevice
from emonet_deploy.runtime.requirements import (
    GPU,
    RTX_GPU,
    TENSORRT,
    Found,
    OneOf,
    Package,
    TritonServer,
    import_required,
    require,
)

HERE = Package("numpy", ("numpy",), "numpy>=1")
ABSENT = Package("absent_package", ("absent-package",), "absent-package>=2")
L4 = CudaDevice("NVIDIA L4", "8.9", "13.0")


@pytest.fixture
def card(monkeypatch):
    """Put a GPU into this machine, or take it out."""

    def put(device):
        monkeypatch.setattr(requirements, "cuda_device", lambda: device)

    put(None)
    return put


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A package that is installed but lacks a library."""
    (tmp_path / "broken_package.py").write_text("raise ImportError('libfoo.so.1: not found')")
    monkeypatch.syspath_prepend(tmp_path)
    return Package("broken_package", ("broken-package",), "broken-package")


def test_a_package_is_told_by_its_version_or_by_its_command(card, broken):
    assert str(HERE.find()) == f"numpy {np.__version__}"
    assert str(ABSENT.find()) == ("absent-package is missing: pip install 'absent-package>=2'")
    assert str(broken.find()) == (
        "broken-package cannot be loaded (libfoo.so.1: not found): pip install broken-package"
    )
    assert not HERE.find().optional
    assert replace(ABSENT, optional=True).find().optional


def test_a_module_that_pip_does_not_know_has_the_version_it_says(card, tmp_path, monkeypatch):
    (tmp_path / "by_hand.py").write_text("__version__ = '7.1'")
    (tmp_path / "unsaid.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert str(Package("by_hand", ("by-hand",), "by-hand").find()) == "by-hand 7.1"
    assert Package("unsaid", ("unsaid",), "unsaid").find().version == "of unknown version"


@pytest.mark.parametrize(
    ("driver", "asked"), [("12.9", "b==12"), ("13.0", "b==13"), ("14.2", "b==13"), (None, "b==13")]
)
def test_a_driver_of_cuda_12_gets_what_it_can_run(card, driver, asked):
    card(driver and CudaDevice("NVIDIA L4", "8.9", driver))
    package = Package("b", ("b",), "b==13", for_cuda_12="b==12")
    assert package.install == f"pip install '{asked}'"
    assert ABSENT.install == "pip install 'absent-package>=2'"  # which there is only one of
    assert replace(package, note="and a compiler").install.endswith(f"{asked}' (and a compiler)")


def test_a_jetson_has_tensorrt_of_its_own(card, monkeypatch):
    assert "pip install" in TENSORRT.install
    monkeypatch.setattr(requirements, "is_jetson", lambda: True)
    assert "JetPack" in TENSORRT.install
    assert "JetPack" not in ABSENT.install


def test_of_several_the_first_that_loads_is_taken(card, broken):
    both = OneOf((ABSENT, HERE))
    assert both.choose() is HERE
    assert str(both.find()) == f"numpy {np.__version__} (as absent-package is missing)"
    assert str(OneOf((HERE, ABSENT)).find()) == f"numpy {np.__version__}"
    none = OneOf((broken, ABSENT))
    assert none.choose() is ABSENT
    assert str(none.find()) == (
        "broken-package or absent-package cannot be loaded (broken-package: libfoo.so.1: not "
        "found): pip install 'absent-package>=2'"
    )
    # One that can be done without is no longer, where it is the one that is used.
    assert not OneOf((ABSENT, replace(HERE, optional=True))).find().optional


def test_a_gpu_is_here_or_missing_or_does_not_fit(card):
    assert GPU.find().state == "NVIDIA GPU is missing"
    assert GPU.find().is_device
    card(L4)
    assert str(RTX_GPU.find()) == (
        "NVIDIA GPU NVIDIA L4, compute capability 8.9, driver for CUDA 13.0"
    )
    card(replace(L4, compute_capability="9.0"))
    assert GPU.find().version
    assert GPU.find().is_device
    assert "NVIDIA GPU does not fit (NVIDIA L4, compute capability 9.0" in str(RTX_GPU.find())
    assert "--engine trt" in str(RTX_GPU.find())


@pytest.mark.parametrize(
    ("needs", "error"),
    [
        ([ABSENT], MissingDependencyError),
        ([HERE, ABSENT, GPU], MissingDependencyError),  # pip helps, if not alone
        ([GPU], BackendError),
        ([HERE, GPU], BackendError),
    ],
)
def test_what_is_missing_is_named_whole_and_by_its_kind(card, needs, error):
    with pytest.raises((BackendError, MissingDependencyError)) as caught:
        require(needs, "run models", "use paper")
    assert type(caught.value) is error
    assert str(caught.value).startswith("cannot run models here: ")
    assert "numpy" not in str(caught.value)
    assert ("absent-package is missing" in str(caught.value)) == (ABSENT in needs)
    assert ("NVIDIA GPU is missing" in str(caught.value)) == (GPU in needs)
    assert caught.value.hint.endswith("; or use paper")


def test_what_cannot_be_loaded_is_no_matter_of_installing(card, broken):
    with pytest.raises(BackendError, match=r"cannot be loaded \(libfoo"):
        require([broken, GPU], "run models", "use paper")
    with pytest.raises(MissingDependencyError):
        require([broken, ABSENT], "run models", "use paper")


def test_what_can_be_done_without_is_not_asked_for(card):
    require([HERE, replace(ABSENT, optional=True)], "run models", "use paper")
    require([], "run models", "use paper")


def test_a_requirement_that_is_told_nothing_of_is_a_needed_package():
    found = Found("x", None, "get it")
    assert (found.optional, found.is_device, found.state) == (False, False, "x is missing")


def test_what_would_report_home_is_kept_out(card, monkeypatch):
    monkeypatch.delitem(sys.modules, "tells_home", raising=False)
    package = replace(HERE, blocked="tells_home")
    assert import_required(package, "count") is np
    with pytest.raises(ModuleNotFoundError):
        import tells_home  # noqa: F401
    del sys.modules["tells_home"]


def test_tritonserver_says_its_version_where_it_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program = tmp_path / "tritonserver"
    program.write_text(
        "#!/bin/sh\n[ $# = 4 ] && echo '| server_id       | triton |'\n"
        "echo '| server_version  | 2.73.0 |' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    assert str(TritonServer().find()) == "tritonserver 2.73.0"
    program.write_text("#!/bin/sh\necho 'no such device'\n")
    assert "tritonserver cannot be loaded (no such device)" in str(TritonServer().find())
