import cv2
import numpy as np
import pytest

from emonet_deploy.runtime.tracking.appearance import colour_likeness, describe_colours

RNG = np.random.default_rng(0)
# Colours of faces, hair and clothes, and some beyond the histograms' ranges.
PALETTE = np.array(
    [(224, 172, 105), (141, 85, 36), (60, 40, 30), (250, 250, 250), (128, 128, 128), (200, 60, 60),
     (20, 40, 90), (0, 0, 0), (0, 255, 0), (255, 255, 0), (255, 0, 0)],
    np.uint8,
)  # fmt: skip


def by_hand(part):
    """The three histograms of some pixels, one value after the other."""
    lab = cv2.cvtColor(part, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    rows = []
    for values, low, high in zip(lab.T, (0, 108, 108), (255, 168, 178), strict=True):
        bins = np.zeros(16)
        for value in values:
            share = np.interp(value, (low, high), (0, 15))
            for i in range(16):
                bins[i] += max(0.0, 1 - abs(share - i))
        blurred = np.convolve(bins, (0.25, 0.5, 0.25))[1:-1]
        rows.append(blurred / blurred.sum())
    return rows


@pytest.mark.parametrize("scale", [1, 2])
def test_looks_are_the_histograms_of_the_upper_the_middle_and_the_lower_part(scale):
    face = PALETTE[RNG.integers(0, len(PALETTE), (24, 24))]
    image = PALETTE[RNG.integers(0, len(PALETTE), (80, 120))]
    size = 24 * scale
    image[7 : 7 + size, 50 : 50 + size] = face.repeat(scale, 0).repeat(scale, 1)
    # A box takes in every pixel it touches.
    looks = describe_colours(image, (50.9, 7.8, 49.2 + size, 6.1 + size))
    assert (looks.dtype, looks.shape) == (np.float32, (9, 16))
    expected = [row for part in (face[:8], face[8:16], face[16:]) for row in by_hand(part)]
    np.testing.assert_allclose(looks, expected, atol=1e-6)


def test_of_a_box_over_the_border_what_is_inside_counts():
    image = RNG.integers(0, 256, (40, 60, 3), np.uint8)
    for over, inside in (
        ((-20, -9, 24, 24), (0, 0, 24, 24)),
        ((36, 16, 99, 99), (36, 16, 60, 40)),
        ((-20, -20, -10, -10), (0, 0, 1, 1)),
        ((99, 99, 200, 200), (59, 39, 60, 40)),
        ((99, 5, 200, 29), (59, 5, 60, 29)),
        ((8, 9, 8, 9), (8, 9, 9, 10)),
    ):
        x0, y0, x1, y1 = inside
        alone = describe_colours(image[y0:y1, x0:x1], (0, 0, x1 - x0, y1 - y0))
        np.testing.assert_array_equal(describe_colours(image, over), alone, str(over))


def test_a_face_is_wholly_like_itself_and_black_is_not_at_all_like_white():
    box = (0, 0, 24, 24)
    looks = [describe_colours(np.full((24, 24, 3), value, np.uint8), box) for value in (0, 255)]
    assert colour_likeness(looks[0], looks[0]) == pytest.approx(1)
    # Of the three channels two, which tell colours, are the same.
    assert colour_likeness(*looks) == pytest.approx(2 / 3, abs=1e-6)


def test_likeness_is_the_mean_overlap_of_the_histograms():
    first, second = RNG.dirichlet(np.ones(16), (2, 9)).astype(np.float32)
    # Bhattacharyya: of two distributions the sum of the roots of the products.
    expected = np.mean([sum(map(np.sqrt, a * b)) for a, b in zip(first, second, strict=True)])
    assert colour_likeness(first, second) == pytest.approx(expected)
    assert cv2.compareHist(first[0], second[0], cv2.HISTCMP_BHATTACHARYYA) == pytest.approx(
        np.sqrt(1 - colour_likeness(first[:1], second[:1])), abs=1e-5
    )
