"""The page of benchmarks is what its script prints of the results that are committed."""

import json

from helpers.bench_rows import ROW
from helpers.docs_scripts import load_script
from helpers.rooms import ROOT


def test_the_page_is_up_to_date():
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert page == load_script("benchmarks_page").page()


def test_a_machine_and_a_gpu_each_have_a_table(tmp_path):
    about = {
        "cpu": "Some CPU", "cores": 4, "cpu_flags": ["avx2"], "date": "2026-01-02T03:04:05",
        "toolkit": "0.1", "python": "3.12", "packages": {"torch": "2.9"},
    }  # fmt: skip
    rows = [ROW.to_dict(), ROW.to_dict() | {"peak_library": "ONNX Runtime"}]
    (tmp_path / "a.json").write_text(json.dumps({"environment": about, "rows": rows}))
    (tmp_path / "kernels.json").write_text("{}")
    # What `emonet bench --serve` writes; the table's ratios are told as they were measured.
    served = {
        "url": "http://127.0.0.1:8000/v1/crop", "connections": 16, "requests": 99, "errors": 0,
        "throughput": 9.5, "p50_ms": 1.0, "p90_ms": 2.0, "p99_ms": 3.0, "batch": 8.0,
        "server_cpu_ms": None, "server_mb": None, "alone_throughput": 10.0, "alone_cpu_ms": 4.0,
        "throughput_ratio": 0.95, "cpu_ratio": None,
    }  # fmt: skip
    (tmp_path / "served.json").write_text(json.dumps({"environment": about, "rows": [served]}))
    proof = {"title": "EmoNet on A GPU", "columns": ["x", "y"], "rows": [["1", "2"]]}
    folder = tmp_path / "gpu" / "a-gpu-2026"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(proof | {"sentences": ["use it"]}))
    page = load_script("benchmarks_page").page(tmp_path)
    assert "## Some CPU, 4 cores (avx2)" in page
    first, second = [line for line in page.splitlines() if line.startswith("| onnx (cpu)")]
    assert " 50% " in second  # against the fastest library; shares of an unnamed one mean nothing
    assert " 50% " not in first
    assert "| /v1/crop | 16 | 99 | 0 | 9.5 |" in page
    assert "| 0.95 | - |" in page
    for part in ("## A GPU", "- use it", "| 1 | 2 |"):
        assert part in page
    assert "No GPU has been measured" not in page
