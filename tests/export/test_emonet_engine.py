"""EmoNet itself through TensorRT-RTX's compiler."""

import pytest

from emonet_deploy.export.build_options import BuildOptions
from emonet_deploy.export.engine import build_engine

pytest.importorskip("tensorrt_rtx")


@pytest.mark.parametrize("sm", [(), (75, 80, 86, 89, 120)])
def test_every_convolution_is_found_and_runs_in_float32(onnx8, tmp_path, sm):
    engine = build_engine(onnx8, tmp_path, "trt-rtx", BuildOptions(sm=sm))
    assert len(engine.convolutions) == 115
    assert set(engine.convolutions.values()) == {"float"}
