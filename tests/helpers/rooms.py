"""The folders that are packages of the toolkit: what tests of the whole tree go through."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
