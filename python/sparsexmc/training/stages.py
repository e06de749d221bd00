"""Progress of work that is done in stages: what stands beside a network."""

from __future__ import annotations

import sys
import time

from .progress import SECONDS_BETWEEN_LINES, new_bar


class Stages:
    """Shows which stage is being done, of how many.

    Args:
        mode: True: a bar; False: nothing; None: a bar where `fit` shows one, elsewhere a line for what begins 30
            seconds or more after the last line.
    """

    def __init__(self, mode: bool | None, total: int) -> None:
        self._total = total
        self._silent = mode is False
        self._bar = new_bar(mode, total)
        self._begun = 0
        self._last_line = time.perf_counter()

    def begin(self, name: str) -> None:
        """Before every stage; the one before is done."""
        self._begun += 1
        if self._bar is not None:
            self._bar.set_description_str(name, refresh=False)
            self._bar.update(1 if self._begun > 1 else 0)
            self._bar.refresh()
        elif not self._silent:
            now = time.perf_counter()
            if now - self._last_line >= SECONDS_BETWEEN_LINES:
                self._last_line = now
                print(f"{name} ({self._begun} of {self._total})", file=sys.stderr, flush=True)

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """After the last stage, or an error in one."""
        if self._bar is not None:
            self._bar.update(1 if kind is None and self._begun else 0)
            self._bar.close()
