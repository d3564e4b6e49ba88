"""A served artifact as a session: the open inference protocol, version 2, over HTTP or gRPC.

Over HTTP tensors travel as bytes behind a header of JSON (the protocol's binary data extension),
and nothing but the standard library is needed; gRPC needs ``tritonclient``. The artifact's record
comes from the model's configuration, where ``emonet triton`` put it.
"""

import http
import http.client
import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Final, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit

import numpy as np

from emonet_deploy.errors import ArtifactError, BackendError, InputError, one_line
from emonet_deploy.runtime.array_type import Array
from emonet_deploy.runtime.backends.session import Session
from emonet_deploy.runtime.choices import Backend, Device
from emonet_deploy.runtime.metadata import METADATA_KEY, parse_info
from emonet_deploy.runtime.requirements import TRITON_CLIENT, import_required

__all__ = ["SCHEMES", "RemoteSession", "encode_request", "open_session"]

SCHEMES: Final = ("http", "https", "grpc")

T = TypeVar("T")

_TIMEOUT: Final = 60.0
_PAUSES: Final = (0.1, 0.5, 2.0)
"""Seconds before another try, when the server is not there or has too much to do."""
_BUSY: Final = frozenset({429, 502, 503, 504})
_TYPES: Final = {"UINT8": np.uint8, "FP32": np.float32}
_NAMES: Final = {"uint8": "UINT8", "float32": "FP32"}


class _UnavailableError(BackendError):
    """The server is not there or has too much to do: another try may succeed."""


class RemoteSession(Session):
    """A model on a server of the protocol, such as NVIDIA Triton."""

    backend: ClassVar[Backend] = "v2"

    def __init__(
        self,
        url: str | os.PathLike[str],
        device: Device = "auto",
        threads: int | None = None,
        timeout: float = _TIMEOUT,
    ) -> None:
        """Ask a server for a model.

        Args:
            url: ``http://host:8000/v2/models/emonet``, with ``/versions/2`` behind it for a
                version; ``https`` and ``grpc`` alike.
            device: ``auto``: where the model runs is the server's choice.
            threads: of no use: they are the server's.
            timeout: seconds until an answer must have begun.

        Raises:
            InputError: the address is none of a model.
            BackendError: the server is not there, or does not have the model, or a device is asked
                for.
            ArtifactError: the model has no record of this toolkit.
            MissingDependencyError: ``tritonclient`` is not installed, for ``grpc``.
        """
        self._url = os.fspath(url)
        if device != "auto":
            raise BackendError(f"{self._url} runs where its server has put it; drop --device")
        self._transport = _transport(self._url, timeout)
        config = _persistently(self._transport.config)
        try:
            record = config["parameters"][METADATA_KEY]["string_value"]
        except (KeyError, TypeError) as error:
            raise ArtifactError(
                f"{self._url} has no record of this toolkit; serve what `emonet triton` writes"
            ) from error
        info = parse_info(record, self._url)
        provider = config.get("backend") or config.get("platform") or "unknown"
        most = int(config.get("max_batch_size", 0)) or None
        super().__init__(info, provider=str(provider), device="remote", max_batch=most)

    def _run(self, images: Array) -> dict[str, Array]:
        images = np.ascontiguousarray(images)
        found = _persistently(lambda: self._transport.infer(self.info.inputs[0].name, images))
        outputs = {}
        for output in self.info.outputs:
            shape = [len(images) if size is None else size for size in output.shape]
            values = found.get(output.name)
            # A number a face is N x 1 there and N here.
            if values is None or values.size != math.prod(shape) or values.dtype != output.dtype:
                raise BackendError(
                    f"{self._url} does not answer with the {output.name} of its record; "
                    "write the repository again with `emonet triton`"
                )
            outputs[output.name] = values.reshape(shape)
        return outputs

    def close(self) -> None:
        """Hang up; closing twice is harmless."""
        super().close()
        self._transport.close()


def open_session(
    path: str | os.PathLike[str], device: Device, threads: int | None, graph: bool | None
) -> RemoteSession:
    """Ask a server for a model; see ``load_session``."""
    return RemoteSession(path, device, threads)


class _Transport(Protocol):
    def config(self) -> Mapping[str, Any]: ...
    def infer(self, name: str, images: Array) -> dict[str, Array]: ...
    def close(self) -> None: ...


def _transport(url: str, timeout: float) -> _Transport:
    parts = urlsplit(url)
    steps = parts.path.strip("/").split("/")
    model, version = (*steps[2::2], "", "")[:2]
    regular = "/".join(["v2", "models", model, *(["versions", version] if version else [])])
    try:
        host = parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        host = None
    if parts.scheme not in SCHEMES or not (host and model) or "/".join(steps) != regular:
        raise InputError(
            f"{url} is no served model; the address of one is http://HOST:8000/v2/models/NAME"
        )
    if parts.scheme == "grpc":
        return _Grpc(parts.netloc, model, version, timeout)
    return _Http(parts, timeout)


