"""The page of a run: what it says, and that its drawings are to scale."""

import re
from pathlib import Path

import pytest
from helpers.batch_runs import clip_rows, face, written
from typer.testing import CliRunner

from emonet_deploy.batch.report import write_report
from emonet_deploy.cli import app
from emonet_deploy.runtime.output.palette import CLASSES, hex_color

CLASS_ORDER = "neutral happy sad surprise fear disgust anger contempt"


def test_a_report_shows_the_groups_and_what_could_not_be_read(tmp_path):
    out = written(tmp_path, clip_rows())
    found = CliRunner().invoke(
        app, ["summarize", out, "--by", "person", "--report", str(tmp_path / "page")]
    )
    assert found.exit_code == 0, found.stderr
    lines = [line.split("\t") for line in found.stdout.splitlines()]
    assert lines[1] == ["/d/a.mp4 #0", "2", "+0.250", "+0.500", "happy", "50%", "1"]
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    for text in ("/d/a.mp4 #1: sad 100.0% of 2", "happy &gt; sad", "/d/b.jpg", "gone"):
        assert text in page
    assert "http" not in page.partition("<body>")[2]  # it loads nothing


def row(number, file, *faces):
    return {"id": number, "file": file, "frames": 1, "error": None, "faces": list(faces)}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the page of three clips of 4, 1 and 2 faces."""
    folder = tmp_path_factory.mktemp("report")
    long = "/lake/" + "x" * 50 + ".mp4"
    rows = [
        row(0, "a.mp4", *(face(i, 0, word, 1.0) for i, word in enumerate(
            ["contempt", "happy", "happy", "neutral"]))),
        row(1, "b.mp4", face(0, 0, "sad", -1.0)),
        row(2, long, *(face(i, 0, "fear", 0.0) for i in range(2))),
    ]  # fmt: skip
    written_page = write_report(folder / "page", written(folder, rows), "clip")
    assert written_page == folder / "page" / "index.html"
    return written_page.read_text(encoding="utf-8")


def attributes(element):
    return dict(re.findall(r'([\w-]+)="([^"]*)"', element))


def drawings(page):
    return re.findall(r"<svg.*?</svg>", page, re.DOTALL)


def color_of(word):
    return hex_color(CLASSES[CLASS_ORDER.split().index(word)])


def test_bars_are_shares_side_by_side_the_largest_group_on_top(page):
    bars = drawings(page)[0]
    found = re.findall(r"(<rect[^>]*>)<title>([^<]*)</title>", bars)
    drawn = [(attributes(element), tip) for element, tip in found]
    assert [tip for _, tip in drawn] == [
        "a.mp4: neutral 25.0% of 4",
        "a.mp4: happy 50.0% of 4",
        "a.mp4: contempt 25.0% of 4",
        "/lake/" + "x" * 50 + ".mp4: fear 100.0% of 2",
        "b.mp4: sad 100.0% of 1",
    ]
    x, y, width, height = (
        [float(each[name]) for each, _ in drawn] for name in ("x", "y", "width", "height")
    )
    assert width[1] == 2 * width[0] == 2 * width[2] == width[3] / 2 == width[4] / 2
    assert [x[0] + width[0], x[1] + width[1]] == x[1:3]
    assert x[0] == x[3] == x[4]
    assert y[0] == y[1] == y[2] < y[3] < y[4]
    assert y[4] - y[3] == y[3] - y[2] > height[0]
    words = ["neutral", "happy", "contempt", "fear", "sad"]
    assert [each["fill"] for each, _ in drawn] == [color_of(word) for word in words]
    ground = attributes(re.search(r"<svg[^>]*>", bars)[0])
    assert x[3] + width[3] <= float(ground["width"])
    assert max(y) + height[4] <= float(ground["height"])


def test_a_long_name_is_shown_by_its_end(page):
    names = re.findall(r"<text[^>]*>([^<]*)</text>", drawings(page)[0])
    assert names == ["a.mp4", "..." + "x" * 35 + ".mp4", "b.mp4"]


def test_each_group_lies_at_its_mean_pleasant_to_the_right_and_aroused_to_the_top(page):
    plane = drawings(page)[1]
    ring, *dots = [attributes(element) for element in re.findall(r"<circle[^>]*>", plane)]
    x, y, radius = (float(ring[name]) for name in ("cx", "cy", "r"))
    ground = attributes(re.search(r"<svg[^>]*>", plane)[0])
    assert float(ground["width"]) == float(ground["height"]) == 2 * x == 2 * y
    # Every arousal is 0.5; valences are 1, 0 and -1.
    found = [((float(d["cx"]) - x) / radius, (y - float(d["cy"])) / radius) for d in dots]
    assert found == [pytest.approx(point) for point in ((1, 0.5), (0, 0.5), (-1, 0.5))]
    assert [d["fill"] for d in dots] == [color_of(word) for word in ("happy", "fear", "sad")]


def test_the_axes_cross_in_the_middle_and_end_on_the_ring(page):
    plane = drawings(page)[1]
    ring = attributes(re.search(r"<circle[^>]*>", plane)[0])
    x, y, radius = (float(ring[name]) for name in ("cx", "cy", "r"))
    lines = [
        [tuple(map(float, point.split(","))) for point in points.split()]
        for points in re.findall(r'points="([^"]*)"', plane)
    ]
    across, upwards = (sorted(line) for line in lines)
    assert across == [(x - radius, y), (x + radius, y)]
    assert upwards == [(x, y - radius), (x, y + radius)]
    words = re.findall(r"(<text[^>]*>)([^<]*)</text>", plane)
    assert [(word, "rotate(-90 " in element) for element, word in words] == [
        ("valence", False),
        ("arousal", True),
    ]


def test_the_legend_names_the_expressions_there_are_in_the_models_order(page):
    found = re.findall(r'<i style="background:(#[0-9a-f]{6})"></i>(\w+)', page)
    words = ["neutral", "happy", "sad", "fear", "contempt"]
    assert found == [(color_of(word), word) for word in words]


def test_changes_are_told_by_how_often(tmp_path):
    words = ["sad", "happy", "sad", "happy", "sad", "fear"]
    clip = row(0, "a.mp4", *(face(i, 0, word, 0.0) for i, word in enumerate(words)))
    page = Path(write_report(tmp_path / "p", written(tmp_path, [clip]), "person")).read_text()
    assert page.index("sad &gt; happy") < page.index("sad &gt; fear")
    assert page.index("happy &gt; sad") < page.index("sad &gt; fear")


def test_forty_groups_have_bars_and_more_have_lines(tmp_path):
    rows = [row(i, f"{i:03}.mp4", face(0, 0, "sad", 0.0)) for i in range(42)]
    page = Path(write_report(tmp_path / "p", written(tmp_path, rows), "clip")).read_text()
    bars, plane = drawings(page)
    assert bars.count("<title>") == 40
    assert plane.count("<circle") == 1 + 42
    assert "039.mp4" in bars
    assert "041.mp4" in page
    assert "041.mp4" not in bars
