"""The scripts of the documentation, which are no package, as modules."""

import importlib.util
from types import ModuleType

from helpers.rooms import ROOT


def load_script(name: str) -> ModuleType:
    """Load ``docs/scripts/NAME.py``."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
