"""The peak is that of the fastest library, for each arithmetic."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from emonet_deploy.benchmarks.speed import peak_compute
from emonet_deploy.benchmarks.speed.peak_compute import (
    Probe,
    _in_onnxruntime,
    _int8_product,
    _product,
    fastest,
    probes,
)
from emonet_deploy.runtime.hardware.cpu import usable_processors


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_fastest_of_each_arithmetic_is_the_peak():
    clock = Clock()

    def taking(*durations):
        waiting = list(durations)

        def call():
            clock.now += waiting.pop(0)

        return call

    found = fastest(
        iter(
            [
                Probe("slow", "float32", 100, taking(9, 9, 9, 9)),
                Probe("fast after a first call", "float32", 100, taking(50, 2, 2, 2)),
                Probe("alone", "int8", 100, taking(4, 4, 4, 4)),
            ]
        ),
        clock,
    )
    names = {arithmetic: probe.library for arithmetic, probe in found.items()}
    assert names == {"float32": "fast after a first call", "int8": "alone"}


def test_every_library_multiplies_and_int8_is_among_them():
    size = 64
    found = {(p.library, p.arithmetic): p for p in probes(usable_processors(), size)}
    assert {("PyTorch", "float32"), ("NumPy", "float32"), ("ONNX Runtime", "float32")} <= set(found)
    assert ("ONNX Runtime", "int8") in found
    for (library, arithmetic), probe in found.items():
        assert probe.macs == size**3
        result = probe.call()
        if library == "ONNX Runtime":
            (product,) = result
            assert product.dtype == (np.int32 if arithmetic == "int8" else np.float32)
            assert np.any(product)


def test_the_peak_of_one_thread_is_not_that_of_all_processors(monkeypatch):
    """A library that cannot be told takes them all: shares of its rate would be halved."""
    module = "emonet_deploy.benchmarks.speed.peak_compute.usable_processors"
    monkeypatch.setattr(module, lambda: 2)
    before = torch.get_num_threads()
    try:
        libraries = {probe.library for probe in probes(1, 64)}
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert {"PyTorch", "ONNX Runtime"} <= libraries
    assert "NumPy" not in libraries
    assert "NumPy" in {probe.library for probe in probes(2, 64)}


@pytest.mark.parametrize(("processors", "size"), [(1, 1024), (7, 1024), (8, 2048), (64, 2048)])
def test_products_are_large_enough_to_keep_all_processors_busy(monkeypatch, processors, size):
    monkeypatch.setattr(peak_compute, "usable_processors", lambda: processors)
    first = next(probes())
    assert (first.library, first.arithmetic, first.macs) == ("PyTorch", "float32", size**3)


@pytest.mark.parametrize(
    ("flags", "there"),
    [({"avx2"}, False), ({"avx512_bf16", "avx2"}, True), ({"amx_bf16"}, True), ({"bf16"}, True)],
)
def test_bfloat16_is_measured_where_there_are_instructions_for_it(monkeypatch, flags, there):
    monkeypatch.setattr(peak_compute, "processor", lambda: ("a processor", frozenset(flags)))
    found = {probe.arithmetic: probe for probe in probes(usable_processors(), 32)}
    assert ("bfloat16" in found) is there
    if there:
        assert found["bfloat16"].call().dtype == torch.bfloat16


def test_the_products_are_those_of_their_matrices():
    """In int8 uint8 meets int8, and two neighbours' products stay below 16 bits."""
    rng = np.random.default_rng(1)
    for content, kind in ((_product(24), np.float32), (_int8_product(24), np.uint8)):
        model = onnx.load_from_string(content)
        weights = numpy_helper.to_array(model.graph.initializer[0])
        values = rng.integers(0, 63, (24, 24)).astype(kind)
        (found,) = _in_onnxruntime(content, 1, values)()
        want = values.astype(np.float64) @ weights.astype(np.float64)
        np.testing.assert_allclose(found, want, rtol=1e-5)
        if kind == np.uint8:
            assert weights.dtype == np.int8
            assert weights.min() < 0 < weights.max()
            assert 2 * 63 * np.abs(weights.astype(int)).max() < 1 << 15
