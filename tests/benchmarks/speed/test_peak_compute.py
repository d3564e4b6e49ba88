"""The peak is that of the fastest library, for each arithmetic."""

import numpy as np
import torch

from emonet_deploy.benchmarks.speed.peak_compute import Probe, fastest, probes
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
