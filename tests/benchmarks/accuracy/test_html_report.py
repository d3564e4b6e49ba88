import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from helpers.leaning_session import LeaningSession

from emonet_deploy.benchmarks.accuracy.charts import (
    COLORS,
    circumplex,
    confusion_table,
    scatter,
    shown,
)
from emonet_deploy.benchmarks.accuracy.html_report import WORST, write_report
from emonet_deploy.benchmarks.accuracy.protocol import evaluate
from emonet_deploy.benchmarks.accuracy.side_by_side import table
from emonet_deploy.benchmarks.accuracy.summary import Summary
from emonet_deploy.benchmarks.datasets.base import Dataset, Sample
from emonet_deploy.benchmarks.gates import check_published, compare_runs
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.emonet_ref.constants import CLASS_NAMES, METRIC_NAMES, PUBLISHED

NS = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(2)
    samples = []
    for number in range(30):
        name = f"<b>{number}.png"
        cv2.imwrite(str(folder / name), rng.integers(0, 256, (60, 60, 3), np.uint8))
        expression = NO_EXPRESSION if number == 3 else number % 7
        samples.append(Sample(name, expression, *rng.uniform(-1, 1, 2), (9, 9, 50, 50)))
    samples.append(Sample("gone.png", 0, 0.0, 0.0, None))
    dataset = Dataset("faces & <more>", folder, 8, tuple(samples))
    session = LeaningSession(precision="int8")
    run = evaluate(session, dataset)
    found = Summary.of(run, session, "standin", PUBLISHED[8])
    check = check_published(found.accuracy, PUBLISHED[8])
    against = compare_runs(evaluate(LeaningSession(gain=2.0), dataset), run, "int8")
    return Summary(**{**vars(found), "check": check, "against": against})


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


def test_points_lie_where_their_values_say():
    svg = scatter(np.array([-1.0, 0.5]), np.array([1.0, -0.5]), "x & y")
    root = ElementTree.fromstring(svg)
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter("circle")]
    left, right = 36, 320 - 36
    assert dots[0] == (left, left)
    assert dots[1] == pytest.approx((left + 0.75 * (right - left), left + 0.75 * (right - left)))
    assert "x & y" in "".join(root.itertext())


def test_classes_have_their_colours_and_unknown_ones_no_point():
    values = np.array([0.1, 0.2, 0.3])
    html = circumplex(values, values, np.array([1, NO_EXPRESSION, 4]), CLASS_NAMES[5], "x")
    dots = re.findall(r'r="2.5" fill="(#\w+)"', html)
    assert dots == [COLORS[1], COLORS[4]]
    assert len(set(COLORS)) == len(CLASS_NAMES[8])


def test_the_confusion_table_carries_counts_and_recall():
    html = confusion_table(np.array([[3, 1], [0, 0]]), ("calm", "glad"))
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", html)
    assert cells == ["3", "1", "0.750", "0", "0", "-"]


def test_a_hundred_thousand_points_stay_a_page():
    assert len(shown(100_000)) == 3000
    assert shown(5).tolist() == [0, 1, 2, 3, 4]


def test_the_json_result_has_the_promised_fields(summary):
    result = json.loads(json.dumps(summary.to_dict(), allow_nan=False))
    assert {"nclass", "backend", "precision", "checkpoint", "n", "flip", "published"} <= set(result)
    assert result["expression"] == {"ACC": summary.accuracy.ACC}
    assert result["valence"]["CCC"] == summary.accuracy.valence.CCC
    assert set(result["arousal"]) == {"CCC", "PCC", "RMSE", "SAGR"}
    assert result["published"]["valence"]["RMSE"] == 0.29
    low, high = result["intervals"]["arousal"]["RMSE"]
    assert low <= result["arousal"]["RMSE"] <= high
    assert np.sum(result["confusion"]) == 29
    assert (result["n"], [m["path"] for m in result["missing"]]) == (30, ["gone.png"])
    assert result["recall"]["contempt"] is None
    assert result["against"]["gates"]["agreement"]["value"] == result["against"]["agreement"]
    assert set(result["check"]) == set(summary.accuracy.by_name())


def test_results_stand_side_by_side(summary):
    one = summary.to_dict()
    other = {**one, "precision": "fp32", "valence": {**one["valence"], "CCC": None}}
    head, *rows = table([other, one])
    assert head == ["metric", "onnx fp32", "onnx int8"]
    cells = {name: values for name, *values in rows}
    assert tuple(cells) == METRIC_NAMES
    assert cells["valence CCC"] == ["-", f"{summary.accuracy.valence.CCC:.4f}"]
