"""Colours are told apart, also with the commonest colour blindness."""

from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from emonet_deploy.emonet_ref.constants import CLASS_NAMES
from emonet_deploy.runtime.output.palette import (
    CLASSES,
    IDENTITIES,
    hex_color,
    identity_color,
)
from emonet_deploy.runtime.precision_specs import PRECISIONS

# Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color vision
# deficiency", 2009, severity 1, for linear RGB.
SEEN = {
    "all": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def as_seen(color, matrix):
    linear = (np.array(color) / 255) ** 2.2
    return rgb2lab(np.clip(matrix @ linear, 0, 1) ** (1 / 2.2))


@pytest.mark.parametrize("eyes", SEEN)
@pytest.mark.parametrize(
    "colors",
    [IDENTITIES, CLASSES, tuple(spec.color for spec in PRECISIONS.values())],
    ids=["faces", "classes", "bits"],
)
def test_any_two_colours_are_told_apart(colors, eyes):
    for first, second in combinations(colors, 2):
        apart = deltaE_ciede2000(as_seen(first, SEEN[eyes]), as_seen(second, SEEN[eyes]))
        assert apart > 8, (first, second)


def test_each_class_has_a_colour_and_each_face_too():
    assert len(CLASSES) == max(map(len, CLASS_NAMES.values()))
    assert identity_color(0) == identity_color(len(IDENTITIES))
    assert hex_color((0, 158, 255)) == "#009eff"
