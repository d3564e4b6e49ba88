"""Start `emonet serve`, ask it about pictures, and stop it.

python examples/05_server_and_client.py artifacts/emonet_8.fp32.onnx 8000 photo.jpg ...
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path


def main(model: str, port: str, *pictures: str) -> None:
    """Print a line for each face; a server of a fleet is asked in the same way."""
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "emonet_deploy.cli", "serve", "--model", model, "--port", port]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while True:  # Until it has loaded: before that nothing listens.
            try:
                urllib.request.urlopen(address, timeout=60).close()
                break
            except urllib.error.URLError:
                if server.poll() is not None:
                    raise SystemExit("the server has ended; it said why") from None
                time.sleep(0.2)
        for picture in pictures:
            request = urllib.request.Request(f"{address}/v1/faces", Path(picture).read_bytes())
            for face in json.load(urllib.request.urlopen(request, timeout=60))["faces"]:
                print(picture, face["expression"], face["valence"], face["arousal"], face["box"])
    finally:
        server.terminate()  # It answers what is in flight, and ends with 0.
        server.wait()


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) >= 4 else sys.exit(__doc__)
