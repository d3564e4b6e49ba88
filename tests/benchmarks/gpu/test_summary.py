"""What a proof found, of rows as the stages leave them."""

import json

import pytest

from emonet_deploy.benchmarks.gpu.stage import Outcome, Record, Settings
from emonet_deploy.benchmarks.gpu.summary import stage_table, summarize
from emonet_deploy.benchmarks.speed.count_operations import NETWORK_MACS


def row(name, batch=1, p50=10.0, throughput=None, precision="fp16", **more):
    return {
        "name": name, "batch": batch, "precision": precision, "p50_ms": p50, "p99_ms": 2 * p50,
        "gpu_ms": None, "throughput": throughput or 1000 * batch / p50,
        "throughput_by_threads": {"1": 100.0}, "clock_mhz": None,
    } | more  # fmt: skip


@pytest.fixture
def summary(tmp_path):
    """Return what summarizes rows of stages."""

    def summarize_rows(outcomes=(), **stages):
        for stage, rows in stages.items():
            record = Record(tmp_path / f"{stage}.json")
            for fields in rows:
                record.add(**fields)
        return summarize(Settings(tmp_path, tmp_path), outcomes)

    return summarize_rows


def cells(report, line=0):
    return dict(zip(report.table.columns, report.table.rows[line], strict=True))


def test_a_line_holds_what_was_measured(summary):
    found = row(
        "trt fp16 image latency", 8, 4.0, gpu_ms=3.25, clock_mhz=1500,
        throughput_by_threads={"1": 1999.6, "2": 2500.0},
    )  # fmt: skip
    judged = {
        "name": found["name"], "agreement": 0.99, "ccc_valence": 0.9991, "ccc_arousal": 0.9987,
        "passed": True, "gated": True,
    }  # fmt: skip
    # 2 * MACs * 8 in 3.25 ms are so many TFLOPS.
    rate = 2 * NETWORK_MACS * 8 / 3.25e-3 / 1e12
    report = summary(
        speed=[found, row("PyTorch eager fp16", 8, 8.0, 1000.0)],
        parity=[judged],
        ceilings=[{"name": "matrix product fp16", "value": 4 * rate}, {"name": "x", "failed": "y"}],
    )
    assert cells(report) == {
        "what runs": "trt fp16 image latency", "batch": "8", "GPU ms": "3.250", "p50 ms": "4.000",
        "p99 ms": "8.000", "images/s": "2000", "2 threads": "2500", "4 threads": "-",
        "of ceiling": "25%", "x best PyTorch": "2.00", "MHz": "1500", "equal classes": "99.0%",
        "CCC": "0.99870", "gates": "passed",
    }  # fmt: skip
    # Where the device's own clock was not read, the call's time counts.
    assert cells(report, 1)["of ceiling"] == f"{0.25 * 3.25 / 8:.0%}"


@pytest.mark.parametrize(
    ("judged", "text", "ccc"),
    [
        (None, "-", "-"),
        ({"failed": "why"}, "-", "-"),
        ({"passed": True, "gated": False, "ccc_valence": 0.5}, "passed", "0.50000"),
        ({"passed": False, "gated": True, "ccc_arousal": 0.5}, "failed", "0.50000"),
        ({"passed": False, "gated": False}, "not gated", "-"),
    ],
)
def test_the_gates_are_those_of_the_same_name(summary, judged, text, ccc):
    parity = [] if judged is None else [{"name": "a", **judged}]
    report = summary(speed=[row("a"), row("a without a graph"), row("b")], parity=parity)
    for line, expected in enumerate([text, text, "-"]):
        assert cells(report, line)["gates"] == expected
    assert cells(report)["CCC"] == ccc


def test_the_best_of_pytorch_is_of_the_same_batch_and_without_torch_tensorrt(summary):
    report = summary(
        speed=[
            row("onnx", 1, 10.0, 300.0),
            row("onnx", 2, 10.0, 300.0),
            row("onnx", 4, 10.0, 300.0),
            row("PyTorch eager fp32", 1, 10.0, 100.0),
            row("PyTorch eager fp16", 1, 10.0, 150.0),
            row("PyTorch graph fp16", 1, 10.0, 120.0),
            row("PyTorch torch-tensorrt fp16", 1, 10.0, 900.0),
            row("PyTorch eager fp16", 2, 10.0, 0.5),
        ]
    )
    ratios = [cells(report, line)["x best PyTorch"] for line in range(4)]
    assert ratios == ["2.00", "600.00", "-", "0.67"]


