"""Training for whole epochs: shuffling, validation, early stopping, progress, metrics file, checkpoints."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._checks import require_int, require_number
from .._files import check_output
from ..core.classifier import CoreClassifier
from ..core.step import StepResult
from ..errors import ArgumentError, DivergenceError
from ..interop.inputs import InstanceWeights
from ..interop.rows import CsrRows, DenseRows, LabelRows, Rows, feature_rows
from .defaults import epochs_for_data
from .history import Callback, EpochInfo, History, StepInfo
from .progress import MetricsFile, Progress
from .settings import TrainingSettings
from .validation import Validation, held_out_count, hold_out, keyed_generator, parse_metric

__all__ = ["Callback", "EpochInfo", "History", "StepInfo", "fit", "steps_per_epoch"]

_STEPS_PER_LINE = 100  # of the metrics file
_STEPS_BEHIND = 16  # on a GPU, which works through a queue of steps: reading a loss waits for its step


def steps_per_epoch(num_instances: int, batch_size: int, validation: Any = TrainingSettings.validation) -> int:
    """Number of training steps of an epoch of `fit`, for a `Schedule`'s total_steps.

    Args:
        num_instances: rows of X.
        batch_size, validation: as given to `fit`.
    """
    held = held_out_count(num_instances, validation) if isinstance(validation, float) else 0
    return math.ceil((num_instances - held) / batch_size)


def fit(  # the method Classifier.fit
    self: CoreClassifier,
    X: Any,
    Y: Any,
    epochs: int | None = None,
    *,
    batch_size: int | None = TrainingSettings.batch_size,
    validation: float | tuple[Any, Any] | None = TrainingSettings.validation,
    validation_metric: str = TrainingSettings.validation_metric,
    instance_weights: npt.ArrayLike | None = None,
    filter: Any = None,
    patience: int | None = TrainingSettings.patience,
    callbacks: Sequence[Any] = (),
    shuffle: bool = TrainingSettings.shuffle,
    seed: int | None = TrainingSettings.seed,
    metrics_file: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> History:
    """Train for whole epochs, with validation, early stopping, checkpoints and a progress bar.

    Epochs are numbered on from the steps that the classifier has already done, and the order of an epoch depends on
    `seed` and its number alone: training for 2 epochs, or for 1, saving, loading and 1 more, gives the same model. What
    a `Schedule` or `Rewiring` leaves to follow from the length of the training takes the end of this call for its end;
    give them steps where one training is to be several calls.

    Everything is checked before the first step. Ctrl-C raises KeyboardInterrupt between two steps: the classifier stays
    usable, the last checkpoint and every line of the metrics file are whole.

    Args:
        X: [n, in_features] dense embeddings (NumPy array or memmap, torch tensor on the CPU or the classifier's GPU),
            or scipy CSR of float32 with `sparse_input`.
        Y: positives of the n instances, as in `train_step`.
        epochs: number of further epochs, whose last, smaller batch is used too; None: as many as suit the number of
            instances and labels, 4 to 30.
        batch_size: instances per step; None: the classifier's.
        validation: share of the instances to hold out (the same ones for the same seed), a pair (X, Y), or None.
        validation_metric: what makes an epoch the best: P@k, nDCG@k, R@k, PSP@k, PSnDCG@k, coverage@k or macro-F1@k.
            P and PSP at 1, 3, 5 and macro-F1@5 are reported beside it. Propensities come from the training rows with
            A = 0.55, B = 1.5.
        instance_weights: [n] finite factors >= 0 on the losses of the instances, as in `train_step`; None: all 1.
            Validation does not weigh.
        filter: scipy CSR [n, num_labels], pairs that validation does not predict (`sparsexmc.data.read_filter`); for a
            pair (X, Y) as `validation` its rows are those of that X.
        patience: stop after this many epochs without a better metric; None: never. The weights stay those of the last
            epoch; load `checkpoint` for the best.
        callbacks: objects with `on_step(clf, info)` or `on_epoch(clf, info)`, see `sparsexmc.Callback`; True from
            `on_epoch` stops. On a GPU `on_step` makes every step wait for the one before.
        shuffle: False: rows in the order of X in every epoch.
        seed: of shuffling and holding out; None: the classifier's.
        metrics_file: path to which JSON lines are appended: the start, every epoch, every 100th step, every rewiring.
        checkpoint: directory that is saved after every epoch with a better metric than any before in this call (without
            validation: after every epoch).
        progress: True: a bar; False: nothing; None: a bar on a terminal, sparse lines elsewhere.

    Raises:
        ArgumentError, DTypeError: a wrong argument, NaN or Inf in X, NaN in Y, a label id out of range, an unwritable
            output.
        DivergenceError: weights or sums have overflowed; `checkpoint` holds the best epoch before.
        CheckpointError: the checkpoint could not be written, or weights are NaN or Inf, which is never saved.
    """
    if not self.engine.trainable:
        raise ArgumentError("fit: this classifier was loaded for prediction only; load it with trainable=True")
    if checkpoint is not None:
        check_output("checkpoint", checkpoint, directory=True)
    if metrics_file is not None:
        check_output("metrics_file", metrics_file, model=checkpoint)
    if epochs is not None:
        require_int("epochs", epochs, 1)
    if patience is not None:
        require_int("patience", patience, 1)
        if validation is None:
            raise ArgumentError(f"patience={patience} needs validation, which is None; give a share such as 0.05")
    batch_size = self.batch_size if batch_size is None else batch_size
    require_int("batch_size", batch_size, 1)
    if batch_size > self.batch_size:
        raise ArgumentError(
            f"batch_size={batch_size} is more than the classifier's {self.batch_size}; make it with a larger one"
        )
    seed = self.config["seed"] if seed is None else seed
    require_int("seed", seed, 0)
    for callback in callbacks:
        if not (hasattr(callback, "on_step") or hasattr(callback, "on_epoch")):
            raise ArgumentError(f"callbacks: {callback!r} has neither on_step(clf, info) nor on_epoch(clf, info)")

    features, labels = _checked_rows(self, "X", X, "Y", Y)
    weights = self._instance_weights(instance_weights, features.count)
    rows, judge = _validation(self, features, labels, validation, validation_metric, seed, filter)
    _check_reserve(self, "labels_per_instance", labels.lengths[rows], batch_size)
    if isinstance(features, CsrRows):
        _check_reserve(self, "features_per_instance", features.lengths[rows], batch_size)
    if checkpoint is not None:
        _check_directory("checkpoint", Path(checkpoint).absolute())

    epochs = epochs_for_data(features.count, self.num_labels) if epochs is None else epochs
    steps = math.ceil(len(rows) / batch_size)
    first = math.ceil((self.step + self.skipped) / steps) + 1
    history = History(judge.metric if judge else None)
    with ExitStack() as stack:
        log = stack.enter_context(closing(MetricsFile(metrics_file)))
        bar = stack.enter_context(closing(Progress(progress, len(rows) * epochs, first + epochs - 1)))
        self.total_steps = self.step + epochs * steps
        log.write({"event": "start", "step": self.step, "instances": len(rows), "batch_size": batch_size})
        for epoch in range(first, first + epochs):
            order = rows[_epoch_order(len(rows), seed, epoch)] if shuffle else rows
            start = time.perf_counter()
            try:
                loss = _train_epoch(self, epoch, order, batch_size, features, labels, weights, callbacks, log, bar)
            except DivergenceError as error:
                if checkpoint is None or history.best_epoch is None:
                    raise
                raise DivergenceError(f"{error}; '{os.fspath(checkpoint)}' holds epoch {history.best_epoch}") from None
            seconds = time.perf_counter() - start
            scores = judge.evaluate(self) if judge else {}
            value = scores[judge.metric] if judge else None
            improved = value is None or history.best_value is None or value > history.best_value
            rate = len(rows) / seconds
            info = EpochInfo(epoch, self.step, loss, seconds, rate, scores, improved)
            history.epochs.append(info)
            if improved:
                history.best_epoch, history.best_value = epoch, value
                if checkpoint is not None:
                    self.save(checkpoint)
            log.write({"event": "epoch", **asdict(info)})
            bar.epoch(epoch, info.step, loss, rate, scores)
            answers = [callback.on_epoch(self, info) for callback in callbacks if hasattr(callback, "on_epoch")]
            if any(answer is True for answer in answers):
                history.stopped = "callback"
                break
            if patience is not None and history.best_epoch is not None and epoch - history.best_epoch >= patience:
                history.stopped = "patience"
                break
    return history


def _train_epoch(
    classifier: CoreClassifier,
    epoch: int,
    order: Rows,
    batch_size: int,
    features: DenseRows | CsrRows,
    labels: LabelRows,
    weights: InstanceWeights | None,
    callbacks: Sequence[Any],
    log: MetricsFile,
    bar: Progress,
) -> float:
    """One pass over the rows in this order; the mean loss over the instances."""
    on_step = [callback.on_step for callback in callbacks if hasattr(callback, "on_step")]
    behind = 0 if on_step or classifier.device == "cpu" else _STEPS_BEHIND
    started: deque[tuple[int, int, StepResult]] = deque()
    total, step = 0.0, classifier.step
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        own = None if weights is None else weights[batch]
        result = classifier._run_step(features.take(batch), labels.take(batch), own, skip=False, return_grad=False)
        step += 1
        started.append((step, len(batch), result))
        last = start + batch_size >= len(order)
        while len(started) > (0 if last else behind):
            done, instances, result = started.popleft()
            total += result.loss * instances
            _log_step(classifier, epoch, done, result, log)
            bar.step(epoch, done, result.loss, instances)
            for call in on_step:
                call(classifier, StepInfo(epoch, done, result.loss, instances))
    return total / len(order)


def _log_step(classifier: CoreClassifier, epoch: int, step: int, result: StepResult, log: MetricsFile) -> None:
    if step % _STEPS_PER_LINE == 0:
        line = {"event": "step", "epoch": epoch, "step": step, "loss": result.loss, "base_lr": classifier.lr}
        if classifier.config["auxiliary"] is not None:
            line["auxiliary_loss"] = result.auxiliary_loss
        log.write(line)
    if result.rewired:
        for r in [r for r in classifier.rewirings if r.step == step]:
            names = ("step", "segment", "changed", "score_dropped", "score_grown")
            log.write({"event": "rewiring", **{name: getattr(r, name) for name in names}})


def _epoch_order(count: int, seed: int, epoch: int) -> Rows:
    """The order of an epoch depends on nothing else, so that a resumed training goes on with the same batches."""
    return keyed_generator(seed, epoch).permutation(count)


def _checked_rows(
    classifier: CoreClassifier, x_name: str, X: Any, y_name: str, Y: Any
) -> tuple[DenseRows | CsrRows, LabelRows]:
    features = feature_rows(x_name, X, classifier.in_features, classifier._place, sparse=classifier.sparse_input)
    if features.count == 0:
        raise ArgumentError(f"{x_name} has no rows")
    labels = LabelRows(y_name, Y, features.count, classifier.num_labels)
    features.check_finite()
    return features, labels


def _validation(
    classifier: CoreClassifier,
    features: DenseRows | CsrRows,
    labels: LabelRows,
    validation: Any,
    metric: str,
    seed: int,
    filter: Any,
) -> tuple[Rows, Validation | None]:
    """Rows to train on, and the judge of the epochs."""
    parse_metric(metric, classifier.num_labels)
    if isinstance(validation, tuple) and len(validation) == 2:
        rows = np.arange(features.count)
        held_features, held_labels = _checked_rows(
            classifier, "validation[0]", validation[0], "validation[1]", validation[1]
        )
        held = np.arange(held_features.count)
    else:
        if validation is not None:
            require_number("validation", validation, 0, 1, low_open=True, high_open=True)
        rows, held = hold_out(features.count, validation, seed)
        held_features, held_labels = features, labels
    blanked = None
    if filter is not None:
        blanked = LabelRows("filter", filter, held_features.count, classifier.num_labels)
    if not len(held):
        return rows, None
    judge = Validation(metric, classifier.num_labels, held_features, held_labels, held, blanked)
    judge.use_propensities(labels, rows)
    return rows, judge


def _check_reserve(classifier: CoreClassifier, option: str, lengths: Any, batch_size: int) -> None:
    """With a memory limit, no batch may need more than the plan reserved: say so now and not in the middle."""
    config = classifier.config
    if not config["memory_limit"] or len(lengths) == 0:
        return
    largest = int(np.sort(lengths)[-batch_size:].sum())
    if largest > config[option] * config["batch_size"]:
        needed = math.ceil(largest / config["batch_size"])
        raise ArgumentError(
            f"{option}={config[option]} reserves too little under memory_limit: {batch_size} rows of this data hold up "
            f"to {largest} entries; make the classifier with {option}={needed}"
        )


def _check_directory(name: str, path: Path) -> None:
    existing = path if path.exists() else path.parent
    if not existing.is_dir() or not os.access(path.parent, os.W_OK):
        raise ArgumentError(f"{name}={str(path)!r} cannot be written: {path.parent} is not a writable directory")
