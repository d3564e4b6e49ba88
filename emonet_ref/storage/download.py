"""Files over HTTP: retried, resumed, verified, and under their final name only when whole."""

import base64
import logging
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse, InvalidURL
from pathlib import Path
from typing import IO, Final

from filelock import FileLock

from emonet_deploy.emonet_ref.storage.path_access import exists, is_file, why
from emonet_deploy.errors import EmonetError, InputError

__all__ = ["Progress", "download"]

Progress = Callable[[int, int | None], None]
"""Called with the bytes got so far and the size of the whole file, None when nobody knows it."""

_LOGGER = logging.getLogger(__name__)

CHUNK: Final = 1 << 16
MAX_BYTES: Final = 256 << 20
MAX_REASON: Final = 200
"""Characters of what a server says that a message repeats."""

TRY_LATER: Final = frozenset({408, 425, 429})
RANGE_NOT_SATISFIABLE: Final = 416


class _AttemptError(Exception):
    """An attempt failed: why, and whether another one may succeed."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.again = again


@dataclass(frozen=True)
class _Address:
    """An address as it is asked for and, without what is secret in it, as it is shown."""

    url: str
    shown: str
    credentials: str | None


def download(
    url: str,
    path: str | os.PathLike[str],
    verify: Callable[[Path], bool],
    *,
    max_bytes: int = MAX_BYTES,
    progress: Progress | None = None,
    attempts: int = 4,
    timeout: float = 30.0,
    backoff: float = 1.0,
    error: type[EmonetError] = InputError,
    hint: str = "check the network and the address, then try again",
    advice: str = "free some space or name another place",
) -> None:
    """Make ``path`` a verified copy of ``url``; a verified file that lies there is kept.

    What has arrived is kept in a hidden file beside ``path``, so an interrupted download goes on
    where it stopped when the server can do that, and starts again when it cannot. A second process
    that wants the same file waits for the first.

    Args:
        url: an http or https address; it may hold a user's name and password, which are sent to
            that server alone and shown nowhere. From https a server may redirect to https only.
        path: the final name; its folder is made when it is missing.
        verify: tells of a file whether its content is the right one, usually by its hash.
        max_bytes: what is longer than that cannot be the file and is not received to its end.
        progress: told of every piece that arrives.
        attempts: how often to try when the network or the server fails for the moment.
        timeout: seconds without any data after which an attempt has failed.
        backoff: seconds before the second attempt, doubled before each further one.
        error: the type to raise.
        hint: what the user can do next; ends the message when the file cannot be had.
        advice: the same, when it cannot be written.

    Raises:
        EmonetError: of the type ``error``: not an http address, no network, the server refuses,
            the content is too long or not the right one, or the file cannot be written.
    """
    final = Path(path)
    if is_file(final) and verify(final):
        _LOGGER.info("%s is there already, and verified", final)
        return
    shown = "the address"
    partial = final.with_name(f".{final.name}.part")
    try:
        address = _parse(url)
        shown = address.shown
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(final.with_name(f".{final.name}.lock")):
            if is_file(final) and verify(final):
                return
            _LOGGER.info("downloading %s to %s", shown, final)
            if not (is_file(partial) and verify(partial)):
                attempt = _Attempt(address, partial, verify, max_bytes, progress, timeout)
                _retry(attempt.complete, attempts, backoff)
            os.replace(partial, final)
    except _AttemptError as failure:
        raise error(f"cannot download {shown}: {failure}", hint=hint) from failure
    except (OSError, NotImplementedError) as failure:
        reason = why(failure) if isinstance(failure, OSError) else str(failure)
        raise error(f"cannot write {final}: {reason}", hint=advice) from failure


def _parse(url: str) -> _Address:
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        secret = parts.username is not None or parts.password is not None
        name, word = (urllib.parse.unquote(x or "") for x in (parts.username, parts.password))
    except ValueError as failure:
        raise _AttemptError(f"not a usable address ({failure})", again=False) from failure
    plain = urllib.parse.urlunsplit(parts._replace(netloc=host))
    shown = "".join(c if c.isprintable() else "?" for c in plain)[:MAX_REASON] or "''"
    if parts.scheme.lower() not in {"http", "https"}:
        raise _AttemptError(f"{shown} is not an http or https address", again=False)
    if not host:
        raise _AttemptError(f"{shown} names no server", again=False)
    coded = base64.b64encode(f"{name}:{word}".encode()).decode("ascii")
    return _Address(plain, shown, f"Basic {coded}" if secret else None)


def _retry(attempt: Callable[[], None], attempts: int, backoff: float) -> None:
    for pause in range(attempts - 1):
        try:
            return attempt()
        except _AttemptError as failure:
            if not failure.again:
                raise
            wait = backoff * 2**pause
            _LOGGER.info("%s; trying again in %g s", failure, wait)
        time.sleep(wait)
    return attempt()


@dataclass(frozen=True)
class _Attempt:
    """One try after the other at the same file."""

    address: _Address
    partial: Path
    verify: Callable[[Path], bool]
    max_bytes: int
    progress: Progress | None
    timeout: float

    def complete(self) -> None:
        """Complete and verify ``partial``; remove it when its content is not the right one."""
        resumed = self._receive()
        if resumed and not self.verify(self.partial):
            # The start and the rest may be of different files; one that came in one piece is not.
            self.partial.unlink()
            self._receive()
        if not self.verify(self.partial):
            content = _describe(self.partial)
            self.partial.unlink()
            raise _AttemptError(f"the server sent {content}", again=False)

    def _receive(self) -> bool:
        """Append what ``partial`` lacks; return whether the server went on from what was there."""
        start = self.partial.stat().st_size if exists(self.partial) else 0
        response = _open(self.address, start, self.timeout)
        if response is None:
            self.partial.unlink()
            return self._receive()
        with response:
            resumed = response.status == 206
            done = start if resumed else 0
            _LOGGER.debug(
                "%s answers %d; %d bytes are here", self.address.shown, response.status, done
            )
            total = None if response.length is None else done + response.length
            self._require_length(total or 0)
            with open(self.partial, "ab" if resumed else "wb") as file:
                for chunk in _chunks(response, self.timeout):
                    done += len(chunk)
                    self._require_length(done)
                    file.write(chunk)
                    if self.progress is not None:
                        self.progress(done, total)
        if total is not None and done < total:
            raise _AttemptError(f"the connection ended after {done} of {total} bytes", again=True)
        return resumed

    def _require_length(self, length: int) -> None:
        if length > self.max_bytes:
            self.partial.unlink(missing_ok=True)
            raise _AttemptError(
                f"the server sends more than {self.max_bytes / 2**20:g} MiB, which cannot be the "
                "file",
                again=False,
            )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection to another web address, but to no other service and not out of TLS."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        allowed = {"https"} if req.type == "https" else {"http", "https"}
        scheme = urllib.parse.urlsplit(newurl).scheme.lower()
        if scheme not in allowed:
            raise _AttemptError(f"the server redirects to an address of {scheme}", again=False)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(address: _Address, start: int, timeout: float) -> HTTPResponse | None:
    """Ask for an address from byte ``start`` on; None when there is nothing from there on."""
    with _network_errors(timeout):
        # That it is http or https, `_parse` has seen to.
        agent = {"User-Agent": "emonet-deploy"}
        request = urllib.request.Request(address.url, headers=agent)  # noqa: S310
        if address.credentials is not None:
            request.add_unredirected_header("Authorization", address.credentials)
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            response = urllib.request.build_opener(_Redirects).open(request, timeout=timeout)
        except urllib.error.HTTPError as answer:
            answer.close()
            if start and answer.code == RANGE_NOT_SATISFIABLE:
                return None
            raise _AttemptError(
                f"the server answers {answer.code} {_said(answer.reason)}".rstrip(),
                again=answer.code >= 500 or answer.code in TRY_LATER,
            ) from answer
    if not isinstance(response, HTTPResponse):
        response.close()
        raise _AttemptError("the server redirects to what is no web address", again=False)
    return response


def _said(reason: object) -> str:
    """Return what a server or a library says, on one line that cannot forge another."""
    text = " ".join(str(reason).split())
    return "".join(c if c.isprintable() else "?" for c in text)[:MAX_REASON]


def _chunks(response: HTTPResponse, timeout: float) -> Iterator[bytes]:
    while True:
        with _network_errors(timeout):
            # read1 hands over what has arrived; read would lose it when the rest stalls.
            chunk = response.read1(CHUNK)
        if not chunk:
            return
        yield chunk


@contextmanager
def _network_errors(timeout: float) -> Iterator[None]:
    """Translate what urllib raises, so that an ``OSError`` elsewhere is one of the disk."""
    try:
        yield
    except (InvalidURL, ValueError) as failure:
        raise _AttemptError(f"not a usable address ({_said(failure)})", again=False) from failure
    except (OSError, HTTPException) as failure:
        reason: object = getattr(failure, "reason", None) or failure
        if isinstance(reason, TimeoutError):
            reason = f"no data for {timeout:g} s"
        elif isinstance(reason, OSError) and reason.strerror:
            reason = reason.strerror
        raise _AttemptError(_said(reason) or type(reason).__name__, again=True) from failure


def _describe(path: Path) -> str:
    """Say what a file that is not the right one looks like."""
    with open(path, "rb") as file:
        head = file.read(512).lstrip().lower()
    if not head:
        return "an empty file"
    if head.startswith((b"<!doctype html", b"<html")):
        return "an HTML page instead of the file"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the file"
    return f"{path.stat().st_size} bytes that are not the expected content (wrong hash)"
