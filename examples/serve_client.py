"""Ask `emonet serve` about pictures, with the standard library alone.

python examples/serve_client.py http://127.0.0.1:8000 photo.jpg ...

Prints a line per face: file, expression, its probability, valence, arousal, box. Where a proxy asks
for a token, put it into the environment variable EMONET_TOKEN.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

BUSY = (429, 503)  # A full queue, a server that is ending: another try may succeed.


def faces(server: str, picture: bytes, route: str = "/v1/faces", tries: int = 5) -> dict[str, Any]:
    """Return the answer for the bytes of a picture file, as `docs/serving.md` describes it."""
    headers = {"Content-Type": "application/octet-stream"}
    if token := os.environ.get("EMONET_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(server.rstrip("/") + route, picture, headers)
    for attempt in range(tries):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                said: dict[str, Any] = json.load(answer)
                return said
        except urllib.error.HTTPError as error:
            if error.code not in BUSY or attempt == tries - 1:
                raise SystemExit(
                    f"{error.code}: {error.read().decode(errors='replace')}"
                ) from error
            time.sleep(0.1 * 2**attempt)
    raise AssertionError


def main() -> None:
    """Print what the server says of each picture named."""
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    server, *files = sys.argv[1:]
    for file in files:
        for face in faces(server, Path(file).read_bytes())["faces"]:
            said = face["expression"]
            print(
                file, said, f"{face['probabilities'][said]:.2f}", f"{face['valence']:+.3f}",
                f"{face['arousal']:+.3f}", *face["box"], sep="\t",
            )  # fmt: skip


if __name__ == "__main__":
    main()
