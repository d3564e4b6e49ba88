from dataclasses import replace
from pathlib import Path

import pytest

from emonet_deploy.benchmarks.speed import roofline
from emonet_deploy.benchmarks.speed.count_operations import LayerCost, count_operations, total_macs


@pytest.fixture(scope="module")
def costs(onnx8):
    return count_operations(onnx8)


@pytest.fixture(scope="module")
def layers(costs):
    return roofline.fuse(costs)


def test_fusing_keeps_all_operations(costs, layers):
    assert total_macs(layers) == total_macs(costs)
    assert len(layers) < len(costs) / 2


@pytest.mark.parametrize("device", roofline.DEVICES, ids=lambda device: device.name)
def test_no_estimate_beats_the_data_sheet(layers, device):
    for precision in ("fp32", "fp16", "int8"):
        found = roofline.estimate(layers, device, precision, 32, embedded=True)
        assert found.compute_ms > 32 * 2 * 16.9e9 / (device.tflops[precision] * 1e12) * 1e3
        assert found.throughput <= 32e3 / found.compute_ms


def test_a_layer_is_bound_by_arithmetic_or_by_memory_whichever_is_longer():
    # 600 GFLOP at 60% of 1 TFLOPS take one second; 0.6 GB at 60% of 1 GB/s take one second.
    device = roofline.Device("d", {"fp32": 1, "fp16": 1, "int8": 1}, 1, None)
    heavy = LayerCost("heavy", "Conv", int(300e9), 0, 0, 0)
    long = LayerCost("long", "Conv", 0, int(0.15e9), 0, 0)

    def seconds(layer):
        return roofline.estimate([layer], device, "fp32", 1, embedded=False).compute_ms / 1e3

    assert seconds(heavy) == pytest.approx(1, rel=1e-4)
    assert seconds(long) == pytest.approx(1, rel=1e-4)
    assert seconds(replace(heavy, weights=long.weights)) == pytest.approx(1, rel=1e-4)


def test_embedded_processing_moves_a_tenth_of_the_bytes():
    # uint8 pixels and 68 landmarks instead of float pixels and 68 maps.
    assert roofline.host_bytes(embedded=False) == 4 * (3 * 256**2 + 10 + 68 * 64**2)
    assert roofline.host_bytes(embedded=True) == 3 * 256**2 + 4 * (10 + 68 * 3)


def test_the_page_in_docs_is_what_the_script_prints(costs):
    page = Path(__file__).parents[3] / "docs" / "gpu-roofline.md"
    assert page.read_text(encoding="utf-8") == roofline.report(costs)
