"""The epochs of a training, from any position: steps, validation, the best epoch, early stopping."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..core.classifier import CoreClassifier
from ..core.step import StepResult
from ..interop.inputs import InstanceWeights
from ..interop.rows import CsrRows, DenseRows, LabelRows, Rows
from .averaging import averages_if_any
from .history import EpochInfo, History, StepInfo
from .keeper import Keeper
from .metrics_file import MetricsFile
from .progress import Progress
from .state import TrainingState
from .validation import Validation, keyed_generator

_STEPS_PER_LINE = 100  # of the metrics file
_STEPS_BEHIND = 16  # on a GPU, which works through a queue of steps: reading a loss waits for its step


@dataclass
class Loop:
    """Trains `classifier` from `state` to the end of the call of `fit`.

    Attributes:
        rows: those to train on.
        judge: measures every epoch; None: no validation.
        seed: of the order of an epoch; None: that of `rows`.
        patience: epochs without a better one after which to stop; None: never.
    """

    classifier: CoreClassifier
    features: DenseRows | CsrRows
    labels: LabelRows
    instance_weights: InstanceWeights | None
    rows: Rows
    batch_size: int
    judge: Validation | None
    seed: int | None
    patience: int | None
    callbacks: Sequence[Any]
    state: TrainingState
    keeper: Keeper
    log: MetricsFile
    bar: Progress

    def run(self) -> History:
        """All epochs that are left; `state` is right at every moment at which something is saved."""
        state, history = self.state, self.state.history
        while state.epoch <= state.last_epoch:
            if not state.is_judged:
                self._train()
            with averages_if_any(self.classifier):
                if not state.is_judged:
                    self._judge()
                info = history.epochs[-1]
                self.log.write({"event": "epoch", **asdict(info)})
                self.bar.epoch(info.epoch, info.step, info.loss, info.instances_per_second, info.validation)
                calls = [callback.on_epoch for callback in self.callbacks if hasattr(callback, "on_epoch")]
                answers = [call(self.classifier, info) for call in calls]
            if any(answer is True for answer in answers):
                history.stopped = "callback"
                break
            if self._is_hopeless():
                history.stopped = "patience"
                break
            state.next_epoch()
        return history

    def _is_hopeless(self) -> bool:
        best = self.state.history.best_epoch
        if self.patience is None or best is None:
            return False
        return self.state.epoch - max(best, self.state.patience_from) >= self.patience

    def _judge(self) -> None:
        """Close the epoch: its record, and the best epoch where it is that."""
        state, history = self.state, self.state.history
        scores = self.judge.evaluate(self.classifier) if self.judge else {}
        value = scores[self.judge.metric] if self.judge else None
        improved = value is None or history.best_value is None or value > history.best_value
        rate = len(self.rows) / state.seconds
        loss = state.loss / len(self.rows)
        history.epochs.append(
            EpochInfo(state.epoch, self.classifier.step, loss, state.seconds, rate, scores, bool(improved))
        )
        state.is_judged = True
        if improved:
            history.best_epoch, history.best_value = state.epoch, value
            self.keeper.save_best(self.classifier, state)

    def _train(self) -> None:
        """The rest of an epoch."""
        state, classifier = self.state, self.classifier
        order = self.rows
        if self.seed is not None:
            order = order[epoch_order(len(order), self.seed, state.epoch)]
        on_step = [callback.on_step for callback in self.callbacks if hasattr(callback, "on_step")]
        behind = 0 if on_step or classifier.device == "cpu" else _STEPS_BEHIND
        started: deque[tuple[int, int, StepResult]] = deque()
        step, since = classifier.step, time.perf_counter()
        for start in range(state.instances, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            features, labels = self.features.take(batch), self.labels.take(batch)
            weights = None if self.instance_weights is None else self.instance_weights[batch]
            result = classifier._run_step(features, labels, weights, skip=False, return_grad=False)
            step += 1
            started.append((step, len(batch), result))
            save = self.keeper.is_due(step)
            last = start + self.batch_size >= len(order)
            while len(started) > (0 if last or save else behind):
                done, instances, result = started.popleft()
                state.loss += result.loss * instances
                state.instances += instances
                _log_step(classifier, state.epoch, done, result, self.log)
                self.bar.step(state.epoch, done, result.loss, instances)
                for call in on_step:
                    call(classifier, StepInfo(state.epoch, done, result.loss, instances))
            if save or last:
                now = time.perf_counter()
                state.seconds, since = state.seconds + now - since, now
            if save:
                self.keeper.save_state(classifier, state)


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


def epoch_order(count: int, seed: int, epoch: int) -> Rows:
    """The order of an epoch depends on nothing else, so that a resumed training goes on with the same batches."""
    return keyed_generator(seed, epoch).permutation(count)
