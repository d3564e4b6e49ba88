"""``emonet bench --serve``: a server under load, beside the model alone."""

from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import urlsplit

import cv2

from emonet_deploy.benchmarks.speed.serving_load import (
    ServedRow,
    measure_beside,
    post_load,
    serve_row,
)
from emonet_deploy.commands.judging import parity_crops
from emonet_deploy.errors import InputError
from emonet_deploy.runtime.backends.remote import encode_request
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.detection.load import load_detector
from emonet_deploy.runtime.detection.without_search import WholePicture
from emonet_deploy.runtime.media.image import decode_image
from emonet_deploy.runtime.output.table_formats import Table
from emonet_deploy.runtime.pipeline.pipeline import EmotionPipeline
from emonet_deploy.runtime.pipeline.predictor import Predictor

__all__ = ["bench_served", "served_table"]

_BATCH = 8
_PICTURES = 16


def bench_served(
    url: str,
    session: Session,
    connections: Sequence[int],
    seconds: float,
    token: str | None,
    say: Callable[[str], None],
) -> list[ServedRow]:
    """Put load on a server from numbers of connections; the session runs in turns with it.

    Args:
        url: of a route of ``emonet serve``: ``.../v1/crop`` is compared with the session alone,
            ``.../v1/faces`` with the pipeline that finds faces as well; or of a model on a server
            of the inference protocol, ``.../v2/models/emonet``.
        session: the model that is served, here.
        connections: requests at once, a row for each.
        seconds: of load, and of the model alone, in each of the rounds.
        token: a bearer token, where a proxy asks for one.
        say: told what has begun.

    Raises:
        InputError: the address is of no such route.
    """
    route = urlsplit(url).path.rstrip("/")
    served = route.startswith("/v2/models/")
    if not served and route not in {"/v1/crop", "/v1/faces"}:
        raise InputError(
            f"{url} is no route of `emonet serve` and no served model",
            hint="name http://HOST:8000/v1/crop, /v1/faces or /v2/models/NAME",
        )
    # Not 256 pixels, which would be taken for a ready crop.
    side = 320 if route == "/v1/faces" else 256
    faces = [cv2.resize(crop, (side, side)) for crop in parity_crops(_PICTURES)]
    bodies = [cv2.imencode(".jpg", face[..., ::-1])[1].tobytes() for face in faces]
    predictor = Predictor(session, _BATCH)
    pictures = [decode_image(body, "a drawn face") for body in bodies]

    def alone() -> int:
        if route == "/v1/faces":
            return sum(1 for _ in EmotionPipeline(predictor, detector).run(pictures))
        return len(predictor.predict_crops(pictures[:_BATCH]))

    detector = load_detector() if route == "/v1/faces" else WholePicture()
    headers = {"Content-Type": "application/octet-stream"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    where = url
    if served:
        where = url.rstrip("/") + "/infer"
        encoded = [encode_request(session.info.inputs[0].name, face[None]) for face in faces]
        bodies = [body for _, body in encoded]
        headers["Inference-Header-Content-Length"] = str(encoded[0][0])
    rows = []
    for number in connections:
        say(f"{number} connections")
        load = partial(post_load, where, bodies, number, seconds, headers)
        rows.append(serve_row(url, number, measure_beside(load, alone, seconds)))
    return rows


def served_table(rows: Sequence[ServedRow]) -> Table:
    """Return the table of what was measured."""

    def text(value: float | None, form: str = ".1f") -> str:
        return "-" if value is None else format(value, form)

    columns = (
        "connections", "requests", "errors", "requests/s", "p50 ms", "p90 ms", "p99 ms", "batch",
        "server CPU ms", "server MB", "alone/s", "alone CPU ms", "throughput ratio", "CPU ratio",
    )  # fmt: skip
    return Table(
        columns,
        [
            (
                row.connections, row.requests, row.errors, text(row.throughput), text(row.p50_ms),
                text(row.p90_ms), text(row.p99_ms), text(row.batch), text(row.server_cpu_ms, ".2f"),
                text(row.server_mb, ".0f"),
                text(row.alone_throughput), text(row.alone_cpu_ms, ".2f"),
                text(row.throughput_ratio, ".2f"), text(row.cpu_ratio, ".2f"),
            )
            for row in rows
        ],
    )  # fmt: skip
