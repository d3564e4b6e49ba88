"""The plan's tables are what its script makes of the committed measurement."""

import json

import pytest
from helpers.docs_scripts import load_script
from helpers.rooms import ROOT

from emonet_deploy.runtime.output.table_formats import as_markdown

pytest.importorskip("pyarrow")


def test_the_tables_of_the_page_follow_from_the_measurement():
    found = json.loads((ROOT / "benchmarks" / "results" / "plan.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    for table in load_script("batch_plan").tables(found).values():
        assert as_markdown(table) in page
    assert found["environment"]["cpu"] in page


def test_the_arithmetic_is_what_a_pencil_says():
    steps = {"decode_ms": 10.0, "detect_ms": 26.0, "crop_ms": 4.0}
    found = {name: {"1": ms, "12": 2 * ms} for name, ms in steps.items()} | {
        "read_ms": {"fp32": 80.0, "int8": 40.0}, "file_bytes": {"1": 300_000, "12": 3_000_000},
        "crop_bytes": 200_000, "frame_ms": 1.0,
    }  # fmt: skip
    tables = load_script("batch_plan").tables(found)
    # 100 million times 120 ms are 3,333 CPU hours, or 2.2 days of 64; a third is finding.
    assert tables["cpus"].rows[0] == (
        "1 MP, fp32", "120", "3,333", "2.2", "0.1", "33%"
    )  # fmt: skip
    # 1,000 pictures a second of 40 ms each are 40 CPUs; 16 of them find in 400.
    assert tables["gpus"].rows[0] == (
        "1 MP, 1,000/s", "40", "28", "1,111", "300", "200", "400"
    )  # fmt: skip
