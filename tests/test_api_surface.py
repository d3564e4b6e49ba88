"""What the code calls of TensorRT, pycuda and cuda-bindings exists in every version it claims.

The code is read, not run: types follow from the signatures, so `builder.create_network(flags)` is
looked up as `Builder.create_network` and its result as an `INetworkDefinition`.
"""

import ast
import inspect
import re
from pathlib import Path

import pytest
from helpers.api_surface import TENSORRT, parameters, surface
from helpers.fake_pycuda import Machine
from helpers.fake_tensorrt import make_tensorrt

from emonet_deploy.runtime.backends.tensorrt.bindings_driver import BindingsDriver

ROOT = Path(__file__).parent.parent
RTX = TENSORRT[2:]
CODE = {
    "export/tensorrt/build_engine.py": TENSORRT,
    "export/tensorrt/compile_onnx.py": TENSORRT,
    "runtime/backends/tensorrt/library.py": TENSORRT,
    "runtime/backends/tensorrt/session.py": TENSORRT,
    "runtime/backends/tensorrt/engine_runner.py": TENSORRT,
    "runtime/backends/tensorrt/slot.py": TENSORRT,
    "runtime/backends/tensorrt/rtx_engine_runner.py": RTX,
    "runtime/backends/tensorrt/cuda.py": (),
    "runtime/backends/tensorrt/cuda_graph.py": (),
}
# Functions that run with TensorRT-RTX only, in files that run with all.
RTX_FUNCTIONS = {"_set_targets"}
# Parameters and the like, whose types no assignment tells.
PARAMETERS = {
    "trt": "module",
    "driver": "pycuda",
    "cuda": "bindings",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "self.driver": "pycuda",
    "self._trt": "module",
    "self._gpu.driver": "pycuda",
    "gpu.driver": "pycuda",
    "self._cuda": "bindings",
    "plan.context": "IExecutionContext",
    "self._plans[self._batch].context": "IExecutionContext",
    "self._plans[self._sizes[-1]].context": "IExecutionContext",
}
PYCUDA, BINDINGS = surface("pycuda-2026.1"), surface("cuda-bindings-13.5")


