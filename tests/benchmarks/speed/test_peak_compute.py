"""The peak is that of the fastest library, for each arithmetic."""

import numpy as np

from emonet_deploy.benchmarks.speed.peak_compute import Probe, fastest, probes


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
    found = {(probe.library, probe.arithmetic): probe for probe in probes(1, size)}
    assert {("PyTorch", "float32"), ("NumPy", "float32"), ("ONNX Runtime", "float32")} <= set(found)
    assert ("ONNX Runtime", "int8") in found
    for (library, arithmetic), probe in found.items():
        assert probe.macs == size**3
        result = probe.call()
        if library == "ONNX Runtime":
            (product,) = result
            assert product.dtype == (np.int32 if arithmetic == "int8" else np.float32)
            assert np.any(product)
