"""Training for whole epochs: `fit`, which checks everything before the first step, and where it starts."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy.typing as npt

from .._checks import require_int
from .._files import check_output
from ..core.classifier import CoreClassifier
from ..core.directory import ModelReader
from ..core.lock import ModelLock
from ..errors import ArgumentError, CheckpointError, DivergenceError
from ..interop.rows import CsrRows, numbers_fingerprint
from ..weight_average import WeightAverage, weight_average
from .averaging import averaging
from .checks import check_callbacks, check_directory, check_reserve, checked_rows, training_rows_and_validation
from .defaults import epochs_for_data
from .history import Callback, EpochInfo, History, StepInfo
from .keeper import Keeper, has_states, newest_state, states_of
from .loop import Loop
from .metrics_file import MetricsFile
from .progress import Progress
from .settings import TrainingSettings
from .state import GIVEN, Circumstances, TrainingState, callback_types
from .state_files import StoredState
from .validation import held_out_count

__all__ = ["Callback", "EpochInfo", "History", "StepInfo", "fit", "steps_per_epoch"]

_log = logging.getLogger("sparsexmc")


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
    average: WeightAverage | str | None = TrainingSettings.average,
    metrics_file: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | str | None = None,
    keep: int = 1,
    resume: bool | str | os.PathLike[str] = False,
    progress: bool | None = None,
) -> History:
    """Train for whole epochs, with validation, early stopping, checkpoints and a progress bar.

    Epochs are numbered on from the steps that the classifier has already done, and the order of an epoch depends on
    `seed` and its number alone: training for 2 epochs, or for 1, saving, loading and 1 more, gives the same model. What
    a `Schedule` or `Rewiring` leaves to follow from the length of the training takes the end of this call for its end;
    give them steps where one training is to be several calls.

    A call that was killed goes on with `resume`, from its newest state that is whole, and ends in the same model, bit
    for bit. Make the classifier and call `fit` as before: another classifier, other arguments or other data are
    refused.

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
        patience: stop after this many epochs of this call without a better metric; None: never. The weights stay those
            of the last epoch; load `checkpoint` for the best.
        callbacks: objects with `on_step(clf, info)` or `on_epoch(clf, info)`, see `sparsexmc.Callback`; True from
            `on_epoch` stops. On a GPU `on_step` makes every step wait for the one before. One that has `state_dict()`
            and `load_state_dict(state)` is resumed, too: the state is a dictionary of numbers, texts, lists,
            dictionaries and NumPy arrays.
        shuffle: False: rows in the order of X in every epoch.
        seed: of shuffling and holding out; None: the classifier's.
        average: "ema", "mean", or `WeightAverage(...)`: keep a running average of all weights for the length of this
            call. Every epoch is validated with it, the best one that is kept is one of averages, callbacks see it in
            `on_epoch` (in `on_step` the trained weights), and at the end of the call, also by an exception, it takes
            the place of the weights and its memory is given back. None: a classifier made with `average` uses that one
            likewise, but keeps both: it ends with the average in use (see `use_average`), and trains on from the
            trained weights.
        metrics_file: path to which JSON lines are appended: the start, every epoch, every 100th step, every rewiring.
        checkpoint: directory that is saved after every epoch with a better metric than any before (without validation:
            after every epoch). Those before are the epochs of this call, and the one at that path if this call trains
            the same classifier further, with the same instances held out.
        checkpoint_every: a number of steps, or a time such as "10min", after which the state of the training is saved
            in `<checkpoint>.states`, also in the middle of an epoch; removed at the end. None: the checkpoint alone,
            which is a state as well.
        keep: number of such states to keep.
        resume: True: go on from the newest state at `checkpoint`; where there is none, start and log a warning. Or a
            path, the checkpoint of the interrupted call or one of its states, which must be there.
        progress: True: a bar; False: nothing; None: a bar on a terminal, sparse lines elsewhere.

    Raises:
        ArgumentError, DTypeError: a wrong argument, NaN or Inf in X, NaN in Y, a label id out of range, an unwritable
            output; states of an interrupted training at `checkpoint` without `resume`; or a training other than that to
            be resumed. The classifier is as before.
        DivergenceError: weights or sums have overflowed; `checkpoint` holds the best epoch before.
        MemoryPlanError: the averages do not fit into `memory_limit`; the classifier is as before.
        CheckpointError: the checkpoint could not be written, weights are NaN or Inf, which is never saved, or no state
            to be resumed is whole.
    """
    if checkpoint is not None:
        check_output("checkpoint", checkpoint, directory=True)
        check_directory("checkpoint", Path(checkpoint).absolute())
    if not isinstance(resume, bool | str | os.PathLike):
        raise ArgumentError(f"resume={resume!r} must be True, False, or the path of a checkpoint")
    if resume is True and checkpoint is None:
        raise ArgumentError("resume=True needs checkpoint, the path of what was saved; give it, or a path as resume")
    keeper = Keeper(checkpoint, checkpoint_every, keep)
    with ExitStack() as stack:
        if keeper.place is not None:
            stack.enter_context(ModelLock(keeper.place))
        found = None
        if resume is not False:
            source = keeper.place if resume is True else Path(resume)
            assert source is not None
            found = newest_state(source)
            if found is None and resume is not True:
                raise ArgumentError(f"resume={os.fspath(resume)!r} holds no state of a training; name a checkpoint")
            if found is None:
                _log.warning("there is no training to resume at '%s'; it starts from the beginning", source)
        elif keeper.place is not None and has_states(keeper.place):
            raise ArgumentError(
                f"checkpoint={os.fspath(keeper.place)!r}: an interrupted training has left its states; continue it "
                f"with resume=True, or remove {str(states_of(keeper.place))!r}"
            )
        try:
            history = run_fit(
                self,
                X,
                Y,
                epochs,
                keeper=keeper,
                found=found,
                batch_size=batch_size,
                validation=validation,
                validation_metric=validation_metric,
                instance_weights=instance_weights,
                filter=filter,
                patience=patience,
                callbacks=callbacks,
                shuffle=shuffle,
                seed=seed,
                average=average,
                metrics_file=metrics_file,
                progress=progress,
            )
        except DivergenceError as error:
            if checkpoint is None or keeper.best_epoch is None:
                raise
            raise DivergenceError(f"{error}; '{os.fspath(checkpoint)}' holds epoch {keeper.best_epoch}") from None
        keeper.finish()
    return history


def run_fit(
    self: CoreClassifier,
    X: Any,
    Y: Any,
    epochs: int | None,
    *,
    keeper: Keeper,
    found: Path | None,
    batch_size: int | None,
    validation: Any,
    validation_metric: str,
    instance_weights: npt.ArrayLike | None = None,
    filter: Any,
    patience: int | None,
    callbacks: Sequence[Any],
    shuffle: bool,
    seed: int | None,
    average: WeightAverage | str | None,
    metrics_file: str | os.PathLike[str] | None,
    progress: bool | None,
) -> History:
    """`fit`, with what it keeps on disk in the hands of `keeper`, from the state in the directory `found` if any."""
    if not self.engine.trainable:
        raise ArgumentError("fit: this classifier was loaded for prediction only; load it with trainable=True")
    if metrics_file is not None:
        check_output("metrics_file", metrics_file, model=keeper.place)
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
    check_callbacks(callbacks)
    average = weight_average(average)

    features, labels = checked_rows(self, "X", X, "Y", Y)
    weights = self._instance_weights(instance_weights, features.count)
    rows, judge = training_rows_and_validation(self, features, labels, validation, validation_metric, seed, filter)
    check_reserve(self, "labels_per_instance", labels.lengths[rows], batch_size)
    if isinstance(features, CsrRows):
        check_reserve(self, "features_per_instance", features.lengths[rows], batch_size)

    epochs = epochs_for_data(features.count, self.num_labels) if epochs is None else epochs
    steps = math.ceil(len(rows) / batch_size)
    with ExitStack() as stack:
        stack.enter_context(averaging(self, average))  # the configuration names the averages from here on
        circumstances = None
        if keeper.place is not None or found is not None:
            data = {"X": features.fingerprint(), "Y": labels.fingerprint()}
            if weights is not None:
                data["instance_weights"] = numbers_fingerprint(weights)
            if judge is not None:
                data |= judge.fingerprints(own=isinstance(validation, tuple))
            settings = {
                "epochs": int(epochs),
                "batch_size": int(batch_size),
                "validation": GIVEN if isinstance(validation, tuple) else validation and float(validation),
                "validation_metric": validation_metric,
                "patience": patience and int(patience),
                "shuffle": bool(shuffle),
                "seed": int(seed),
            }
            circumstances = Circumstances(settings, data, self.config, callback_types(callbacks))
        log = stack.enter_context(closing(MetricsFile(metrics_file)))
        if circumstances is not None and found is not None:
            state, event = _restore(self, found, circumstances, keeper, callbacks), "resume"
        if circumstances is not None:
            keeper.begin(circumstances, callbacks, self.step)
        if found is None:
            metric = judge.metric if judge else None
            state, event = _new_state(self, keeper, epochs, steps, metric), "start"
            self.total_steps = self.step + epochs * steps
        keeper.best_epoch = state.history.best_epoch
        done = (state.epoch - state.first_epoch) * len(rows) + state.instances
        bar = stack.enter_context(closing(Progress(progress, epochs * len(rows), state.last_epoch, done)))
        log.write({"event": event, "step": self.step, "instances": len(rows), "batch_size": batch_size})
        return Loop(
            classifier=self,
            features=features,
            labels=labels,
            instance_weights=weights,
            rows=rows,
            batch_size=batch_size,
            judge=judge,
            seed=seed if shuffle else None,
            patience=patience,
            callbacks=callbacks,
            state=state,
            keeper=keeper,
            log=log,
            bar=bar,
        ).run()


def _new_state(
    classifier: CoreClassifier, keeper: Keeper, epochs: int, steps: int, metric: str | None
) -> TrainingState:
    """The state before the first step of a call; its history knows the best epoch of a call that it continues."""
    first = math.ceil((classifier.step + classifier.skipped) / steps) + 1
    history = History(metric)
    if metric is not None and (best := keeper.earlier_best(classifier)) is not None:
        history.best_epoch, history.best_value = best.history.best_epoch, best.history.best_value
    return TrainingState(first, first + epochs - 1, classifier.step, first - 1, first, history)


def _restore(
    classifier: CoreClassifier, found: Path, circumstances: Circumstances, keeper: Keeper, callbacks: Sequence[Any]
) -> TrainingState:
    """Put classifier and callbacks into the state in a directory; ArgumentError if that is of another training."""
    with ModelReader(found) as reader:
        stored = StoredState.read(reader)
        circumstances.check(stored.circumstances, str(found))
        names = reader.label_names()
        if classifier.label_names is not None and names is not None and names != classifier.label_names:
            raise ArgumentError(f"resume: the labels in {str(found)!r} have other names than the classifier's")
        keeper.check_best(stored)
        momentum = classifier.momentum
        stored.restore_momentum(classifier)
        try:
            reader.restore(classifier.engine)
        except CheckpointError:
            classifier.momentum = momentum
            raise
        if classifier.label_names is None:
            classifier.label_names = names
    stored.restore_callbacks(callbacks)
    if stored.state.is_judged and keeper.place is not None and stored.state.history.best_epoch == stored.state.epoch:
        keeper.begin(circumstances, callbacks, classifier.step)
        if keeper.place != found:
            keeper.save_best(classifier, stored.state)
    return stored.state
