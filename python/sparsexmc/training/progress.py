"""Output of `fit`: a bar on a terminal, sparse lines elsewhere, and the metrics file."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

from ..errors import ArgumentError
from .validation import A, B

_SECONDS_BETWEEN_LINES = 30.0
_MEMORY = 0.98  # of the running mean of the loss, per step


class Progress:
    """Shows epoch, step, loss (running mean), instances per second and remaining time.

    Args:
        mode: True: a bar; False: nothing; None: a bar if standard error is a terminal, else a line every 30 seconds
            and after every epoch.
        instances: number of instances of all epochs.
        done: how many of them an interrupted training had done.
    """

    def __init__(self, mode: bool | None, instances: int, last_epoch: int, done: int = 0) -> None:
        self._total = instances
        self._last_epoch = last_epoch
        self._silent = mode is False
        wants_bar = mode is True or (mode is None and sys.stderr.isatty())
        self._bar = (
            tqdm(total=instances, initial=done, unit="inst", unit_scale=True, file=sys.stderr) if wants_bar else None
        )
        self._done = self._earlier = done
        self._loss = 0.0
        self._weight = 0.0
        self._start = self._last_line = time.perf_counter()

    def step(self, epoch: int, step: int, loss: float, instances: int) -> None:
        """After every training step."""
        self._done += instances
        self._loss = _MEMORY * self._loss + (1 - _MEMORY) * loss
        self._weight = _MEMORY * self._weight + (1 - _MEMORY)
        if self._bar is not None:
            self._bar.set_description_str(f"epoch {epoch}/{self._last_epoch}", refresh=False)
            self._bar.set_postfix_str(f"step {step}, loss {self._loss / self._weight:.4g}", refresh=False)
            self._bar.update(instances)
        elif not self._silent:
            now = time.perf_counter()
            if now - self._last_line >= _SECONDS_BETWEEN_LINES:
                self._last_line = now
                rate = (self._done - self._earlier) / (now - self._start)
                remaining = (self._total - self._done) / rate
                self._write(
                    f"epoch {epoch}/{self._last_epoch}  step {step}  loss {self._loss / self._weight:.4g}  "
                    f"{rate:,.0f} instances/s  {remaining:,.0f} s left"
                )

    def epoch(self, epoch: int, step: int, loss: float, rate: float, scores: dict[str, float]) -> None:
        """After every epoch, with its mean loss and the validation metrics."""
        if self._silent:
            return
        metrics = "".join(f"  {part}" for part in _grouped(scores))
        self._last_line = time.perf_counter()
        self._write(f"epoch {epoch}/{self._last_epoch}  step {step}  loss {loss:.4g}{metrics}  {rate:,.0f} instances/s")

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def _write(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)


def _grouped(scores: dict[str, float]) -> list[str]:
    """ "P@1/3/5 76.20 52.10 40.00" of P@1, P@3, P@5, and the like, in percent; PSP with its A and B."""
    cutoffs: dict[str, list[str]] = {}
    for name in scores:
        metric, _, k = name.partition("@")
        cutoffs.setdefault(metric, []).append(k)
    lines = []
    for metric, ks in cutoffs.items():
        model = f" (A={A:g}, B={B:g})" if metric.startswith("PS") else ""
        values = " ".join(f"{100 * scores[f'{metric}@{k}']:.2f}" for k in ks)
        lines.append(f"{metric}@{'/'.join(ks)}{model} {values}")
    return lines


class MetricsFile:
    """Appends one JSON object per line; every line is written whole, at once."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._file: TextIO | None = None
        if path is not None:
            try:
                self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
            except OSError as error:
                raise ArgumentError(f"metrics_file={os.fspath(path)!r} cannot be written: {error.strerror}") from error

    def write(self, record: dict[str, Any]) -> None:
        """Append a line and hand it to the operating system."""
        if self._file is not None:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
