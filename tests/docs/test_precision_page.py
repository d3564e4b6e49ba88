"""The page on precision shows what was measured, every row of it."""

import json

from helpers.docs_scripts import load_script
from helpers.rooms import ROOT

from emonet_deploy.runtime.output.table_formats import as_markdown


def test_the_table_of_the_page_is_the_committed_measurement():
    rows = json.loads((ROOT / "benchmarks/results/precision.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/reference/precision.md").read_text(encoding="utf-8")
    assert as_markdown(load_script("precision_table").as_table(rows)) in page
