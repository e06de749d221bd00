"""Files and directories that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO

from . import _core

_RANDOM_BYTES = 8


@contextmanager
def atomic_file(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A new binary file, which becomes `path` if the block ends well and vanishes if it does not.

    It is made in the directory of `path` under a hidden name that nobody can guess, and only if nothing has that name,
    not even a link. What killed processes left of writing to `path` is removed first. Raises OSError.
    """
    target = Path(path)
    _remove_leftovers(target)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(_RANDOM_BYTES)}.tmp")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            _try_lock(descriptor)  # held until it is closed, so that no other process takes it for a leftover
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
        yield Path(writer.path)
        writer.publish()
    finally:
        writer.close()


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


def _remove_leftovers(target: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}\.tmp")
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
