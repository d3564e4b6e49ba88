"""The examples and the proxy's configuration, with the real server, nginx and Chromium."""

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.chromium import chromium
from helpers.proxy import OTHER_SITE, TOKEN, proxy
from helpers.served import served
from helpers.tiny_model import write_tiny
from skimage import data

pytest.importorskip("mosec")

EXAMPLES = Path(__file__).parents[2] / "examples"
PROBE = EXAMPLES.parent / "docs" / "deploy" / "probe.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with served(folder, write_tiny(folder / "tiny.onnx"), "--timeout", 120) as running:
        yield running


@pytest.fixture(scope="module")
def front(tmp_path_factory, server):
    """The port of nginx before the server."""
    with proxy(tmp_path_factory.mktemp("nginx"), server.port) as port:
        yield port


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A picture with two faces."""
    path = tmp_path_factory.mktemp("pictures") / "two.jpg"
    portrait = data.astronaut()[..., ::-1]
    cv2.imwrite(str(path), np.hstack([portrait, portrait[:, ::-1]]))
    return path


def run(*command, **environment):
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False,
        env=os.environ | environment,
    )  # fmt: skip


def test_the_python_client_prints_each_face(server, two):
    done = run(sys.executable, EXAMPLES / "serve_client.py", server.url, two)
    assert done.returncode == 0, done.stderr
    expected = json.loads(server.post("/v1/faces", two.read_bytes())[1])["faces"]
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[1] for row in rows] == [face["expression"] for face in expected]
    assert [float(row[5]) for row in rows] == [face["box"][0] for face in expected]


def test_curl_gets_the_same_answer(server, two):
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    done = run("sh", EXAMPLES / "faces.sh", server.url, two)
    assert json.loads(done.stdout) == json.loads(server.post("/v1/faces", two.read_bytes())[1])
    done = run("sh", EXAMPLES / "faces.sh", server.url, EXAMPLES / "faces.sh")
    assert done.returncode != 0
    assert "is not a JPEG" in done.stdout


@pytest.mark.parametrize("route", ["/v1/crop", "/v1/faces"])
def test_the_probe_tells_whether_it_infers(server, route):
    assert run(sys.executable, PROBE, server.url + route).returncode == 0
    for wrong in (server.url + "/v1/nothing", "http://127.0.0.1:9/v1/crop"):
        done = run(sys.executable, PROBE, wrong)
        assert done.returncode == 1
        assert wrong in done.stderr


def test_identities_over_the_frames_of_a_clip(server, tmp_path):
    portrait = cv2.resize(data.astronaut(), (256, 256))[..., ::-1]
    clip = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(
        str(clip), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25, (640, 360)
    )
    for i in range(20):  # two people, of whom the right one goes away in the end
        frame = np.full((360, 640, 3), 128, np.uint8)
        frame[20 + 2 * i : 276 + 2 * i, 10:266] = portrait
        if i < 15:
            frame[60:316, 374 - 3 * i : 630 - 3 * i] = portrait[:, ::-1]
        writer.write(frame)
    writer.release()
    done = run(sys.executable, EXAMPLES / "serve_client_tracking.py", server.url, clip)
    assert done.returncode == 0, done.stderr
    seen = Counter(line.split("\t")[1] for line in done.stdout.splitlines())
    assert sorted(seen.values()) == [15, 20]


def ask(port, body=b"", method="POST", path="/v1/faces", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, answer.headers, text


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (None, 401),
        ("Bearer wrong", 401),
        (f"Bearer {TOKEN.lower()}", 401),
        (f"Bearer {TOKEN}x", 401),
        (TOKEN, 401),
    ],
)
def test_the_proxy_asks_for_the_token(front, two, token, status):
    headers = {} if token is None else {"Authorization": token}
    assert ask(front, two.read_bytes(), **headers)[0] == status


def test_the_proxy_lets_pages_of_named_origins_ask(front, two):
    status, headers, _ = ask(
        front, method="OPTIONS", Origin=OTHER_SITE, Access_Control_Request_Method="POST"
    )
    assert status == 204
    assert headers["Access-Control-Allow-Origin"] == OTHER_SITE
    assert "Authorization" in headers["Access-Control-Allow-Headers"]
    token = {"Authorization": f"Bearer {TOKEN}"}
    assert ask(front, two.read_bytes(), Origin=OTHER_SITE, **token)[1][
        "Access-Control-Allow-Origin"
    ] == OTHER_SITE  # fmt: skip
    refused = ask(front, two.read_bytes(), Origin="http://evil.example", **token)[1]
    assert "Access-Control-Allow-Origin" not in refused


def test_the_proxy_refuses_an_empty_body_and_hides_what_is_inside(front):
    assert ask(front, b"", Authorization=f"Bearer {TOKEN}")[0] == 422
    assert ask(front, method="GET", path="/metrics")[0] == 404
    assert ask(front, method="GET", path="/openapi/metadata.json")[0] == 404
    assert ask(front, method="GET", path="/health")[0] == 200


def test_the_page_draws_the_faces_of_a_picture(front, two, tmp_path):
    with chromium(tmp_path) as page:
        page.open(f"http://127.0.0.1:{front}/")
        page.choose_file("#file", two)
        page.wait("document.getElementById('status').textContent.startsWith('401')")
        page.run(f"document.getElementById('token').value = '{TOKEN}'")
        page.choose_file("#file", two)
        page.wait("document.getElementById('status').textContent === '2 faces.'")
        rows = page.run("[...document.querySelectorAll('#faces tr')].map((row) => row.innerText)")
        expected = json.loads(
            ask(front, two.read_bytes(), Authorization=f"Bearer {TOKEN}")[2]
        )["faces"]  # fmt: skip
        for row, face in zip(rows, expected, strict=True):
            assert face["expression"] in row
            assert f"{face['valence']:.3f}" in row
        # The box's left edge has the colour of the first face.
        left, top, _, bottom = expected[0]["box"]
        pixel = page.run(
            "[...document.getElementById('picture').getContext('2d')"
            f".getImageData({round(left)}, {round((top + bottom) / 2)}, 1, 1).data]"
        )
        assert np.abs(np.array(pixel[:3]) - (0x00, 0x72, 0xB2)).max() < 40


def test_a_page_of_an_origin_that_is_not_named_gets_nothing(front, server, two, tmp_path):
    with chromium(tmp_path) as page:
        page.open(f"http://127.0.0.1:{front}/")
        # The server itself names no origin: another port is another origin.
        page.run(f"document.getElementById('server').value = '{server.url}'")
        page.choose_file("#file", two)
        page.wait("document.getElementById('status').textContent.includes('Failed to fetch')")


def test_the_page_follows_the_faces_before_the_camera(front, tmp_path):
    portrait = cv2.resize(data.astronaut(), (480, 480))
    writer = cv2.VideoWriter(
        str(tmp_path / "camera.mjpeg"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10,
        (640, 480),
    )  # fmt: skip
    for i in range(20):
        frame = np.full((480, 640, 3), 128, np.uint8)
        shift = 3 * min(i, 20 - i)  # there and back: the camera starts again at its end
        frame[:, shift : shift + 480] = portrait[..., ::-1]
        writer.write(frame)
    writer.release()
    show = f"--use-file-for-fake-video-capture={tmp_path / 'camera.mjpeg'}"
    with chromium(tmp_path, show) as page:
        page.open(f"http://127.0.0.1:{front}/")
        page.run(f"document.getElementById('token').value = '{TOKEN}'")
        page.run("document.getElementById('camera').click()")
        page.wait("document.getElementById('status').textContent === '1 face.'")
        page.run(
            "window.answers = 0; const before = draw;"
            "draw = (...all) => { before(...all); window.answers += 1; }; 0"
        )
        page.wait("window.answers >= 3")
        row = page.run("document.querySelector('#faces tr td').textContent")
        assert row == "0"  # still the first face
        page.run("document.getElementById('camera').click()")
        page.wait("document.getElementById('camera').textContent === 'Start the camera'")
