"""Files that are whole or not there: whoever looks sees the old content or the new one, never half of it.

And folders that one process at a time writes into.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

LOCK, UNFINISHED = ".in-use.lock", ".unfinished.tmp"
"""What this program writes for itself into folders of others, by names that nobody else gives a file."""
NAME_LENGTH = 40
"""Characters of a file's name that its unfinished form keeps: the whole of a long one would be too long."""


def opened(path: str | os.PathLike[str]) -> IO[bytes]:
    """Return a file opened to read its bytes, from any place and as often as wanted, also where it is a pipe.

    Raises FileNotFoundError, or IsADirectoryError that says that it is a folder.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(f"{path}: is a folder, must be a file")
        if stat.S_ISREG(status.st_mode):
            return open(path, "rb")
        return io.BytesIO(_content_of_pipe(os.fspath(path), status.st_dev, status.st_ino))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None


@functools.lru_cache(maxsize=8)
def _content_of_pipe(path: str, device: int, inode: int) -> bytes:
    return Path(path).read_bytes()  # a pipe gives it once, and some readers look twice


@contextmanager
def atomic_file(path: str | os.PathLike[str], size: int | None = None) -> Iterator[IO[bytes]]:
    """Give a binary file that replaces `path`, with mode 0644, only when the block ends without an error.

    It can be read back within the block. Its folder is made where it is missing. A symbolic link stays one: what it
    points to is replaced. Raises OSError that names the file, the reason, and the MB (`size` bytes, where known) needed
    and free, when it can't be written.
    """
    target = Path(os.path.realpath(path))
    with _told_where(target, size):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(UNFINISHED, f".{target.name[:NAME_LENGTH]}.", target.parent)
        try:
            with os.fdopen(handle, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder that takes the place of `path`, files and all, only when the block ends without an error.

    A folder cannot be replaced in one step: a kill at the wrong moment leaves nothing at `path`, but never half.
    Raises OSError as `atomic_file` does.
    """
    target = Path(os.path.realpath(path))
    with _told_where(target, None):
        target.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(UNFINISHED, f".{target.name[:NAME_LENGTH]}.", target.parent))
        try:
            new, old = place / "new", place / "old"
            new.mkdir(mode=0o755)
            yield new
            with contextlib.suppress(FileNotFoundError):
                os.replace(target, old)
            os.replace(new, target)
        finally:
            shutil.rmtree(place, ignore_errors=True)


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


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def remove_leftovers(folder: Path, older_than: float = 0.0) -> None:
    """Remove what writers into a folder left behind when they were killed.

    Where others write into it too, only what has lain there for more than `older_than` seconds.
    """
    for temporary in folder.glob(f".*{UNFINISHED}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - temporary.stat().st_mtime >= older_than:
                shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, made where it is missing, for this process alone until the block ends, however it ends.

    The lock is the system's, so that even kill -9 frees it; what killed writers left behind is removed. Raises
    BlockingIOError that names the process which holds the folder.
    """
    with _told_where(folder, None):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.2)  # its holder may just be giving it back
    except Timeout:
        holder = ""
        with contextlib.suppress(OSError):  # on Windows a locked file cannot be read
            holder = path.read_text(encoding="utf-8").strip()
        text = f"{folder}: in use by pid {holder or 'unknown'}; wait for it, or choose another --out"
        raise BlockingIOError(text) from None
    try:
        path.write_text(f"{os.getpid()}\n", encoding="utf-8")
        remove_leftovers(folder)
        yield
    finally:
        with contextlib.suppress(OSError):  # nor removed
            path.unlink()  # before it is given back: who has opened it by then sees that it is gone, and tries again
        lock.release()


def refuse_overwriting(inputs: Iterable[str | os.PathLike[str]], outputs: Iterable[str | os.PathLike[str]]) -> None:
    """Raise ValueError where one of `outputs` is a file of `inputs`, by whatever spelling or link it is named.

    Scripts call it before they write anything, with every file that they were given to read and every file that they
    may write or remove.
    """
    there = [output for output in outputs if os.path.exists(output)]
    for path in inputs if there else ():
        for output in there:
            with contextlib.suppress(OSError):  # what is not there is told by whoever reads it
                if os.path.samefile(path, output):
                    raise ValueError(f"{output}: is what was given to read ({path}); choose another --out")


def refuse_replacing(folder: Path, names: Iterable[str], own: Iterable[str] = ()) -> None:
    """Raise ValueError where a file of `names` is in a folder and none of `own`, which an earlier run says it wrote.

    Scripts that fill a folder call it before they write anything: whatever else is in there is somebody's.
    """
    for name in set(names) - set(own):
        if os.path.lexists(folder / name):
            raise ValueError(f"{folder / name}: is there and was not written by this script; choose another --out")
