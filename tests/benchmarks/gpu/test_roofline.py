import json
from dataclasses import replace
from pathlib import Path

import pytest

from emonet_deploy.benchmarks.gpu import roofline
from emonet_deploy.benchmarks.speed.count_operations import NETWORK_MACS

COMPILED = roofline.read_kernels()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_compiled_kernels_do_the_networks_operations(precision):
    # Where two products became one there are a few less, and the last layers add a few.
    macs = sum(kernel.macs for kernel in COMPILED[precision])
    assert macs == pytest.approx(NETWORK_MACS, rel=0.02)


@pytest.mark.parametrize("device", roofline.DEVICES, ids=lambda device: device.name)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_no_estimate_beats_the_data_sheet(device, precision):
    found = roofline.estimate_ms(COMPILED[precision], device, 32)
    assert found > 32 * 2 * 16.6e9 / (device.tflops[precision] * 1e12) * 1e3
    moved = 32 * sum(kernel.image_bytes for kernel in COMPILED[precision])
    assert found > moved / (device.bandwidth * 1e9) * 1e3


def test_a_kernel_is_bound_by_arithmetic_or_by_memory_whichever_is_longer():
    # 600 GFLOP at 60% of 1 TFLOPS take one second; 0.8 GB at 80% of 1 GB/s take one second.
    device = roofline.Device("d", {"fp32": 1, "fp16": 2, "int8": 4}, 1, None)
    heavy = roofline.Kernel("float", int(300e9), 0, 0)
    long = roofline.Kernel("float", 0, int(0.5e9), int(0.3e9))

    def seconds(kernel, batch=1):
        return roofline.estimate_ms([kernel], device, batch) / 1e3

    assert seconds(heavy) == pytest.approx(1, rel=1e-4)
    assert seconds(long) == pytest.approx(1, rel=1e-4)
    assert seconds(long, 2) == pytest.approx(1.3 / 0.8, rel=1e-4)  # weights are read once
    assert seconds(replace(heavy, image_bytes=1)) == pytest.approx(1, rel=1e-4)
    assert seconds(replace(heavy, type="int8")) == pytest.approx(1 / 4, rel=1e-4)


def test_a_layer_of_the_report_becomes_a_kernel():
    layer = {
        "kind": "correlation",
        "name": "__myl_1",
        "precision": "half",
        "weights": [64, 32, 3, 3],
        "inputs": [{"shape": [-1, 32, 16, 16], "type": "half"}],
        "constants": [{"shape": [64, 32, 3, 3], "type": "half"}, {"shape": [64], "type": "float"}],
        "outputs": [{"shape": [-1, 64, 8, 8], "type": "float"}],
    }
    shape = layer | {"kind": "shape_call"}
    assert roofline.kernels_of([layer, shape]) == [
        roofline.Kernel(
            type="half",
            macs=64 * 32 * 9 * 64,
            image_bytes=2 * 32 * 256 + 4 * 64 * 64,
            constant_bytes=2 * 64 * 32 * 9 + 4 * 64,
        )
    ]


def test_embedded_processing_moves_a_tenth_of_the_bytes():
    # uint8 pixels and 68 landmarks instead of float pixels and 68 maps.
    assert roofline.host_bytes(embedded=False) == 4 * (3 * 256**2 + 10 + 68 * 64**2)
    assert roofline.host_bytes(embedded=True) == 3 * 256**2 + 4 * (10 + 68 * 3)


def test_the_page_in_docs_is_what_the_script_prints():
    page = Path(__file__).parents[3] / "docs" / "gpu-roofline.md"
    assert page.read_text(encoding="utf-8") == roofline.page()


def a_layer(**changes):
    plain = {"kind": "conv", "name": "x", "precision": "int8", "weights": [8, 4, 1, 1]}
    tensors = {"inputs": [], "constants": [], "outputs": [{"shape": [1, 8, 2, 3], "type": "int8"}]}
    return plain | tensors | changes


@pytest.mark.parametrize(
    ("changes", "macs"),
    [
        ({}, 8 * 4 * 6),
        ({"kind": "CaskGemm"}, 8 * 4 * 6),
        ({"kind": "other", "name": "fused MatMul"}, 8 * 4 * 6),
        ({"kind": "other", "name": "pool"}, 0),
        ({"weights": [8]}, 0),
        ({"weights": []}, 0),
        ({"weights": [8, 4]}, 8 * 4 * 6),
        ({"outputs": []}, 0),
        ({"outputs": [{"shape": [-1, 8], "type": "half"}]}, 8 * 4),
        ({"outputs": [{"shape": [-1, 8, -1, 3], "type": "half"}]}, 8 * 4 * 3),
    ],
)
def test_only_what_multiplies_by_weights_has_products(changes, macs):
    (kernel,) = roofline.kernels_of([a_layer(**changes)])
    assert kernel.macs == macs


@pytest.mark.parametrize(
    ("kind", "size"),
    [("int8", 1), ("uint8", 1), ("bool", 1), ("fp8", 1), ("half", 2), ("bf16", 2), ("float", 4),
     ("int32", 4), ("int64", 8)],
)  # fmt: skip
def test_tensors_have_the_bytes_of_their_type(kind, size):
    tensor = {"shape": [-1, 3, 5], "type": kind}
    (kernel,) = roofline.kernels_of([a_layer(inputs=[tensor], outputs=[], constants=[tensor] * 2)])
    assert (kernel.image_bytes, kernel.constant_bytes) == (15 * size, 30 * size)


def test_kernels_in_other_types_compute_as_float32_and_each_is_launched():
    device = roofline.Device("d", {"fp32": 1, "fp16": 2, "int8": 4}, 1, None)
    kernel = roofline.Kernel("float", int(300e9), 0, 0)
    for kind, seconds in (("float", 1), ("bf16", 1), ("half", 1 / 2), ("int8", 1 / 4)):
        found = roofline.estimate_ms([replace(kernel, type=kind)] * 2, device, 3)
        assert found == pytest.approx(2 * 3 * 1e3 * seconds, rel=1e-4)
    empty = roofline.Kernel("half", 0, 0, 0)
    assert roofline.estimate_ms([empty] * 500, device, 1) == pytest.approx(1)  # 2 us each
    assert roofline.estimate_ms([], device, 1) == 0


def test_reports_of_builds_become_the_file_of_kernels(tmp_path):
    texts = []
    for precision, layers in (("fp16", [a_layer()]), ("int8", [a_layer(), a_layer(weights=[])])):
        path = tmp_path / f"{precision}.json"
        path.write_text(json.dumps({"builder": "TensorRT 11", "layers": layers}))
        texts.append(f"{precision}={path}")
    made = tmp_path / "kernels.json"
    made.write_text(roofline._compiled(texts))
    assert json.loads(made.read_text())["about"] == "TensorRT 11"
    kernel = roofline.Kernel("int8", 192, 48, 0)
    assert roofline.read_kernels(made) == {
        "fp16": [kernel],
        "int8": [kernel, replace(kernel, macs=0)],
    }
