"""What is passed around is a value: nobody can change it for others who hold it."""

import importlib
import pkgutil
from dataclasses import FrozenInstanceError, is_dataclass


def changeable(package, without=()):
    """Return the public dataclasses of a package's own files that can be changed."""
    folder = importlib.import_module(package)
    found = []
    for file in pkgutil.iter_modules(folder.__path__):
        if file.ispkg or file.name in without:
            continue
        module = importlib.import_module(f"{package}.{file.name}")
        for name, kind in vars(module).items():
            own = isinstance(kind, type) and kind.__module__ == module.__name__
            public = own and is_dataclass(kind) and not name.startswith("_")
            if public and _can_be_changed(kind):
                found.append(name)
    return found


def _can_be_changed(kind):
    try:
        setattr(object.__new__(kind), next(iter(kind.__dataclass_fields__), "field"), None)
    except FrozenInstanceError:
        return False
    return True
