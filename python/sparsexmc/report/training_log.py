"""The metrics file of a training, as learning curves: what `Classifier.fit(metrics_file=...)` appends line by line."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError

Record = dict[str, Any]


@dataclass(frozen=True)
class TrainingLog:
    """One training, resumptions included.

    Attributes:
        path: the file.
        steps: lines of single steps: step, loss (of one batch), base_lr.
        epochs: lines of epochs: epoch, step (the last), loss (mean), seconds, validation.
    """

    path: str
    steps: list[Record] = field(default_factory=list)
    epochs: list[Record] = field(default_factory=list)

    @property
    def last_step(self) -> int:
        """The last step that the file knows; 0 for an empty one."""
        return max((record["step"] for record in [*self.steps[-1:], *self.epochs[-1:]]), default=0)

    @property
    def metrics(self) -> list[str]:
        """Names of the validation metrics, in the order of the file."""
        return list(dict.fromkeys(name for record in self.epochs for name in record["validation"]))

    def knows(self, step: int) -> bool:
        """Whether a model with this many steps can come from this training."""
        return any(record["step"] == step for record in self.epochs) or step == self.last_step


def read(path: str | os.PathLike[str]) -> TrainingLog:
    """The last training in the file.

    A file is appended to, so it may hold several trainings, and one that was interrupted and resumed: whatever lies
    beyond the step at which a training starts is superseded by it. A last line that a kill has cut is left out.

    Raises:
        OSError: it cannot be read.
        DataError: a line is no record of a metrics file; the message has its number.
    """
    log = TrainingLog(os.fspath(path))
    lines = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip() or number == len(lines):  # the last one has no line break: empty, or cut
            continue
        record = _record(line)
        if record is None:
            raise DataError(f"{log.path}:{number}: not a line of a metrics file; pass the one that the training wrote")
        kept = {"start": None, "step": log.steps, "epoch": log.epochs}.get(record["event"], [])
        # In a file without start lines a fall of the step gives a new training away.
        if record["event"] == "start" or (kept and kept[-1]["step"] >= record["step"]):
            first = record["step"] + (record["event"] == "start")
            for records in (log.steps, log.epochs):
                records[:] = [old for old in records if old["step"] < first]
        if kept is not None:
            kept.append(record)
    return log


def learning_rates(
    schedule: Record, steps: npt.NDArray[np.int64], base_lr: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The learning rate of steps 1, 2, ... [n] with base rates [n] under the schedule of `Classifier.config`.

    The factor is that of sparsexmc::Schedule::factor, which counts steps from 0.
    """
    done = steps - 1.0
    warmup, total, final = (float(schedule[key]) for key in ("warmup_steps", "total_steps", "final_share"))
    factor = np.ones(len(steps))
    if schedule["kind"] != "constant":
        share = np.clip((done - warmup) / max(total - warmup, 1.0), 0.0, 1.0)
        fall = 1.0 - share if schedule["kind"] == "linear" else 0.5 * (1.0 + np.cos(np.pi * share))
        factor = final + (1.0 - final) * fall
    return base_lr * np.where(done < warmup, (done + 1.0) / max(warmup, 1.0), factor)


def _record(line: str) -> Record | None:
    """The line as a record with all that is read of it, or None."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("step"), int):
        return None
    wanted: dict[Any, dict[str, Any]] = {
        "step": {"loss": (int, float), "base_lr": (int, float)},
        "epoch": {"epoch": int, "loss": (int, float), "validation": dict},
    }
    fields = wanted.get(record.get("event"), {})
    complete = all(isinstance(record.get(name), kind) for name, kind in fields.items())
    return record if complete and isinstance(record.get("event"), str) else None
