import csv
import io
from xml.etree import ElementTree

import pytest
from rich.console import Console

from emonet_deploy.runtime.output.table_formats import (
    Table,
    as_html,
    as_markdown,
    as_rich,
    as_text,
)

SIMPLE = Table(("name", "n"), [("a", 1), ("long name", 22)])
NASTY = Table(("file", "x"), [("a|b\t<i>\n[red]caf\udce9.jpg", 1)])


def test_its_lines_are_read_back_where_tabs_separate_cells():
    text = "".join("\t".join(line) + "\n" for line in [*SIMPLE.lines(), *NASTY.lines()])
    assert list(csv.reader(io.StringIO(text), dialect="excel-tab")) == [
        ["name", "n"],
        ["a", "1"],
        ["long name", "22"],
        ["file", "x"],
        ["a|b\\t<i>\\n[red]caf\\xe9.jpg", "1"],
    ]


def test_text_stands_in_columns_with_figures_to_the_right():
    assert as_text(SIMPLE) == "name        n\na           1\nlong name  22\n"
    assert as_text(Table((), [("a", "b")], "ll")) == "a  b\n"


def test_markdown_keeps_its_cells_apart():
    assert as_markdown(SIMPLE) == "| name | n |\n| --- | ---: |\n| a | 1 |\n| long name | 22 |"
    row = as_markdown(NASTY).splitlines()[2]
    assert row.replace("\\|", "").count("|") == 3


def test_html_is_escaped_and_aligned():
    root = ElementTree.fromstring(as_html(NASTY))
    head, body = root.findall("tr")
    assert [(cell.tag, cell.text) for cell in head] == [("th", "file"), ("th", "x")]
    assert [(cell.tag, cell.get("class"), cell.text) for cell in body] == [
        ("th", "l", "a|b\\t<i>\\n[red]caf\\xe9.jpg"),
        ("td", "r", "1"),
    ]


def test_a_terminal_shows_brackets_as_they_are():
    out = io.StringIO()
    Console(file=out, width=80).print(as_rich(NASTY))
    assert "[red]caf\\xe9.jpg" in out.getvalue()


@pytest.mark.parametrize("render", [as_text, as_html])
def test_a_table_without_rows_or_headings(render):
    assert isinstance(render(Table((), [])), str)
    assert "n" in render(Table(("name", "n"), []))
