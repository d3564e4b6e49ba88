import sys

import jinja2
import pytest

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.output.html_page import write_page
from emonet_deploy.runtime.output.table_formats import Table

TEMPLATE = """<ul>
  {% for name in names %}
    <li>{{ name }}</li>
  {% endfor %}
</ul>
<p>{{ none | figure }} {{ third | figure }}</p>
{{ rows | table }}
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that holds a template."""
    folder = tmp_path / "page_of_tests"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "page.html").write_text(TEMPLATE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder.name
    sys.modules.pop(folder.name, None)


def values(**changes):
    table = Table(("a",), [("<1>",)])
    return {"names": ["größe", "<b>"], "none": None, "third": 1 / 3, "rows": table} | changes


def test_what_users_wrote_is_text_and_tables_are_tables(tmp_path, package):
    path = write_page(tmp_path, package, "page.html", **values())
    text = path.read_text(encoding="utf-8")
    assert path == tmp_path / "index.html"
    # Lines of the template's own words leave none behind.
    assert text.startswith("<ul>\n    <li>größe</li>\n    <li>&lt;b&gt;</li>\n</ul>\n")
    assert "<p>- 0.333333</p>" in text
    assert "<table" in text
    assert "&lt;1&gt;" in text


def test_a_value_that_is_missing_is_no_empty_place(tmp_path, package):
    given = values()
    del given["names"]
    with pytest.raises(jinja2.UndefinedError):
        write_page(tmp_path, package, "page.html", **given)
    assert not (tmp_path / "index.html").exists()


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path, package):
    (tmp_path / "file").touch()
    with pytest.raises(InputError):
        write_page(tmp_path / "file", package, "page.html", **values())
