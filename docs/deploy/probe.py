"""Does it infer? For the probes of Kubernetes and the like: exit code 0 if it does, else 1.

python probe.py http://127.0.0.1:8000/v1/crop             `emonet serve`
python probe.py http://127.0.0.1:8000/v2/models/emonet    NVIDIA Triton

Readiness alone is not enough: a dead process of Triton's Python backend leaves it at 200. The
standard library of any Python 3 will do.
"""

import json
import struct
import sys
import urllib.request

SIDE = 256


def grey_bmp() -> bytes:
    """Return a picture: 64 x 64 pixels, 8 bits each, black."""
    palette = bytes(value for grey in range(256) for value in (grey, grey, grey, 0))
    pixels = bytes(64 * 64)
    start = 14 + 40 + len(palette)
    header = struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start)
    about = struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 0, len(pixels), 0, 0, 256, 0)
    return header + about + palette + pixels


def request(url: str) -> urllib.request.Request:
    """Return a request that makes the model run once."""
    if "/v2/models/" not in url:
        return urllib.request.Request(url, grey_bmp())
    image = bytes(SIDE * SIDE * 3)
    tensor = {
        "name": "image",
        "datatype": "UINT8",
        "shape": [1, SIDE, SIDE, 3],
        "parameters": {"binary_data_size": len(image)},
    }
    if url.endswith("_faces"):
        picture = grey_bmp()
        return urllib.request.Request(
            f"{url}/infer", picture, {"Inference-Header-Content-Length": "0"}
        )
    head = json.dumps({"inputs": [tensor]}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    return urllib.request.Request(f"{url}/infer", head + image, length)


def main() -> None:
    """Ask once."""
    try:
        with urllib.request.urlopen(request(sys.argv[1]), timeout=30) as answer:
            body = answer.read()
            if answer.status != 200 or not any(name in body for name in (b"valence", b"faces")):
                raise OSError(f"{answer.status}: {body[:100]!r}")
    except OSError as error:
        raise SystemExit(f"{sys.argv[1]}: {error}") from error


if __name__ == "__main__":
    main()
