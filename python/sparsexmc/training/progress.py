"""The display of a training: a bar on a terminal, sparse lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
import warnings
from typing import Any

from tqdm import tqdm

from .validation import A, B

SECONDS_BETWEEN_LINES = 30.0
_COLUMNS = 80  # where the terminal does not say
_MEMORY = 0.98  # of the running mean of the loss, per step


class Progress:
    """Shows epoch, loss (running mean), instances per second and remaining time.

    Args:
        mode: True: a bar; False: nothing; None: a bar on a terminal and in notebooks that can show one, elsewhere a
            line every 30 seconds and after every epoch.
        instances: number of instances of all epochs.
        done: how many of them an interrupted training had done.
    """

    def __init__(self, mode: bool | None, instances: int, last_epoch: int, done: int = 0) -> None:
        self._total = instances
        self._last_epoch = last_epoch
        self._silent = mode is False
        self._bar = new_bar(mode, instances, done, unit="inst")
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
            self._bar.set_postfix_str(f"loss {self._loss / self._weight:.4g}", refresh=False)
            self._bar.update(instances)
        elif not self._silent:
            now = time.perf_counter()
            if now - self._last_line >= SECONDS_BETWEEN_LINES:
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
        parts = [f"epoch {epoch}/{self._last_epoch}", f"step {step}", f"loss {loss:.4g}", *_grouped(scores)]
        self._last_line = time.perf_counter()
        self._write("  ".join([*parts, f"{rate:,.0f} instances/s"]))

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def _write(self, line: str) -> None:
        if self._bar is None:
            print(line, file=sys.stderr, flush=True)
            return
        for part in wrapped(line, self._bar.ncols or _COLUMNS):
            self._bar.write(part, file=sys.stderr)


def new_bar(mode: bool | None, total: int, done: int = 0, *, unit: str | None = None) -> Any:
    """A bar of `tqdm`, or None; `mode` as of `Progress`. With a unit it shows the rate.

    What it shows fits 80 columns with a bar of ten, at any size.
    """
    bar: Any = tqdm
    in_notebook = False
    if "ipykernel" in sys.modules:
        with warnings.catch_warnings():  # about widgets that are not installed: then there are lines, as in a file
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm as bar_of_frontend
            from tqdm.notebook import tqdm_notebook

            bar = bar_of_frontend
            in_notebook = issubclass(bar, tqdm_notebook)
    if mode is False or (mode is None and not (in_notebook or sys.stderr.isatty())):
        return None
    rate = ", {rate_noinv_fmt}" if unit else ""
    form = "{l_bar}{bar}| {elapsed}<{remaining}" + rate + "{postfix}"
    width = None if in_notebook else shutil.get_terminal_size((_COLUMNS, 24)).columns - 1  # the last is the cursor's
    return bar(
        total=total, initial=done, unit=unit or "it", unit_scale=True, file=sys.stderr, bar_format=form, ncols=width
    )


def wrapped(line: str, columns: int) -> list[str]:
    """A line whose parts have two spaces between them, as lines that fit; the others are indented."""
    lines: list[str] = []
    for part in line.split("  "):
        if lines and len(lines[-1]) + 2 + len(part) <= columns:
            lines[-1] += "  " + part
        else:
            lines += textwrap.wrap(part, columns - 2, initial_indent="  " if lines else "") or [""]
    return lines


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