def test_tf32_and_types_without_a_product_have_no_ceiling(summary):
    report = summary(
        speed=[row("PyTorch eager tf32", precision="fp32"), row("x", precision="int8"), row("y")],
        ceilings=[{"name": f"matrix product {kind}", "value": 50.0} for kind in ("fp32", "fp16")],
    )
    assert [cells(report, line)["of ceiling"] == "-" for line in range(3)] == [True, True, False]


def test_what_to_use_is_the_fastest_that_passed(summary):
    good = [{"name": name, "passed": True, "gated": True} for name in ("quick", "many")]
    report = summary(
        speed=[
            row("quick", 2, 5.0, 400.0),
            row("many", 2, 6.0, 333.0),
            row("many", 8, 4.0, 500.0, throughput_by_threads={"1": 100.0, "4": 777.4}),
            row("wrong", 2, 1.0, 2000.0),
            {"name": "broken", "failed": "no memory"},
        ],
        parity=[*good, {"name": "wrong", "passed": False, "gated": True}],
    )
    assert report.sentences == [
        "use for one face at once: quick, 5.00 ms at batch 2",
        "use for many faces: many, 777 images/s at batch 8",
    ]
    assert len(report.table.rows) == 4


def test_int8_is_held_against_fp16_of_the_same_batch(summary):
    report = summary(
        speed=[
            row("trt fp16 image", 1, 10.0, 100.0),
            row("trt fp16 image", 8, 10.0, 200.0),
            row("trt int8 image", 1, 10.0, 80.0),
            row("trt int8 image", 8, 10.0, 300.0),
            row("trt int8 image", 16, 10.0, 300.0),
            row("onnx fp16", 1, 10.0, 100.0),
            row("onnx int8", 1, 10.0, 100.0),
            row("int8", 1),
        ]
    )
    assert report.sentences == [
        "trt int8 image is 0.80 to 1.50 times as fast as fp16 here",
        "onnx int8 is 1.00 to 1.00 times as fast as fp16 here; it does not pay",
    ]


def test_what_a_graph_gains_and_what_was_measured_again_is_said(summary):
    report = summary(
        speed=[
            row("a", 1, 2.0, repeated=True),
            row("a without a graph", 1, 3.0, repeated=True),
            row("a", 4, 2.0),
        ]
    )
    assert report.sentences == [
        "a CUDA graph gains 1.50 with a at batch 1",
        "2 rows were measured again: the card was at its idle clock",
    ]


def test_the_title_names_the_card_and_what_drives_it(summary):
    assert summary().title == "EmoNet on an NVIDIA GPU, driver unknown, toolkit unknown"
    gpu = {"name": "NVIDIA L4", "driver_version": "570.1"}
    report = summary(environment=[{"name": "environment", "gpu": gpu, "toolkit": "1.2"}])
    assert report.title == "EmoNet on NVIDIA L4, driver 570.1, toolkit 1.2"


def test_the_page_and_the_json_hold_all_of_it(summary):
    outcomes = [Outcome("tests", "left out", 1.6, "no clone"), Outcome("speed", "passed", 2.4)]
    report = summary(outcomes, speed=[row("a", 1, 2.0)])
    assert stage_table(outcomes).rows == [
        ("tests", "left out", "2", "no clone"),
        ("speed", "passed", "2", ""),
    ]
    assert report.sentences == ["left out: tests (no clone)"]
    blocks = report.to_markdown().split("\n\n")
    assert blocks[0] == "# EmoNet on an NVIDIA GPU, driver unknown, toolkit unknown"
    assert blocks[1] == "- left out: tests (no clone)"
    assert "left out" in blocks[2]
    assert "what runs" in blocks[3]
    found = json.loads(json.dumps(report.to_dict()))
    assert found["stages"][0] == {
        "stage": "tests", "status": "left out", "seconds": 1.6, "line": "no clone",
    }  # fmt: skip
    assert len(found["columns"]) == len(found["rows"][0]) == 14


def test_a_proof_without_rows_is_a_title_and_tables(tmp_path):
    blocks = summarize(Settings(tmp_path, tmp_path), []).to_markdown().rstrip().split("\n\n")
    assert len(blocks) == 3
    assert blocks[0].startswith("# EmoNet on")
