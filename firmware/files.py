"""Where files go, and how they are written whole or not at all."""

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import FirstspikeError

__all__ = ["cache_folder", "cache_home", "locked", "require_writable", "write_atomically"]


def cache_home() -> Path:
    """The folder in which programs keep what can be had again: ``$XDG_CACHE_HOME``, or ``~/.cache``
    if the variable is not set. It need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def cache_folder(name: str) -> Path:
    """The folder ``firstspike/name`` of the cache. It need not exist."""
    return cache_home() / "firstspike" / name


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; the system releases it even if the process is killed."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def require_writable(*paths: str | os.PathLike[str] | None) -> None:
    """Refuse files that :func:`write_atomically` could not write, before long work for them begins.

    Parameters
    ----------
    paths : path or None
        None is passed over, for files that nobody asked for.

    Raises
    ------
    FirstspikeError
        As :func:`write_atomically` does, or if two paths are of one file.
    """
    asked = [Path(path) for path in paths if path is not None]
    places = [os.path.realpath(path) for path in asked]
    for index, (path, place) in enumerate(zip(asked, places, strict=True)):
        if place in places[:index]:
            raise FirstspikeError(
                f"{path} was given for two files, of which one would replace the other; choose "
                "another name for one of them"
            )
    for path in asked:
        try:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            # What the system allows is best seen by trying.
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise _unwritable(path, error) from error


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` and move it there once it is complete and on disk.

    If the block raises, or the disk fills up, ``path`` is left as it was and the temporary file
    is removed.

    Raises
    ------
    FirstspikeError
        If the file cannot be written; the message names the path and the system's reason.
    """
    path = Path(path)
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
        )
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _unwritable(path: Path, error: OSError) -> FirstspikeError:
    left = "it was left as it was, check" if _exists(path) else "check"
    return FirstspikeError(
        f"{path} could not be written ({error.strerror or error}); {left} the folder and the free "
        "space"
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long
        return False


def _umask() -> int:
    """Return the process's umask; reading it means setting it for an instant."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
