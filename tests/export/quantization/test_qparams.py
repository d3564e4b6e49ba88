import numpy as np
import pytest
import torch

from emonet_deploy.export.quantization.qparams import QuantizedConv, QuantParams, half_scales


@pytest.mark.parametrize(
    ("low", "high", "symmetric", "scale", "zero"),
    [
        (0.0, 255.0, False, 1.0, 0),
        (0.0, 255.0, True, 1.0, 0),  # nothing is negative: all codes for what is not
        (3.0, 255.0, False, 1.0, 0),  # 0 is covered in any case
        (-64.0, 191.0, False, 1.0, 64),
        (-255.0, 0.0, False, 1.0, 255),
        (-255.0, -3.0, False, 1.0, 255),
        (-127.0, 64.0, True, 1.0, 128),
        (-64.0, 127.0, True, 1.0, 128),
        (-0.25, 127.25, False, 0.5, 0),  # half of a step: rounded to even
    ],
)
def test_the_range_has_all_codes_and_0_has_one_of_them(low, high, symmetric, scale, zero):
    found = QuantParams.from_range(low, high, symmetric)
    assert float(found.scale) == scale
    assert found.zero_point == zero


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("low", "high"), [(-1.3, 2.9), (0.0, 0.7), (-5.0, 0.1)])
def test_values_in_the_range_are_off_by_half_a_step_at_most(low, high, symmetric):
    found = QuantParams.from_range(low, high, symmetric)
    x = torch.linspace(low, high, 1001)
    back = found.fake_quantize(x.clone())
    # The scale is rounded to half, which moves the ends by a 2048th of the range.
    assert (back - x).abs().max() <= float(found.scale) * 0.5 + (high - low) / 1800
    codes = back / float(found.scale) + found.zero_point
    assert (codes - codes.round()).abs().max() < 1e-2
    assert codes.min() >= -0.01
    assert codes.max() <= 255.01
    assert float(found.fake_quantize(torch.zeros(1))) == 0


def test_values_beyond_the_range_are_clipped_to_its_ends():
    found = QuantParams(np.float32(0.5), 64)
    x = torch.tensor([-1e6, -32.0, -31.6, 0.3, 95.5, 1e6])
    assert found.fake_quantize(x.clone()).tolist() == [-32, -32, -31.5, 0.5, 95.5, 95.5]


def test_a_tensor_without_values_but_0_has_a_scale_that_half_can_write():
    found = QuantParams.from_range(0.0, 0.0)
    assert 0 < float(found.scale) < 2e-6
    assert float(np.float16(found.scale)) == float(found.scale)


def test_scales_are_those_of_half_kept_in_float32():
    scales = half_scales(np.array([1 / 3, 1e-12, 2.0], np.float32))
    assert scales.dtype == np.float32
    np.testing.assert_array_equal(scales[[0, 2]], np.float32(np.float16([1 / 3, 2.0])))
    assert scales[1] == np.float32(np.float16(1e-6))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1, 1)])
def test_integers_stand_for_steps_of_their_output_channel(shape):
    codes = np.arange(-3, 3, dtype=np.int8).reshape(shape)
    layer = QuantizedConv(QuantParams(np.float32(1), 0), codes, np.array([0.5, 2], "f"),
                          np.zeros(2, "f"))  # fmt: skip
    assert layer.dequantized_weight.dtype == np.float32
    assert layer.dequantized_weight.ravel().tolist() == [-1.5, -1.0, -0.5, 0.0, 2.0, 4.0]