def _persistently(ask: Callable[[], T]) -> T:
    for pause in _PAUSES:
        try:
            return ask()
        except _UnavailableError:
            time.sleep(pause)
    return ask()


def encode_request(name: str, images: Array) -> tuple[int, bytes]:
    """Return the body that asks for all outputs as bytes, and where its JSON ends.

    Args:
        name: of the input.
        images: what goes into it.
    """
    tensor = {
        "name": name,
        "datatype": _NAMES[images.dtype.name],
        "shape": images.shape,
        "parameters": {"binary_data_size": images.nbytes},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    # In one piece: some front ends wait for what comes in two.
    return len(head), head + images.tobytes()


class _Http:
    """The protocol over HTTP, with as many connections as are used at once."""

    def __init__(self, url: SplitResult, timeout: float) -> None:
        self._url, self._timeout = url, timeout
        self._idle: deque[http.client.HTTPConnection] = deque()

    def config(self) -> Mapping[str, Any]:
        _, body = self._ask("GET", "/config")
        with self._well_formed():
            return dict(json.loads(body))

    def infer(self, name: str, images: Array) -> dict[str, Array]:
        length, request = encode_request(name, images)
        start, body = self._ask("POST", "/infer", request, length)
        outputs = {}
        with self._well_formed():
            for output in json.loads(body[:start])["outputs"]:
                end = start + output["parameters"]["binary_data_size"]
                values = np.frombuffer(body[start:end], _TYPES[output["datatype"]])
                outputs[output["name"]], start = values.copy(), end
        return outputs

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _connection(self) -> http.client.HTTPConnection:
        with suppress(IndexError):
            return self._idle.pop()
        secure = self._url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(self._url.netloc, timeout=self._timeout)

    def _ask(
        self, method: str, path: str, body: bytes | None = None, head: int = 0
    ) -> tuple[int, bytes]:
        """Return where the JSON of an answer ends, and the answer."""
        headers = {"Inference-Header-Content-Length": str(head)} if head else {}
        where = self._url.geturl()
        connection = self._connection()
        try:
            connection.request(method, self._url.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        except TimeoutError as error:
            connection.close()
            raise BackendError(
                f"{where} has not answered within {self._timeout:g} s; see the server's log"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _UnavailableError(
                f"{where} cannot be asked: {one_line(error)}; is the server running there?"
            ) from error
        self._idle.append(connection)
        if response.status != http.HTTPStatus.OK:
            said = " ".join(answer[:300].decode(errors="replace").split())
            kind = _UnavailableError if response.status in _BUSY else BackendError
            raise kind(f"{where} answered {response.status}: {said or response.reason}")
        end = response.headers.get("Inference-Header-Content-Length", "")
        return int(end) if end.isdecimal() else len(answer), answer

    @contextmanager
    def _well_formed(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BackendError(
                f"{self._url.geturl()} does not speak the inference protocol v2 with binary "
                f"tensors ({one_line(error)}); ask a server such as NVIDIA Triton"
            ) from error


class _Grpc:
    """The protocol over gRPC, by NVIDIA's client."""

    def __init__(self, where: str, model: str, version: str, timeout: float) -> None:
        self._library = import_required(TRITON_CLIENT, "ask a server over gRPC")
        self._where, self._model, self._version = where, model, version
        self._timeout = timeout
        self._client = self._library.InferenceServerClient(where)

    def config(self) -> Mapping[str, Any]:
        with self._translated():
            answer = self._client.get_model_config(
                self._model, self._version, as_json=True, client_timeout=self._timeout
            )
        return dict(answer["config"])

    def infer(self, name: str, images: Array) -> dict[str, Array]:
        tensor = self._library.InferInput(name, list(images.shape), _NAMES[images.dtype.name])
        tensor.set_data_from_numpy(images)
        with self._translated():
            result = self._client.infer(
                self._model, [tensor], self._version, client_timeout=self._timeout
            )
        names = [output.name for output in result.get_response().outputs]
        return {output: result.as_numpy(output).copy() for output in names}

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._library.InferenceServerException as error:
            busy = error.status() in {"StatusCode.UNAVAILABLE", "StatusCode.RESOURCE_EXHAUSTED"}
            raise (_UnavailableError if busy else BackendError)(
                f"grpc://{self._where}: {self._model}: {one_line(error)}"
            ) from error
