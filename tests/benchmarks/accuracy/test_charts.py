from xml.etree import ElementTree

import numpy as np
import pytest

from emonet_deploy.benchmarks.accuracy.charts import circumplex, scatter
from emonet_deploy.benchmarks.metrics.paper_metrics import NO_EXPRESSION
from emonet_deploy.runtime.output.palette import CLASSES, hex_color


def dots(svg):
    return [c for c in ElementTree.fromstring(svg).iter("circle") if c.get("fill") != "none"]


def test_points_lie_where_their_values_say():
    svg = scatter(np.array([-1.0, 0.5]), np.array([1.0, -0.5]), "x & y")
    places = [(float(c.get("cx")), float(c.get("cy"))) for c in dots(svg)]
    left, right = 36, 320 - 36
    assert places[0] == (left, left)
    assert places[1] == pytest.approx((left + 0.75 * (right - left), left + 0.75 * (right - left)))
    assert "x & y" in "".join(ElementTree.fromstring(svg).itertext())


def test_classes_have_their_colours_and_unknown_ones_no_point():
    values = np.array([0.1, 0.2, 0.3])
    svg = circumplex(values, values, np.array([1, NO_EXPRESSION, 4]), "x")
    assert [c.get("fill") for c in dots(svg)] == [hex_color(CLASSES[1]), hex_color(CLASSES[4])]


def test_a_hundred_thousand_points_stay_a_page():
    many = np.linspace(-1, 1, 100_000)
    assert len(dots(scatter(many, many, "x"))) == 3000
    assert len(dots(scatter(many[:5], many[:5], "x"))) == 5
