"""Writing files so that nothing half-done ever carries a final name, and naming their content."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emonet_deploy.errors import EmonetError, InputError

__all__ = ["atomic_write", "sha256_file"]


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], error: type[EmonetError] = InputError
) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    The folder is made when it is missing. When the block fails or is interrupted the temporary
    file is removed and whatever stood at ``path`` before is untouched. A device or pipe, such as
    ``/dev/stdout``, is written straight to: there is nothing to replace.

    Args:
        path: the final name.
        error: what to raise when the folder or the file cannot be written.

    Raises:
        EmonetError: of the type ``error``, on any ``OSError`` (no permission, full disk ...).
    """
    final = Path(path)
    # The suffix stays last: some libraries choose the format by it.
    special = final.exists() and not final.is_file() and not final.is_dir()
    temporary = (
        final
        if special
        else final.with_name(f".{final.stem}.{secrets.token_hex(4)}.tmp{final.suffix}")
    )
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not special:
            os.replace(temporary, final)
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise error(
            f"cannot write {final}: {reason}", hint="free some space or name another place"
        ) from failure
    finally:
        if not special:
            with suppress(OSError):
                temporary.unlink()


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
