"""Rows of ``emonet bench``, as they would be measured."""

from dataclasses import replace

from emonet_deploy.benchmarks.speed.bench import BenchRow

ROW = BenchRow(
    backend="onnx", provider="CPUExecutionProvider", precision="fp32", target="cpu", threads=2,
    batch=1, n=100, p50_ms=140.0, p90_ms=147.0, p95_ms=150.0, p99_ms=160.0, throughput=7.14,
    peak_rss_mb=400.0, cold_start_ms=900.0, size_mb=56.4, speedup=2.2, agreement=1.0,
    ccc_valence=1.0, ccc_arousal=1.0, macs=6_800_000_000, peak_share=0.5,
)  # fmt: skip
PEER = replace(
    ROW, backend="peer", provider="ncnn 1.0 <x>", target=None, peak_rss_mb=None,
    cold_start_ms=None, size_mb=None, speedup=2.0, throughput=6.5,
)  # fmt: skip
INT8 = replace(
    ROW, precision="int8", speedup=3.0, throughput=9.7, ccc_valence=0.992, ccc_arousal=0.995
)
