"""The documentation's site: built strictly, and looked at page by page. `make docs` runs this."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.chromium import chromium

pytestmark = pytest.mark.docs
pytest.importorskip("mkdocs")
ROOT = Path(__file__).parent.parent


def build(*options):
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", *map(str, options)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "site"
    done = build("--site-dir", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_pages_made_from_the_code_are_there(site):
    commands = (site / "reference/commands.html").read_text(encoding="utf-8")
    assert "emonet checkpoint fetch" in commands
    assert "--calibrator" in commands
    api = (site / "reference/api/runtime.html").read_text(encoding="utf-8")
    assert "emonet_deploy.runtime.backends.registry.load_session" in api
    drawing = (site / "architecture.svg").read_text(encoding="utf-8")
    assert "runtime/backends/tensorrt" in drawing


def test_nothing_is_fetched_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert 'src="http' not in text, page
        assert 'rel="stylesheet" href="http' not in text, page


def test_a_broken_link_fails_the_build(tmp_path):
    copy = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", copy)
    with open(copy / "glossary.md", "a", encoding="utf-8") as page:
        page.write("\n[nowhere](nowhere.md)\n")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    settings = settings.replace("docs_dir: docs", f"docs_dir: {copy}")
    settings = settings.replace("hooks: [docs/", f"hooks: [{ROOT}/docs/")
    (tmp_path / "mkdocs.yml").write_text(settings, encoding="utf-8")
    done = build("-f", tmp_path / "mkdocs.yml", "--site-dir", tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere.md" in done.stdout + done.stderr


def test_every_page_shows_in_a_browser_without_an_error(site, tmp_path):
    with chromium(tmp_path, "--allow-file-access-from-files") as page:
        for file in sorted(site.rglob("*.html")):
            page.open(file.as_uri())
            assert page.run("document.querySelector('h1') !== null") or file.name == "404.html"
            broken = page.run(
                "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
            )
            assert broken == [], file.name
            wide = page.run("document.documentElement.scrollWidth > window.innerWidth + 1")
            assert not wide, f"{file.name} scrolls sideways"
