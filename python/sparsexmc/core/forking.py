"""Forks of a process whose other threads use classifiers, as data loaders make them.

A fork waits for the calls that run, so that the child has whole models, which nobody has locked. A call that goes on
for longer is left behind in the middle: in the child its classifier raises `Error`.
"""

from __future__ import annotations

import os
import threading
import time
import weakref

from .. import _core
from ..errors import Error

_PATIENCE = 1.0  # seconds

_engines: set[weakref.ref[_core.Classifier]] = set()
_held = threading.local()  # by the thread that forks


def register(engine: _core.Classifier) -> None:
    """Let forks wait for the calls of an engine."""
    _engines.add(weakref.ref(engine, _engines.discard))


def _before() -> None:
    held: list[_core.Classifier] = []
    _held.engines = held
    deadline = time.monotonic() + _PATIENCE
    for engine in filter(None, [reference() for reference in list(_engines)]):
        try:
            if engine.begin_fork(max(deadline - time.monotonic(), 0.0)):
                held.append(engine)
        except Error:  # in a child that has left a call behind itself
            continue


def _after() -> None:
    for engine in _held.__dict__.pop("engines", []):
        engine.end_fork()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
