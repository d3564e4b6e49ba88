"""The README's map: every file of the toolkit is in it, and it names no file that is gone."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_map_names_every_file_and_only_those():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([\w./-]+)` \|", text, re.MULTILINE))
    rooms = ("benchmarks", "commands", "emonet_ref", "export", "runtime")
    modules = {
        str(path.relative_to(ROOT))
        for folder in (ROOT, *(ROOT / room for room in rooms))
        for path in folder.glob("*.py")
        if path.name != "__init__.py" or folder == ROOT
    }
    assert modules <= named
    assert all((ROOT / name).exists() for name in named)


def test_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    assert all((ROOT / link).exists() for link in links)
