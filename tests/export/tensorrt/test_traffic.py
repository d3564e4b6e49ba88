import pytest

from emonet_deploy.export.tensorrt.inspector import Layer, LayerTensor
from emonet_deploy.export.tensorrt.traffic import traffic


def tensor(kind, *shape):
    return LayerTensor(shape, kind)


CONV = Layer(
    "c", "correlation",
    inputs=(tensor("int8", -1, 10, 10, 10),),
    constants=(tensor("int8", 20, 10), tensor("float", 20)),
    outputs=(tensor("half", -1, 20, 10, 10),),
)  # fmt: skip


def test_each_tensor_counts_once_for_each_kernel_weights_once_for_a_batch():
    found = traffic([CONV], 4)
    # 4 x 1000 bytes in, 200 + 80 of constants, 4 x 2000 x 2 out.
    assert found.megabytes == pytest.approx((4000 + 280 + 16000) / 4 / 1e6)
    assert (found.batch, found.kernels) == (4, 1)
    assert traffic([CONV, CONV], 4).megabytes == pytest.approx(2 * found.megabytes)
    assert traffic([CONV], 1).megabytes == pytest.approx((1000 + 280 + 4000) / 1e6)


@pytest.mark.parametrize(
    ("kind", "size"),
    [("int8", 1), ("uint8", 1), ("bool", 1), ("fp8", 1), ("half", 2), ("bf16", 2), ("int64", 8),
     ("float", 4), ("int32", 4), ("unknown", 4)],
)  # fmt: skip
def test_bytes_of_each_type(kind, size):
    layer = Layer("x", "kgen", inputs=(tensor(kind, 1000),))
    assert traffic([layer], 1).megabytes == pytest.approx(size / 1000)


def test_shapes_computed_on_the_host_are_no_kernels():
    host = Layer("s", "shape_call", inputs=(tensor("int64", 4),))
    found = traffic([host, CONV], 2)
    assert found == traffic([CONV], 2)
    assert traffic([host], 2).kernels == 0


def test_convolutions_are_counted_by_their_types_the_most_frequent_first():
    half = Layer("h", "conv", inputs=(tensor("half", 1), tensor("float", 1)),
                 outputs=(tensor("half", 1),))  # fmt: skip
    other = Layer("o", "kgen", inputs=(tensor("half", 1),), outputs=(tensor("half", 1),))
    found = traffic([half, CONV, other, CONV], 1)
    assert list(found.convolutions.items()) == [("int8 -> half", 2), ("float/half -> half", 1)]
    assert found.kernels == 4
    assert str(found).endswith("4 kernels; convolutions: 2 int8 -> half, 1 float/half -> half")
    assert str(traffic([other], 8)) == "moves 0.0 MB per image at batch 8, 1 kernels"
