import numpy as np
import pytest
from helpers.onnx_models import rewritten, run
from helpers.small_graph import small

from emonet_deploy.export.passes.gemm_to_conv import gemm_to_conv

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 2, 2)).astype("f")


@pytest.mark.parametrize("bias", ["", " b"])
@pytest.mark.parametrize(
    ("shape", "attributes"), [((5, 16), {"transB": 1}), ((16, 5), {}), ((16, 5), {"transB": 0})]
)
def test_a_linear_layer_becomes_a_convolution_of_one_pixel(shape, attributes, bias):
    model = small(
        [("Reshape", "x shape", "f", {}), ("Gemm", f"f w{bias}", "g", attributes),
         ("Relu", "g", "y", {})],
        {"shape": np.array([0, -1]), "w": RNG.normal(size=shape), "b": RNG.normal(size=5)},
        x=("N", 4, 2, 2),
    )  # fmt: skip
    found = rewritten(model, gemm_to_conv)
    assert [n.op_type for n in found.graph.node] == ["Reshape"] * 2 + ["Conv", "Reshape", "Relu"]
    for n in (1, 3):
        want = run(model, X[:n])["y"]
        np.testing.assert_allclose(run(found, X[:n])["y"], want, atol=1e-5)


def test_a_product_of_what_is_computed_stays():
    model = small(
        [("Reshape", "x shape", "f", {}), ("Gemm", "f f", "y", {"transB": 1})],
        {"shape": np.array([0, -1])}, x=(3, 4, 2, 2),
    )  # fmt: skip
    assert rewritten(model, gemm_to_conv) == model
