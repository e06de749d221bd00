"""The metrics file of `fit`."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from ..errors import ArgumentError

_log = logging.getLogger("sparsexmc")


class MetricsFile:
    """Appends one JSON object per line; every line is written whole, at once.

    What it says is not worth a training: when a line cannot be written (a full disk, a file that was removed), a
    warning names the reason, and no further line is tried, so that the file ends with a whole one or the broken one.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._descriptor: int | None = None
        if path is not None:
            self._path = os.fspath(path)
            try:
                self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise ArgumentError(f"metrics_file={self._path!r} cannot be written: {error.strerror}") from error

    def write(self, record: dict[str, Any]) -> None:
        """Append a line and hand it to the operating system."""
        if self._descriptor is None:
            return
        line = (json.dumps(record) + "\n").encode()
        try:
            if os.fstat(self._descriptor).st_nlink == 0:
                raise FileNotFoundError(None, "it was removed")
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            self.close()
            _log.warning("metrics_file=%r: %s; training goes on without it", self._path, error.strerror)

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.close(descriptor)
            except OSError as error:  # some file systems tell only now
                _log.warning("metrics_file=%r: %s; its last lines may be missing", self._path, error.strerror)
