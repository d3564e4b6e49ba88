import pytest

from emonet_deploy.emonet_ref.optional_packages import import_package
from emonet_deploy.errors import BackendError, MissingDependencyError


@pytest.mark.parametrize("error", ["OSError", "ImportError", "RuntimeError"])
def test_a_package_that_cannot_be_loaded_says_why_in_one_line(tmp_path, monkeypatch, error):
    name = f"broken_{error.lower()}"
    (tmp_path / f"{name}.py").write_text(f"raise {error}('libcuda.so.1:\\n  no such file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendError) as caught:
        import_package(name, "run engines", "pip install broken")
    assert str(caught.value) == (
        f"{name} is installed but cannot be loaded (libcuda.so.1: no such file); "
        "install it again: pip install broken"
    )


def test_what_is_missing_is_named_even_when_it_is_a_package_of_the_package(tmp_path, monkeypatch):
    (tmp_path / "outer_one.py").write_text("import inner_one.part\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError) as caught:
        import_package("outer_one", "run engines", "pip install outer")
    line = "inner_one is not installed and is needed to run engines; pip install outer"
    assert str(caught.value) == line
