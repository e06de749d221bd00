"""One training to a path at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from os import PathLike, fspath
from typing import Self

from ..errors import CheckpointError

_SUFFIX = ".sparsexmc-lock"  # the C++ writer, which removes what a killed process left, knows it as well
_PATIENCE = 0.5  # seconds: a writer that removes a leftover holds it for a moment
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class ModelLock:
    """The lock that a training holds from start to end, so that a second one to the same path is refused at once.

    The lock is on a file beside `path`, which goes at the end. What a killed process leaves of it locks nobody out.
    Where the file system has no locks there is none. Missing parents of `path` are made.

    Raises:
        CheckpointError: another process or another `ModelLock` has it, or the file cannot be made.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = fspath(path)
        self._file = os.path.realpath(self._path) + _SUFFIX
        self._descriptor = -1
        deadline = time.monotonic() + _PATIENCE
        try:
            os.makedirs(os.path.dirname(self._file), exist_ok=True)
            while not self._take():
                if time.monotonic() > deadline:
                    raise CheckpointError(
                        f"another training writes to '{self._path}' at this moment; wait until it has ended, or name "
                        "another path"
                    )
                time.sleep(_PATIENCE / 20)
        except OSError as error:
            raise CheckpointError(
                f"cannot create '{self._file}': {error.strerror}; check the permissions, or choose another path"
            ) from None

    def release(self) -> None:
        """Let others train to the path."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._file)  # while it is locked: who waits for it finds that it has gone
            os.close(self._descriptor)
            self._descriptor = -1

    def _take(self) -> bool:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self._file, flags, 0o666)
        try:
            if _lock(descriptor) and self._is_current(descriptor):
                self._descriptor, descriptor = descriptor, -1
                return True
            return False
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """Whether the file still has its name: the holder before may have removed it between opening and locking."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._file, follow_symlinks=False))
        except FileNotFoundError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.release()


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            return error.errno in _NO_LOCKS
        return False
    return True