class Reader:
    """Follows the types through one file, and notes every name looked up on the way."""

    def __init__(self, path, claims, fields):
        self.path, self.claims, self.fields = path, claims, fields
        self.names = {}
        self.found = set()
        self.unresolved = set()
        self.everywhere = {
            member
            for version in TENSORRT
            for members in surface(version)["classes"].values()
            for member in members
        }

    def read(self, node):
        """Read statements in their order, functions with names of their own."""
        if isinstance(node, ast.FunctionDef):
            outer, self.names = self.names, dict(self.names)
            claims = self.claims
            if node.name in RTX_FUNCTIONS:
                self.claims = RTX
            for argument in node.args.args:
                self.names.pop(argument.arg, None)
            for statement in node.body:
                self.read(statement)
            self.names, self.claims = outer, claims
        elif isinstance(node, ast.Assign):
            kind = self.type_of(node.value)
            for target in node.targets:
                self.bind(target, kind)
        elif isinstance(node, ast.AugAssign):
            self.bind(node.target, self.type_of(node.value))
        elif isinstance(node, ast.AnnAssign):
            self.bind(node.target, node.value and self.type_of(node.value))
        elif isinstance(node, ast.expr):
            self.type_of(node)
        else:
            for child in ast.iter_child_nodes(node):
                self.read(child)

    def bind(self, target, kind):
        text = ast.unparse(target)
        if isinstance(target, ast.Name):
            self.names[text] = kind
        elif text.startswith("self.") and kind:
            self.fields[text] = kind
        if isinstance(target, ast.Attribute):
            self.type_of(target)  # a property that is set must exist as well

    def type_of(self, node):
        text = ast.unparse(node)
        match node:
            case ast.Name():
                return self.names.get(text) or PARAMETERS.get(text)
            case ast.Attribute():
                return self.attribute(node, text)
            case ast.Call():
                return self.call(node)
            case ast.Subscript():
                self.type_of(node.slice)
                listed = self.type_of(node.value)
                return listed[1] if isinstance(listed, tuple) and listed[0] == "list" else None
            case ast.ListComp() | ast.GeneratorExp():
                for generator in node.generators:
                    self.type_of(generator.iter)
                return ("list", self.type_of(node.elt))
            case ast.IfExp():
                self.type_of(node.test)
                self.type_of(node.orelse)
                return self.type_of(node.body)
        for child in ast.iter_child_nodes(node):
            self.read(child)
        return None

    def attribute(self, node, text):
        known = PARAMETERS.get(text) or self.fields.get(text)
        if known:
            return known
        base = self.type_of(node.value)
        if base is None or (isinstance(base, tuple) and base[0] in ("method", "list")):
            if node.attr in self.everywhere and "_" in node.attr.strip("_"):
                self.unresolved.add(f"{self.path}: {text}")
            return None
        return self.member(base, node.attr)

    def member(self, base, attr):
        """Look a name up in every surface that is claimed; return what it is."""
        if base in ("pycuda", "bindings") or base in PYCUDA["classes"]:
            self.found.add((base, attr))
            return pycuda_member(base, attr)
        kinds = set()
        for version in self.claims:
            names = surface(version)
            if base == "module":
                if attr.startswith("__"):
                    return None
                assert attr in names["classes"] or attr in names["enums"], f"trt.{attr}, {version}"
                kinds.add(("class", attr) if attr in names["classes"] else ("enum", attr))
            elif base[0] == "enum":
                fits = attr in names["enums"][base[1]] or attr == "__members__"
                assert fits, f"{base[1]}.{attr}, {version}"
            elif base[0] == "class":
                assert attr in names["classes"][base[1]], f"{base[1]}.{attr}, {version}"
            else:
                members = names["classes"][base]
                assert attr in members, f"{base}.{attr} is not in {version} ({self.path})"
                kinds.add("" if isinstance(members[attr], str) else ("method", base, attr))
        self.found.add((base, attr))
        return kinds.pop() if len(kinds) == 1 else None

    def call(self, node):
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            self.type_of(argument)
        if ast.unparse(node) in PARAMETERS:
            return PARAMETERS[ast.unparse(node)]
        if isinstance(node.func, ast.Name) and node.func.id in ("checked", "_check"):
            return self.type_of(node.args[-1 if node.func.id == "_check" else 0])
        called = self.type_of(node.func)
        if not isinstance(called, tuple) or called[0] not in ("class", "method", "function"):
            return None
        kinds = {self.result(called, version, node) for version in self.claims or ("",)}
        return kinds.pop() if len(kinds) == 1 else None

    def result(self, called, version, node):
        """Check the shape of a call in one version; return the type of its result."""
        if called[0] == "class":
            owner, member = called[1], "__init__"
        else:
            owner, member = called[1], called[2]
        if owner in PYCUDA["classes"]:
            signatures = PYCUDA["classes"][owner][member]
        elif owner == "pycuda":
            signatures = PYCUDA["functions"][member]
        elif owner == "bindings":
            signatures = BINDINGS["functions"][member]
        else:
            signatures = surface(version)["classes"][owner][member]
        assert any(fits(signature, node) for signature in signatures), (
            f"{self.path}: {ast.unparse(node)} fits none of {signatures} in {version or owner}"
        )
        if called[0] == "class":
            return owner
        result = re.search(r"-> (?:nv\w+::)?I?(\w+)$", signatures[0])
        names = result and (result[1], f"I{result[1]}")
        known = set(PYCUDA["classes"])
        if version:
            known |= set(surface(version)["classes"])
        return next((name for name in names or () if name in known), None)


def pycuda_member(base, attr):
    if base == "bindings":
        assert attr in BINDINGS["functions"] or attr in BINDINGS["enums"], f"cuda.{attr}"
        return ("function", base, attr) if attr in BINDINGS["functions"] else None
    if base == "pycuda":
        if attr in PYCUDA["classes"]:
            return ("class", attr)
        assert attr in PYCUDA["functions"] or attr in PYCUDA["errors"], f"pycuda.driver.{attr}"
        return ("function", base, attr) if attr in PYCUDA["functions"] else None
    members = PYCUDA["classes"][base]
    assert attr in members, f"{base}.{attr} is not in pycuda"
    return "" if isinstance(members[attr], str) else ("method", base, attr)


def fits(signature, node):
    required, names = parameters(signature)
    # Boost names the object itself as well.
    if re.match(r"\w+\( \((?:object|[A-Z]\w+)\)(?:arg1|self)", signature):
        required, names = required[1:], names[1:]
    keywords = [keyword.arg for keyword in node.keywords]
    if any(isinstance(argument, ast.Starred) for argument in node.args):
        return set(keywords) <= set(names)
    given = names[: len(node.args)] + keywords
    return (
        len(node.args) <= len(names) and set(keywords) <= set(names) and set(required) <= set(given)
    )


