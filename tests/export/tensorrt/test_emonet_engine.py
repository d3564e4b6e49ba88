"""EmoNet itself through TensorRT-RTX's compiler."""

from dataclasses import replace

import onnx
import pytest

from emonet_deploy.export.onnx import save_model
from emonet_deploy.export.passes.embed_processing import embed_processing
from emonet_deploy.export.passes.fp16 import convert_fp16
from emonet_deploy.export.passes.maxpool_to_slices import pool_to_max
from emonet_deploy.export.passes.merge_pointwise import merge_pointwise
from emonet_deploy.export.tensorrt.build_engine import build_engine
from emonet_deploy.export.tensorrt.options import BuildOptions
from emonet_deploy.runtime.metadata import read_info, tensors_of

pytest.importorskip("tensorrt_rtx")

CONVOLUTIONS = {"fp32": 115, "fp16": 114}  # fp16 has two merged into one

# Per image at batch 8. 16 MB more than of the stand-in, whose two norms behind the first layer are
# equal and computed once. With sums in float32 fp16 moves 90 MB more.
MOST_MEGABYTES = {"fp32": 535, "fp16": 270}
MOST_KERNELS = {"fp32": 252, "fp16": 235}


def converted(source, folder, precision, interface):
    """Return EmoNet's ONNX file in a precision and with an interface."""
    model = onnx.load(source)
    if precision == "fp16":
        for rewrite in (merge_pointwise, pool_to_max, convert_fp16):
            rewrite(model)
    if interface == "image":
        embed_processing(model)
    inputs, outputs = tensors_of(8, interface)
    info = replace(
        read_info(source), precision=precision, interface=interface, inputs=inputs, outputs=outputs
    )
    return save_model(model, folder / f"emonet_8.{precision}.onnx", info)


@pytest.mark.parametrize(
    ("precision", "runs_in", "interface", "sm"),
    [
        ("fp32", "float", "tensor", (89,)),
        ("fp32", "float", "image", (75,)),
        ("fp16", "half", "tensor", (89,)),
        ("fp16", "half", "image", (89,)),
        ("fp16", "half", "image", (75, 80, 86, 89, 120, 121)),
    ],
)
def test_every_convolution_runs_in_the_precision_asked_for(
    onnx8, tmp_path, precision, runs_in, interface, sm
):
    model = converted(onnx8, tmp_path, precision, interface)
    engine = build_engine(model, None, "trt-rtx", BuildOptions(sm=sm))
    found = dict(engine.convolutions)
    assert len(found) == CONVOLUTIONS[precision]
    assert found.pop("conv1") == "float"
    assert set(found.values()) == {runs_in}
    if sm == (89,):
        assert engine.traffic.megabytes <= MOST_MEGABYTES[precision]
        assert engine.traffic.kernels <= MOST_KERNELS[precision]
        # What a convolution writes decides what all that follows moves.
        types = engine.traffic.convolutions
        assert types.pop(f"{runs_in} -> {runs_in}") >= 108
        assert sum(types.values()) <= 3
