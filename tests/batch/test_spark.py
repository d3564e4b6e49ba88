"""The page on Spark: its code, on Spark, where pyspark and Java are installed."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emonet_deploy.batch.actor import Faces, Reading

pytest.importorskip("pyspark")
pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "spark.md"


def test_the_rows_on_spark_are_those_of_the_worker(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    files = [str(path) for path in sorted((folder / "in").iterdir())]
    listed = pa.table({"id": list(range(len(files))), "file": files})
    pq.write_table(listed, "lake.parquet")
    model = str(folder / "tiny.onnx")
    code = PAGE.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    for theirs, ours in (
        ("/models/emonet_8.fp32.onnx", model), ("repartition(200)", "repartition(2)"),
        ("SparkSession.builder", 'SparkSession.builder.master("local[1]")'),
    ):  # fmt: skip
        assert theirs in code
        code = code.replace(theirs, ours)
    names = {"__name__": "__main__"}  # so that its functions travel by value
    exec(compile(code, str(PAGE), "exec"), names)
    names["spark"].stop()
    with Faces(Reading(model)) as faces:
        expected = faces(listed).to_pylist()
    rows = pq.read_table("faces").to_pylist()
    assert sorted(rows, key=lambda row: row["id"]) == expected
