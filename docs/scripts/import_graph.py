"""The drawing of the architecture: which folder imports which, read from the code."""

import ast
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Final

__all__ = ["draw", "read_imports"]

_ROOT: Final = Path(__file__).parents[2]
_ROOMS: Final = sorted(path.parent.name for path in _ROOT.glob("*/__init__.py"))
_WIDTH, _HEIGHT, _GAP, _RISE = 150, 30, 14, 76


def read_imports(root: Path = _ROOT) -> dict[str, set[str]]:
    """Return, for each folder of the toolkit, the folders that its files import from.

    Folders are named from the root, as ``runtime/media``; imports inside functions count.
    """
    folders = {
        file.parent.relative_to(root).as_posix(): file.parent
        for room in _ROOMS
        for file in sorted((root / room).rglob("__init__.py"))
    }
    graph: dict[str, set[str]] = {folder: set() for folder in folders}
    for name, folder in folders.items():
        for file in folder.glob("*.py"):
            # The public face of a folder names what lies below it, and imports it when it is used.
            if file.name != "__init__.py":
                graph[name] |= _folders_of(_modules(file), folders) - {name}
    return graph


def draw(graph: Mapping[str, set[str]]) -> str:
    """Return an SVG in which every folder stands above all that it imports.

    What is reached by way of another folder anyway has no line of its own.
    """
    reach = _reach(graph)
    levels = {name: _level(name, reach) for name in graph}
    rows = [
        sorted(name for name in graph if levels[name] == level)
        for level in range(max(levels.values()) + 1)
    ]
    width = max(map(len, rows)) * (_WIDTH + _GAP) + _GAP
    height = len(rows) * _RISE + _GAP
    place = {
        name: (
            (width - len(row) * (_WIDTH + _GAP)) / 2 + _GAP / 2 + i * (_WIDTH + _GAP),
            height - (level + 1) * _RISE + (_RISE - _HEIGHT) / 2,
        )
        for level, row in enumerate(rows)
        for i, name in enumerate(row)
    }
    lines = [_line(place[a], place[b]) for a in graph for b in sorted(_direct(a, graph, reach))]
    boxes = [_box(name, *place[name]) for name in graph]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            'font-family="sans-serif" font-size="11">',
            "<title>Every folder stands above what it imports</title>",
            *lines,
            *boxes,
            "</svg>\n",
        ]
    )


def _modules(file: Path) -> Iterable[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _folders_of(modules: Iterable[str], folders: Mapping[str, Path]) -> set[str]:
    found = set()
    for module in modules:
        package, *parts = module.split(".")
        if package == "emonet_deploy":
            while parts and "/".join(parts) not in folders:
                parts.pop()
            found.add("/".join(parts))
    return found - {""}


def _reach(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return all that each folder imports, directly or by way of others."""
    reach = {name: set(below) for name, below in graph.items()}
    for middle in graph:
        for name in graph:
            if middle in reach[name]:
                reach[name] |= reach[middle]
    return reach


def _level(name: str, reach: Mapping[str, set[str]]) -> int:
    """Return the longest way down; folders that reach each other share a level."""
    below = (b for b in reach[name] if name not in reach[b])
    return 1 + max((_level(b, reach) for b in below), default=-1)


def _direct(name: str, graph: Mapping[str, set[str]], reach: Mapping[str, set[str]]) -> set[str]:
    strictly = {b for b in graph[name] if name not in reach[b]}
    return {
        b
        for b in graph[name]
        if not any(b in reach[c] and c not in reach[b] for c in strictly - {b})
    }


def _line(upper: tuple[float, float], lower: tuple[float, float]) -> str:
    (x0, y0), (x1, y1) = upper, lower
    x0, x1 = x0 + _WIDTH / 2, x1 + _WIDTH / 2
    y0, bend = y0 + _HEIGHT, _RISE / 2
    return (
        f'<path d="M{x0:g} {y0:g}C{x0:g} {y0 + bend:g} {x1:g} {y1 - bend:g} {x1:g} {y1:g}" '
        'fill="none" stroke="#8a94ad"/>'
    )


def _box(name: str, x: float, y: float) -> str:
    hue = 360 * _ROOMS.index(name.partition("/")[0]) // len(_ROOMS)
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" '
        f'fill="hsl({hue} 55% 90%)" stroke="hsl({hue} 40% 55%)"/>'
        f'<text x="{x + _WIDTH / 2:g}" y="{y + _HEIGHT / 2 + 4:g}" text-anchor="middle" '
        f'fill="#222">{escape(name)}</text>'
    )