@pytest.fixture(scope="module")
def readers():
    """Read all files twice: the second time the fields that others assign are known."""
    fields = {}
    for _ in range(2):
        read = {}
        for name, claims in CODE.items():
            read[name] = Reader(
                name, claims, {} if name == "runtime/backends/tensorrt/cuda.py" else fields
            )
            read[name].read(ast.parse((ROOT / name).read_text(encoding="utf-8")))
    return read


def test_every_name_the_code_uses_is_in_every_version_it_claims(readers):
    found = set().union(*(reader.found for reader in readers.values()))
    # That the types are followed to the end: names from the far side of several calls.
    for name in [
        ("Builder", "build_serialized_network"),
        ("IBuilderConfig", "progress_monitor"),
        ("IBuilderConfig", "set_compute_capability"),
        ("IOptimizationProfile", "set_shape"),
        ("ITensor", "shape"),
        ("ITimingCache", "serialize"),
        ("EngineInspector", "get_engine_information"),
        ("ICudaEngine", "get_tensor_profile_shape"),
        ("IExecutionContext", "execute_async_v3"),
        ("IRuntimeConfig", "cuda_graph_strategy"),
        ("IRuntimeCache", "deserialize"),
        ("Stream", "handle"),
        ("Event", "time_till"),
        ("Context", "push"),
        ("pycuda", "memcpy_dtoh_async"),
        ("bindings", "cuStreamBeginCapture"),
        (("enum", "ProfilingVerbosity"), "DETAILED"),
    ]:
        assert name in found
    assert len(found) > 80


def test_no_call_escapes_the_reading(readers):
    assert set().union(*(reader.unresolved for reader in readers.values())) == set()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("builder.platform_has_fast_int8", "Builder.platform_has_fast_int8 is not in"),
        ("config.int8_calibrator = 1", "int8_calibrator is not in tensorrt-11.4"),
        ("config.set_compute_capability(1, 2)", "is not in tensorrt-10.16"),
        ("builder.create_network(1, 2)", "fits none"),
        ("trt.Runtime()", "fits none"),
        ("trt.BuilderFlag.FP16", "BuilderFlag.FP16, tensorrt-11.4"),
        ("driver.mem_alloc()", "fits none"),
        ("driver.Stream().wait()", "Stream.wait is not in pycuda"),
        ("engine = checked(trt.Runtime(1).deserialize_cuda_engine(2))\nengine.nope()", "nope"),
    ],
)
def test_the_reading_finds_what_is_wrong(code, reason):
    with pytest.raises(AssertionError, match=re.escape(reason)):
        Reader("x.py", TENSORRT, {}).read(ast.parse(code))


@pytest.mark.parametrize("version", TENSORRT)
def test_the_fake_promises_no_more_than_the_real_one(version):
    names = surface(version)
    fake = make_tensorrt(Machine(), version)
    for name, members in names["classes"].items():
        for attribute, value in vars(getattr(fake, name, object)).items():
            if attribute.startswith("_"):
                continue
            assert attribute in members
            if inspect.isfunction(value):
                took = list(inspect.signature(value).parameters)[1:]
                assert any(took == parameters(s)[1][: len(took)] for s in members[attribute])


def test_the_fake_of_pycuda_promises_no_more_than_the_real_one():
    for name, value in vars(Machine().driver).items():
        assert name in {*PYCUDA["functions"], *PYCUDA["classes"], *PYCUDA["errors"]}
        for attribute in vars(value) if inspect.isclass(value) and name != "Error" else ():
            if not attribute.startswith("_"):
                assert attribute in PYCUDA["classes"][value.__name__], f"{name}.{attribute}"


def test_the_calls_through_cuda_bindings_are_there_with_as_many_arguments():
    path = ROOT / "runtime" / "backends" / "tensorrt" / "bindings_driver.py"
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and str(node.args[0].value).startswith("cu")
    ]
    assert len(calls) > 15
    for call in calls:
        required, names = parameters(BINDINGS["functions"][call.args[0].value][0])
        assert len(required) == len(names) == len(call.args) - 1, ast.unparse(call)


def test_cuda_bindings_has_what_pycuda_would_have_been_asked_for():
    fake = vars(Machine().driver)
    assert {name for name in fake if not hasattr(BindingsDriver, name)} <= {
        "Context", "DeviceAllocation", "PagelockedHostAllocation"
    }  # fmt: skip


def test_the_toolkit_asks_for_the_versions_it_was_checked_with():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert "tensorrt-cu13>=10.13,<12" in extras["trt"]
    majors = {surface(version)["version"].split(".")[0] for version in TENSORRT[:2]}
    assert majors == {"10", "11"}
