import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_deploy.runtime.detection.iou import box_iou


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 4), min_size=1, max_size=5))
@settings(deadline=None)
def test_box_iou_counts_pixels(raw):
    boxes = [(x, y, x + w, y + h) for x, y, w, h in raw]

    def pixels(box):
        return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}

    table = box_iou(boxes, boxes)
    for i, a in enumerate(map(pixels, boxes)):
        for j, b in enumerate(map(pixels, boxes)):
            assert table[i, j] == pytest.approx(len(a & b) / len(a | b) if a | b else 0)
