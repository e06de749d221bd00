"""Ctrl-C in the moments when the command line starts and ends, without a traceback of whatever was being imported.

The package imports this first; it does nothing in other programs.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C part of `signal`: this file imports nothing that takes time
import os
import sys

INTERRUPTED = 130  # 128 + the number of the signal, as shells report it


def _leave(number: int, frame: object) -> None:
    os.write(2, b"sparsexmc: interrupted\n")
    os._exit(INTERRUPTED)


def _replace(old: object, new: object) -> bool:
    """Whether Ctrl-C had the handler `old`; then it has `new`."""
    if _signal.getsignal(_signal.SIGINT) is not old:
        return False
    try:
        _signal.signal(_signal.SIGINT, new)
    except ValueError:  # another thread than the main one
        return False
    return True


class Interrupts:
    """A `with` block in which Ctrl-C raises KeyboardInterrupt, as it does by default."""

    def __enter__(self) -> None:
        self._replaced = _replace(_leave, _signal.default_int_handler)

    def __exit__(self, *exception: object) -> None:
        if self._replaced:
            _replace(_signal.default_int_handler, _leave)


def _is_command() -> bool:
    """Whether this process is `sparsexmc ...` or `python -m sparsexmc ...`."""
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    if name == "-m":  # while the package is being imported for it
        return "sparsexmc" in sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1]
    return name == "sparsexmc"


if _is_command():
    _replace(_signal.default_int_handler, _leave)
