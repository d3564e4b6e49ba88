import json

import pytest

from emonet_deploy.benchmarks.environment import describe_environment
from emonet_deploy.benchmarks.speed.bench import Candidate, run_bench
from emonet_deploy.benchmarks.speed.footprint import measure_footprint
from emonet_deploy.emonet_ref.synthetic.faces import PARITY_SEED, crops, make_faces
from emonet_deploy.errors import BackendError
from emonet_deploy.runtime.backends.registry import load_session


def test_a_row_for_each_artifact_and_batch_with_speed_and_agreement(onnx8):
    with load_session(onnx8, device="cpu") as reference, load_session(onnx8) as made:
        twin = onnx8.with_name("twin.onnx")
        twin.write_bytes(onnx8.read_bytes())
        rows = run_bench(
            Candidate(reference, onnx8),
            [Candidate(made, twin)],
            [1, 2],
            crops(make_faces(4, PARITY_SEED)),
            seconds=0.1,
        )
    assert [row.batch for row in rows] == [1, 2]
    for row in rows:
        assert row.n >= 5
        assert row.p50_ms <= row.p90_ms <= row.p99_ms
        assert row.throughput == pytest.approx(row.batch / row.p50_ms * 1e3)
        assert row.agreement == 1
        assert row.size_mb == pytest.approx(onnx8.stat().st_size / 1e6)
        json.dumps(row.to_dict(), allow_nan=False)


def test_memory_at_batch_1_stays_below_600_mb(onnx8):
    footprint = measure_footprint(onnx8, "onnx", 1, 2)
    assert footprint.peak_rss_mb is not None
    assert 100 < footprint.peak_rss_mb < 600


def test_a_process_that_fails_is_reported_in_one_line(tmp_path):
    with pytest.raises(BackendError, match="no ONNX model") as caught:
        measure_footprint(tmp_path / "missing.onnx", "onnx", 1, None)
    assert "\n" not in str(caught.value)


def test_the_environment_is_json_without_gaps():
    environment = json.loads(json.dumps(describe_environment(), allow_nan=False))
    assert environment["cores"] >= 1
    assert environment["packages"]["numpy"]
    assert environment["cpu"]
