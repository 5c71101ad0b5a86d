"""Files that are whole or not there: whoever looks sees the old content or the new one, never half of it.

And folders that one process at a time writes into.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

try:
    import fcntl
except ImportError:  # Windows, where folders are not locked
    fcntl = None  # type: ignore[assignment]


@contextmanager
def atomic_file(path: str | os.PathLike[str], size: int | None = None) -> Iterator[IO[bytes]]:
    """Give a binary file that replaces `path`, with mode 0644, only when the block ends without an error.

    Its folder is made where it is missing. A symbolic link stays one: what it points to is replaced. Raises OSError
    that names the file, the reason, and the MB (`size` bytes, where known) needed and free, when it can't be written.
    """
    target = Path(os.path.realpath(path))
    with _told_where(target, size):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        with contextlib.suppress(OSError):  # a folder cannot be synced on every system
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


@contextmanager
def _told_where(path: Path, size: int | None) -> Iterator[None]:
    """Turn an error of the system in writing `path` into the same error with file, reason and space in its message."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # it explains itself
            raise
        needed = "" if size is None else f"{size / 1e6:.1f} MB needed, "
        existing = next(folder for folder in path.parents if folder.is_dir())
        free = shutil.disk_usage(existing).free / 1e6
        reason = f"could not be written: {error.strerror} ({needed}{free:.1f} MB free); what was there before is kept"
        raise OSError(error.errno, reason, str(path)) from error


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Put bytes, or text as UTF-8, at `path` whole: see `atomic_file`."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_file(path, len(data)) as file:
        file.write(data)


def append_line(path: Path, text: str) -> None:
    """Add one line of UTF-8 text to a file, raising OSError as `atomic_file` does; a kill may leave half a line."""
    with _told_where(path, None), open(path, "a", encoding="utf-8") as file:
        file.write(text + "\n")


def remove_leftovers(folder: Path, older_than: float = 0.0) -> None:
    """Remove what writers into a folder left behind when they were killed.

    Where others write into it too, only what has lain there for more than `older_than` seconds.
    """
    for temporary in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - temporary.stat().st_mtime >= older_than:
                temporary.unlink()


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, made where it is missing, for this process alone until the block ends, however it ends.

    The lock is the system's (flock), so that even kill -9 frees it; what killed writers left behind is removed. Raises
    BlockingIOError that names the process which holds the folder.
    """
    with _told_where(folder, None):
        folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    path = folder / ".lock"
    with _locked_file(path) as file:
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        remove_leftovers(folder)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked_file(path: Path) -> TextIO:
    """Return the open file that a folder is locked by."""
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - it is held as long as the folder
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            text = f"{path.parent}: in use by pid {holder}; wait for it, or choose another --out"
            raise BlockingIOError(text) from None
        file.close()  # its holder removed it in the meantime: another one is there, or none


def refuse_overwriting(inputs: Iterable[str | os.PathLike[str]], outputs: Iterable[str | os.PathLike[str]]) -> None:
    """Raise ValueError where one of `outputs` is a file of `inputs`, by whatever spelling or link it is named.

    Scripts call it before they write anything, with every file that they were given to read.
    """
    given = list(inputs)
    for output in outputs:
        for path in given:
            with contextlib.suppress(OSError):  # a file that is not there yet is nobody's
                if os.path.samefile(path, output):
                    raise ValueError(f"{output}: is what was given to read ({path}); choose another --out")
