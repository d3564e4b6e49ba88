"""Print the lowest versions that pyproject.toml allows, as constraints for pip.

    python docs/scripts/lowest_versions.py export dev -- torch > lowest.txt

Extras and dependency groups come first; behind ``--`` stand the packages whose version is left
to pip.
"""

import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parents[2]
_BOUNDS = {">=", "==", "~="}


def lowest(extras: Iterable[str], left_out: Iterable[str]) -> Iterator[str]:
    """Yield ``name==version`` for each dependency of this platform that has a lower bound."""
    content = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    optional = project["optional-dependencies"] | content["dependency-groups"]
    lists = [project["dependencies"], *(optional[extra] for extra in extras)]
    free = set(map(canonicalize_name, left_out))
    for requirement in (Requirement(line) for lines in lists for line in lines):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        if canonicalize_name(requirement.name) in free:
            continue
        for bound in requirement.specifier:
            if bound.operator in _BOUNDS:
                yield f"{requirement.name}=={bound.version}"


def main() -> None:
    """Print a line for each."""
    before, _, after = (" ".join(sys.argv[1:]) + " ").partition("-- ")
    print("\n".join(dict.fromkeys(lowest(before.split(), after.split()))))


if __name__ == "__main__":
    main()
