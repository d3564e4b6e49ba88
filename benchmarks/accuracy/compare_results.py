"""Results of ``emonet eval`` beside each other.

    python -m emonet_deploy.benchmarks.accuracy.compare_results fp32.json fp16.json int8.json

Each is a file of ``emonet eval --json``.
"""

import argparse
import json
import sys
from pathlib import Path

from emonet_deploy.benchmarks.accuracy.tables import side_by_side
from emonet_deploy.runtime.output.table_formats import as_text

__all__ = ["main"]


def main() -> None:
    """Print the table of the files named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path, help="written by emonet eval --json")
    loaded = []
    for path in parser.parse_args().results:
        try:
            loaded.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            parser.error(f"{path} is no result of emonet eval: {error}")
    try:
        table = side_by_side(loaded)
    except (AttributeError, KeyError, TypeError):
        parser.error("these are not all results of emonet eval --json")
    sys.stdout.write(as_text(table))


if __name__ == "__main__":
    main()
