"""Files over HTTP: retried, resumed, verified, and under their final name only when whole."""

import logging
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import Final

from emonet_deploy.errors import EmonetError, InputError

__all__ = ["Progress", "download"]

Progress = Callable[[int, int | None], None]
"""Called with the bytes got so far and the size of the whole file, None when nobody knows it."""

_LOGGER = logging.getLogger(__name__)

CHUNK: Final = 1 << 16
TRY_LATER: Final = frozenset({408, 425, 429})
RANGE_NOT_SATISFIABLE: Final = 416


class _AttemptError(Exception):
    """An attempt failed: why, and whether another one may succeed."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.again = again


def download(
    url: str,
    path: str | os.PathLike[str],
    verify: Callable[[Path], bool],
    *,
    progress: Progress | None = None,
    attempts: int = 4,
    timeout: float = 30.0,
    backoff: float = 1.0,
    error: type[EmonetError] = InputError,
    hint: str = "check the network and the address, then try again",
) -> None:
    """Make ``path`` a verified copy of ``url``; a verified file that lies there is kept.

    What has arrived is kept in a hidden file beside ``path``, so an interrupted download goes on
    where it stopped when the server can do that, and starts again when it cannot. A second process
    that wants the same file waits for the first.

    Args:
        url: an http or https address.
        path: the final name; its folder is made when it is missing.
        verify: tells of a file whether its content is the right one, usually by its hash.
        progress: told of every piece that arrives.
        attempts: how often to try when the network or the server fails for the moment.
        timeout: seconds without any data after which an attempt has failed.
        backoff: seconds before the second attempt, doubled before each further one.
        error: the type to raise.
        hint: what the user can do next; ends the message when the file cannot be had.

    Raises:
        EmonetError: of the type ``error``: not an http address, no network, the server refuses,
            the content is not the right one, or the file cannot be written.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise error(f"cannot download {url}: not an http or https address", hint=hint)
    final = Path(path)
    partial = final.with_name(f".{final.name}.part")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with _locked(final.with_name(f".{final.name}.lock")):
            if final.is_file() and verify(final):
                _LOGGER.info("%s is there already, and verified", final)
                return
            _LOGGER.info("downloading %s to %s", url, final)
            if not (partial.is_file() and verify(partial)):
                _retry(lambda: _attempt(url, partial, verify, progress, timeout), attempts, backoff)
            os.replace(partial, final)
    except _AttemptError as failure:
        raise error(f"cannot download {url}: {failure}", hint=hint) from failure
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise error(
            f"cannot write {final}: {reason}", hint="free some space or name another place"
        ) from failure


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


def _attempt(
    url: str,
    partial: Path,
    verify: Callable[[Path], bool],
    progress: Progress | None,
    timeout: float,
) -> None:
    """Complete and verify ``partial``; remove it when its content is not the right one."""
    resumed = _receive(url, partial, progress, timeout)
    if resumed and not verify(partial):
        # The start and the rest may be of different files; one that came in one piece is not.
        partial.unlink()
        _receive(url, partial, progress, timeout)
    if not verify(partial):
        content = _describe(partial)
        partial.unlink()
        raise _AttemptError(f"the server sent {content}", again=False)


def _receive(url: str, partial: Path, progress: Progress | None, timeout: float) -> bool:
    """Append what ``partial`` lacks; return whether the server went on from what was there."""
    start = partial.stat().st_size if partial.exists() else 0
    response = _open(url, start, timeout)
    if response is None:
        partial.unlink()
        return _receive(url, partial, progress, timeout)
    with response:
        resumed = response.status == 206
        done = start if resumed else 0
        _LOGGER.debug("%s answers %d; %d bytes are here", url, response.status, done)
        total = None if response.length is None else done + response.length
        with open(partial, "ab" if resumed else "wb") as file:
            for chunk in _chunks(response, timeout):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    if total is not None and done < total:
        raise _AttemptError(f"the connection ended after {done} of {total} bytes", again=True)
    return resumed


def _open(url: str, start: int, timeout: float) -> HTTPResponse | None:
    """Ask for ``url`` from byte ``start`` on; None when the server has nothing from there on."""
    request = urllib.request.Request(url, headers={"User-Agent": "emonet-deploy"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with _network_errors(timeout):
        try:
            response = urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as answer:
            answer.close()
            if start and answer.code == RANGE_NOT_SATISFIABLE:
                return None
            raise _AttemptError(
                f"the server answers {answer.code} {answer.reason}".rstrip(),
                again=answer.code >= 500 or answer.code in TRY_LATER,
            ) from answer
    if not isinstance(response, HTTPResponse):
        response.close()
        raise _AttemptError(f"the server redirects to {response.url}", again=False)
    return response


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
        raise _AttemptError(f"not a usable address ({failure})", again=False) from failure
    except (OSError, HTTPException) as failure:
        reason = getattr(failure, "reason", failure)
        if isinstance(reason, TimeoutError):
            reason = f"no data for {timeout:g} s"
        raise _AttemptError(str(reason) or type(reason).__name__, again=True) from failure


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


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time in; the lock ends with the process, the empty file stays."""
    with open(path, "ab") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                    break
                except PermissionError:
                    time.sleep(0.1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
