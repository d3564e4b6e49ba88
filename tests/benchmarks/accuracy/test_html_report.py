import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from emonet_deploy.benchmarks.accuracy.html_report import WORST, write_report
from emonet_deploy.benchmarks.accuracy.protocol import Missing
from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.runtime.output.palette import CLASSES, hex_color


class Page(HTMLParser):
    """Collects tags, attributes and text, and insists that tags are closed in order."""

    VOID = ("meta", "br", "img", "!doctype")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_holds_everything_and_loads_nothing(tmp_path, summary):
    path = write_report(tmp_path / "new", summary, {"cpu": "a <cpu>"})
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "b"}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            if name in ("src", "href"):
                assert value.startswith("data:image/jpeg;base64,")
    assert not re.search(r"https?://|url\(|@import", text)
    words = " ".join(page.words)
    for expected in ("faces & <more>", "a <cpu>", "<b>0.png", "gone.png", "no picture at"):
        assert expected in words
    for name, value in summary.accuracy.by_name().items():
        assert name in words
        assert f"{value:.4f}" in words
    assert words.count("FAIL") + words.count("pass") >= len(summary.check)
    assert sum(tag == "svg" for tag, _ in page.tags) == 4
    assert sum(tag == "img" for tag, _ in page.tags) == WORST


def test_the_worst_samples_come_first(tmp_path, summary):
    text = write_report(tmp_path, summary, {}).read_text(encoding="utf-8")
    run = summary.run
    apart = np.hypot(
        run.truth.valence - run.prediction.valence, run.truth.arousal - run.prediction.arousal
    )
    order = [run.dataset.samples[run.numbers[i]].path for i in np.argsort(-apart)]
    shown_paths = re.findall(r"<figcaption>&lt;b&gt;(\d+\.png)", text)
    assert [f"<b>{path}" for path in shown_paths] == order[:WORST]


def test_the_confusion_matrix_carries_counts_and_recall(tmp_path, summary):
    confusion = np.zeros((8, 8), np.int64)
    confusion[0, :2] = 3, 1
    recall = [0.75, *[None] * 7]
    changed = replace(summary, confusion=confusion, recall=recall)
    text = write_report(tmp_path, changed, {}).read_text(encoding="utf-8")
    rows = re.findall(r"<tr><th>(neutral|happy)</th>(.*?)</tr>", text)
    cells = {name: re.findall(r"<td[^>]*>([^<]*)</td>", row) for name, row in rows}
    assert cells["neutral"] == ["3", "1", *["0"] * 6, "0.750"]
    assert cells["happy"] == [*["0"] * 8, "-"]


def test_the_legend_shows_each_class_in_its_colour(tmp_path, summary):
    text = write_report(tmp_path, summary, {}).read_text(encoding="utf-8")
    legend = re.findall(r'<i style="background:(#\w+)"></i>(\w+)', text)
    assert legend == list(zip(map(hex_color, CLASSES), CLASS_NAMES[8], strict=True))


def test_a_name_that_is_no_utf8_is_shown_with_escapes(tmp_path, summary):
    dataset = replace(summary.run.dataset, name="caf\udce9")
    run = replace(summary.run, dataset=dataset, missing=(Missing("\udce9.png", "gone"),))
    text = write_report(tmp_path, replace(summary, run=run), {}).read_text(encoding="utf-8")
    assert "caf\\xe9" in text
    assert "\\xe9.png" in text
