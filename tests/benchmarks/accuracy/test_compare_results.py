"""Results side by side, from the files of ``emonet eval``."""

import json
import re
import subprocess
import sys

COMMAND = [sys.executable, "-m", "emonet_deploy.benchmarks.accuracy.compare_results"]
RESULT = {
    "backend": "onnx", "precision": "fp32", "expression": {"ACC": 0.75},
    "valence": {"CCC": 0.5}, "arousal": {"CCC": None},
}  # fmt: skip


def compare(*arguments):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_each_file_is_a_column_and_what_is_none_is_one_line(tmp_path):
    first, second, other = (tmp_path / name for name in ("a.json", "b.json", "c.json"))
    first.write_text(json.dumps(RESULT))
    second.write_text(json.dumps(RESULT | {"precision": "int8", "valence": {"CCC": 0.25}}))
    other.write_text('{"rows": []}')
    done = compare(first, second)
    assert [re.split(r" {2,}", line.rstrip()) for line in done.stdout.splitlines()] == [
        ["metric", "onnx fp32", "onnx int8"],
        ["expression ACC", "0.7500", "0.7500"],
        ["valence CCC", "0.5000", "0.2500"],
        ["arousal CCC", "-", "-"],
    ]
    for wrong in (["--help"], [other], [tmp_path / "none.json"], [first, other], []):
        done = compare(*wrong)
        assert "Traceback" not in done.stderr
        assert done.returncode == (0 if wrong == ["--help"] else 2)
