"""Results of ``emonet eval`` beside each other: ``python -m ... fp32.json fp16.json int8.json``."""

import json
import sys
from pathlib import Path

from emonet_deploy.benchmarks.accuracy.tables import side_by_side
from emonet_deploy.runtime.output.table_formats import as_text

if __name__ == "__main__":
    loaded = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    print(as_text(side_by_side(loaded)), end="")
