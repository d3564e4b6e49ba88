"""Twenty thousand requests, one in a hundred poisoned: `make test-soak-serve`.

EMONET_SOAK names another number of requests.
"""

import os
import threading
from collections import Counter

import cv2
import pytest
from helpers.served import served
from helpers.tiny_model import write_tiny
from skimage import data

from emonet_deploy.benchmarks.speed.serving_load import server_memory

pytest.importorskip("mosec")

REQUESTS = int(os.environ.get("EMONET_SOAK", "20000"))
CLIENTS = 16


@pytest.mark.slow
def test_many_requests_leave_memory_as_it_is_and_nothing_unasked_for(tmp_path):
    portrait = data.astronaut()[..., ::-1]
    crop = cv2.imencode(".jpg", cv2.resize(portrait[30:230, 130:330], (256, 256)))[1].tobytes()
    photo = cv2.imencode(".jpg", cv2.resize(portrait, (200, 200)))[1].tobytes()
    model = write_tiny(tmp_path / "tiny.onnx")
    statuses, wrong, lock = Counter(), [], threading.Lock()
    numbers = iter(range(REQUESTS))

    def expected(number):
        if number % 100 == 50:
            return "/v1/crop", crop[: len(crop) // 2], 422
        return ("/v1/faces", photo, 200) if number % 10 == 0 else ("/v1/crop", crop, 200)

    def client():
        while True:
            with lock:
                number = next(numbers, None)
                if number == REQUESTS // 4:
                    sizes.append(server_memory(server.url))
            if number is None:
                return
            route, body, should = expected(number)
            status, text = server.post(route, body)
            with lock:
                statuses[status] += 1
                if status != should:
                    wrong.append((number, status, text[:100]))

    sizes = []
    with served(tmp_path, model, "--timeout", 120) as server:
        clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        sizes.append(server_memory(server.url))
        assert server.process.poll() is None
    assert wrong == []
    assert statuses == {200: REQUESTS - REQUESTS // 100, 422: REQUESTS // 100}
    assert len(server.stdout.read_text().splitlines()) == REQUESTS
    print(f"{REQUESTS} requests, {sizes[0]:.0f} MB after a quarter, {sizes[1]:.0f} MB at the end")
    assert sizes[1] < 1.03 * sizes[0]
