"""The Python surfaces of TensorRT, TensorRT-RTX, pycuda and cuda-bindings, as introspected.

`tests/data/api` holds, for each version, the names and signatures of the classes the toolkit uses.
"""

import json
import re
from pathlib import Path

DATA = Path(__file__).parents[1] / "data" / "api"
TENSORRT = ("tensorrt-10.16", "tensorrt-11.4", "tensorrt_rtx-1.7")


def surface(name):
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def parameters(signature):
    """Return (required, all) parameter names of a pybind or Boost signature, without `self`."""
    inside = re.search(r"\((.*)\)(?: ->.*)?$", signature)[1]
    if re.search(r"\(\w+\)\w", inside):  # Boost
        names = re.findall(r"\(\w+\)(\w+)", inside)
        optional = re.findall(r"\(\w+\)(\w+)", inside[inside.find("[") :]) if "[" in inside else []
        return [name for name in names if name not in optional], names
    parts = [part.strip() for part in _split(inside) if part.strip()]
    # Python's `name: type = default`, or Cython's `type name`.
    names = [re.split(r"[:=]", part)[0].split()[-1] for part in parts]
    required = [name for name, part in zip(names, parts, strict=True) if "=" not in part]
    return [n for n in required if n != "self"], [n for n in names if n != "self"]


def _split(text):
    """Split at the commas that are not inside of brackets."""
    depth, part = 0, ""
    for letter in text:
        depth += (letter in "[(<{") - (letter in "])>}")
        if letter == "," and depth == 0:
            yield part
            part = ""
        else:
            part += letter
    yield part
