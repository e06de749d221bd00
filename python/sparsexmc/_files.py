"""Files and directories that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO

from . import _core
from .errors import ArgumentError

_RANDOM_BYTES = 8
_TEMPORARY = ".tmp"


def check_output(name: str, path: object, *, directory: bool = False, model: str | PathLike[str] | None = None) -> None:
    """Raise ArgumentError, which calls it `name`, for a `path` that nothing may be written to; writes nothing itself.

    A file that a model does not list makes it unreadable, so nothing goes into a model directory but what is hidden.
    All that writes for the user asks here first.

    Args:
        name: of the argument.
        path: of a file, or of a `directory` that is to be made or replaced.
        model: a directory that will be a model, and counts as one.
    """
    text = fspath(path) if isinstance(path, str | PathLike) else path
    if not isinstance(text, str):
        raise ArgumentError(f"{name} is {path!r}; pass a path, as text or pathlib.Path")
    if not text.strip() or "\0" in text:
        raise ArgumentError(f"{name}={text!r} is no path; name a {'directory' if directory else 'file'}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"{name}={text!r} is not UTF-8; name another path") from None
    real = os.path.realpath(text)
    if directory and Path(os.getcwd()).is_relative_to(real):
        raise ArgumentError(
            f"{name}={text!r} is the current directory or holds it, and would be replaced; name a new directory in it"
        )
    if not directory and (os.path.isdir(real) or text.endswith("/")):
        raise ArgumentError(f"{name}={text!r} is a directory; name a file")
    if model is not None and real != (place := os.path.realpath(model)) and Path(real).is_relative_to(place):
        raise ArgumentError(
            f"{name}={text!r} lies in {fspath(model)!r}, which will be a model and holds nothing else; name a path "
            "outside of it"
        )
    # A link is replaced or followed, according to the writer.
    for place in dict.fromkeys((real, os.path.join(os.path.realpath(os.path.dirname(text)), os.path.basename(text)))):
        if inside := _core.enclosing_model(place):
            raise ArgumentError(
                f"{name}={text!r} lies in the model directory {inside!r}, which could not be read with it; name a path "
                "outside of it"
            )


def open_regular(path: str | PathLike[str]) -> BinaryIO:
    """An existing regular file, or a link to one, for reading.

    Raises OSError at once for anything else: opening a pipe would wait for its writer, and a device has no end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            reason = "a directory, pipe or device, where a regular file is needed"
            raise OSError(errno.EINVAL, reason, fspath(path))
        file = os.fdopen(descriptor, "rb")
        descriptor = -1
        return file
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def atomic_file(path: str | PathLike[str], name: str = "path") -> Iterator[BinaryIO]:
    """A new binary file, which becomes `path` if the block ends well and vanishes if it does not.

    It is made in the directory of `path` under a hidden name that nobody can guess, and only if nothing has that name,
    not even a link. It keeps the permissions of the file that it replaces. What killed processes left of writing to
    `path` is removed first.

    Raises:
        ArgumentError: as `check_output`, which calls the path `name`; or something there is no regular file.
        OSError: it cannot be written; its filename is `path`.
    """
    check_output(name, path)
    target = Path(path)
    if target.exists() and not target.is_file():  # a pipe, or a device such as /dev/null
        raise ArgumentError(f"{name}={fspath(path)!r} is no regular file, and would be replaced; name a file")
    _remove_leftovers(target)
    with _naming(path):
        temporary, descriptor = _make_temporary(target)
    try:
        with _naming(path), os.fdopen(descriptor, "w+b") as file:
            with contextlib.suppress(OSError):
                status = target.lstat()
                if stat.S_ISREG(status.st_mode):
                    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            yield file
            file.flush()
            os.fsync(descriptor)
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(target.parent)


@contextmanager
def atomic_directory(path: str | PathLike[str], names: Collection[str]) -> Iterator[Path]:
    """A new directory beside `path`, which takes its place if the block ends well and vanishes if it does not.

    At every moment `path` is the old or the new directory, also after a kill; what killed processes left beside it is
    removed at the next call.

    Args:
        path: nothing yet, or a directory that may be replaced: of files with some of these names, and hidden ones.
        names: those that the block may write.

    Raises:
        CheckpointError: something else is there, or it cannot be written.
    """
    writer = _core.DirectoryWriter(fspath(path), list(names))
    try:
        with _naming(path):
            yield Path(writer.path)
        writer.publish()
    finally:
        writer.close()


@contextmanager
def _naming(path: str | PathLike[str]) -> Iterator[None]:
    """An OSError of the block that names no file, as of a full disk, or a temporary one, names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and (error.filename is None or str(error.filename).endswith(_TEMPORARY)):
            error.filename, error.filename2 = fspath(path), None
        raise


def check_writable(directory: Path) -> None:
    """Raises OSError unless files can be made in the directory; leaves nothing there, even when it is killed."""
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        is_read_only = bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
        code = errno.EROFS if is_read_only else errno.EACCES
        raise OSError(code, os.strerror(code), str(directory))


def recover_directory(path: str | PathLike[str]) -> None:
    """Puts back what a process set aside at `path` when it was killed, if the file system cannot exchange names."""
    _core.recover_directory(fspath(path))


def sync_directory(path: Path) -> None:
    """Waits until the names in a directory are on the disk, where the file system can say so."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_temporary(target: Path) -> tuple[Path, int]:
    """A new file beside `target`, and its descriptor, which holds a lock: no other process takes it for a leftover.

    One that did so before the file was locked holds the lock until it has removed it; then another file is made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(_RANDOM_BYTES)}{_TEMPORARY}")
        descriptor = os.open(temporary, flags, 0o666)
        try:
            with contextlib.suppress(OSError):  # where the file system has no locks, nobody else gets one either
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(descriptor), temporary.lstat()):
                return temporary, descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        os.close(descriptor)


def _remove_leftovers(target: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}{re.escape(_TEMPORARY)}")
    with contextlib.suppress(OSError):
        for entry in os.scandir(target.parent):
            if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _remove_unless_locked(entry.path)


def _remove_unless_locked(path: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if _try_lock(descriptor):
                os.unlink(path)
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
