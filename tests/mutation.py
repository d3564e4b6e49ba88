"""Change operators and numbers at random, and see whether the tests of that folder notice.

    python tests/mutation.py --each 4 --seed 0 [FOLDER ...]

Each change is made in a copy of the checkout; the tests that bear the file's name are run first,
then those of its folder. What survives is printed with its line. Drawing and layout are left out:
whether a label lies a pixel further is for eyes.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(
    str(file.parent.relative_to(ROOT))
    for room in ROOT.glob("*/__init__.py")
    for file in room.parent.rglob("__init__.py")
)
DRAWN = {
    "annotate.py", "charts.py", "html_report.py", "label_layout.py", "palette.py", "svg.py",
    "table_formats.py", "timeline.py", "tradeoff_plot.py",
}  # fmt: skip
SECONDS = 300
LARGEST = 1000  # Of larger numbers, which are limits of sizes, one more makes no difference.
OTHER = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "is": "is not",
    "is not": "is", "in": "not in", "not in": "in", "and": "or", "or": "and", "+": "-", "-": "+",
    "*": "/", "/": "*", "//": "*", "%": "*", "True": "False", "False": "True", "not ": "",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A stretch of one line of a file, and what takes its place."""

    path: Path
    line: int
    start: int
    end: int
    old: str
    new: str

    def source(self) -> str:
        """Return the file with the change."""
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        text = lines[self.line - 1].encode()
        changed = text[: self.start] + self.new.encode() + text[self.end :]
        lines[self.line - 1] = changed.decode()
        return "".join(lines)


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield every change that could be made to a file."""
    lines = path.read_text(encoding="utf-8").splitlines()

    def between(before: ast.AST, after: ast.AST) -> Iterator[Mutant]:
        if before.end_lineno != after.lineno:
            return
        row = lines[after.lineno - 1].encode()
        gap = row[before.end_col_offset : after.col_offset].decode()
        word = gap.strip(" ()")
        if word in OTHER and gap.count(word) == 1:
            at = before.end_col_offset + gap.index(word)
            yield Mutant(path, after.lineno, at, at + len(word), word, OTHER[word])

    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for left, right in pairwise(sides):
                yield from between(left, right)
        elif isinstance(node, ast.BinOp):
            yield from between(node.left, node.right)
        elif isinstance(node, ast.BoolOp):
            for left, right in pairwise(node.values):
                yield from between(left, right)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            at = node.col_offset
            yield Mutant(path, node.lineno, at, at + 4, "not ", "")
        elif isinstance(node, ast.Constant) and node.end_lineno == node.lineno:
            span = (path, node.lineno, node.col_offset, node.end_col_offset)
            if isinstance(node.value, bool):
                yield Mutant(*span, str(node.value), str(not node.value))
            elif isinstance(node.value, int | float) and abs(node.value) <= LARGEST:
                yield Mutant(*span, str(node.value), f"({node.value} + 1)")


def tests_of(path: Path) -> list[list[str]]:
    """Return what is run for a file, the likeliest first."""
    folder = Path("tests") / path.parent
    near = folder / f"test_{path.stem}.py"
    found = [[str(near)]] if (ROOT / near).exists() else []
    if not (ROOT / folder).is_dir():
        folder = folder.parent
    whole = [str(p.relative_to(ROOT)) for p in sorted((ROOT / folder).glob("test_*.py"))]
    return [*found, whole] if whole else found


def killer(mutant: Mutant, copy: Path) -> str | None:
    """Run the tests with a mutant in the copy's place; return which one noticed, or None."""
    inside = copy / "emonet_deploy" / mutant.path.relative_to(ROOT)
    original = inside.read_text(encoding="utf-8")
    inside.write_text(mutant.source(), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        for tests in tests_of(mutant.path.relative_to(ROOT)):
            done = subprocess.run(
                [*command, *tests], cwd=copy / "emonet_deploy", env=environment, timeout=SECONDS,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode not in {0, 5}:
                named = [x for x in done.stdout.splitlines() if x.startswith(("FAILED", "ERROR"))]
                return named[0].split()[1] if named else f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        return f"no end within {SECONDS} seconds"
    finally:
        inside.write_text(original, encoding="utf-8")
    return None


def main() -> None:
    """Sample, run, and print what survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", default=FOLDERS)
    parser.add_argument("--each", type=int, default=4, help="changes in each folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    killed, survivors = 0, []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        tracked = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split("\0")
        for name in filter(None, tracked):
            (copy / "emonet_deploy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / "emonet_deploy" / name)
        for room in options.folders:
            files = [p for p in sorted((ROOT / room).glob("*.py")) if p.name not in DRAWN]
            found = [mutant for path in files for mutant in mutants(path)]
            for mutant in chance.sample(found, min(options.each, len(found))):
                where = f"{mutant.path.relative_to(ROOT)}:{mutant.line}"
                by = killer(mutant, copy)
                if by is None:
                    survivors.append(mutant)
                else:
                    killed += 1
                verdict = "SURVIVED" if by is None else f"killed by {by}"
                print(f"{where} `{mutant.old}` -> `{mutant.new}` {verdict}", flush=True)
    total = killed + len(survivors)
    print(f"{killed} of {total} killed")
    for mutant in survivors:
        line = mutant.path.read_text(encoding="utf-8").splitlines()[mutant.line - 1].strip()
        print(f"{mutant.path.relative_to(ROOT)}:{mutant.line}: `{mutant.old}`: {line}")


if __name__ == "__main__":
    main()
