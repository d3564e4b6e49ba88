import xml.etree.ElementTree as ET
from dataclasses import replace

from helpers.bench_rows import INT8, PEER, ROW

from emonet_deploy.benchmarks.speed.tradeoff_plot import plot
from emonet_deploy.runtime.output.palette import hex_color
from emonet_deploy.runtime.precision_specs import PRECISIONS


def test_the_picture_shows_every_row_that_has_a_concordance():
    unknown = replace(ROW, ccc_valence=None)
    tree = ET.fromstring(plot([ROW, PEER, INT8, unknown], "Speed & agreement"))
    circles = tree.findall("{*}circle")
    assert len(circles) == 3
    texts = [element.text for element in tree.findall("{*}text")]
    assert "Speed & agreement" in texts
    assert "ncnn 1.0 <x> fp32, batch 1, 2.00x" in texts
    # Higher concordance is higher up, more images a second further right.
    place = {c.get("fill"): (float(c.get("cx")), float(c.get("cy"))) for c in circles}
    assert (
        place[hex_color(PRECISIONS["int8"].color)][0]
        > place[hex_color(PRECISIONS["fp32"].color)][0]
    )
    assert (
        place[hex_color(PRECISIONS["int8"].color)][1]
        > place[hex_color(PRECISIONS["fp32"].color)][1]
    )
    for x, y in place.values():
        assert 0 < x < 860
        assert 0 < y < 480


def test_rows_that_all_agree_have_a_scale_too():
    equal = replace(ROW, ccc_valence=1 - 1e-13, ccc_arousal=1.0)
    tree = ET.fromstring(plot([equal, replace(equal, throughput=3.0)], "All equal"))
    heights = {float(c.get("cy")) for c in tree.findall("{*}circle")}
    assert len(heights) == 1
    assert 0 < heights.pop() < 480


def test_a_picture_of_nothing_is_still_a_picture():
    assert ET.fromstring(plot([], "none")).findall("{*}circle") == []
