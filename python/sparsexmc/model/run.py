"""A training in steps: prepared and ready to start, trained, tuned and saved."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy.typing as npt
import scipy.sparse as sp

from .._checks import require_int
from .._files import check_output
from ..classifier import Classifier
from ..clustering import cluster_labels
from ..core.classifier import CoreClassifier
from ..core.lock import ModelLock
from ..data import Dataset, TextDataset
from ..data.opening import open_data
from ..ensemble.training import EnsembleTraining, check_enabled, require_weight
from ..errors import ArgumentError, Error
from ..interop.inputs import InstanceWeights, instance_numbers
from ..interop.rows import Rows
from ..training.fit import run_fit, steps_per_epoch
from ..training.history import History
from ..training.keeper import Keeper, has_states, newest_state, parse_interval, states_of
from ..training.stages import Stages
from ..training.state_files import STATE_FILE
from ..training.validation import hold_out
from . import defaults, storage, toml
from .initial import Initial
from .interrupted import BestEpoch, best_place, take_up
from .model import Model
from .preparation import Preparation
from .probabilities import Calibrations
from .settings import FREQUENCY, Settings
from .storage import check_place
from .wanted import Wanted, check_sizes, counted, differing, wanted_table, without_sizes

_log = logging.getLogger("sparsexmc")

STATE_INTERVAL = "10min"
"""Time between two states of a training."""


class TrainingRun:
    """A training that is ready to start: prepared data, whole settings, and an untrained classifier.

    Args:
        data, settings, instance_weights, output, force, resume, init, checkpoint_every, keep: as in `train`.
        base: tables between the defaults for the data and `settings`.
        over: tables on top of `settings`.
        progress: as in `Classifier.fit`, for the whole training.

    Attributes:
        dataset: the data, raw texts counted.
        preparation: how features are made of it.
        X, X_test: features as the classifier reads them.
        instance_weights: [n] float32 weights of the training instances, or None.
        settings: with every default filled in.
        classifier: untrained, or as the interrupted training left it.
        steps: number of steps that its whole training takes.
        resumed: whether it goes on with an interrupted training.
    """

    dataset: Dataset
    preparation: Preparation
    X: Any
    X_test: Any
    instance_weights: InstanceWeights | None
    settings: Settings
    classifier: Classifier
    steps: int
    resumed: bool

    def __init__(
        self,
        data: Any,
        settings: Wanted = None,
        *,
        instance_weights: npt.ArrayLike | None = None,
        output: str | PathLike[str] | None = None,
        force: bool = False,
        resume: bool = False,
        init: Any = None,
        checkpoint_every: int | str | None = STATE_INTERVAL,
        keep: int = 1,
        base: Mapping[str, Any] | None = None,
        over: Mapping[str, Any] | None = None,
        progress: bool | None = None,
    ) -> None:
        check_outputs(output, None)
        parse_interval(checkpoint_every)
        require_int("keep", keep, 1)
        if resume and output is None:
            raise ArgumentError("resume=True needs output, the path of the training that was interrupted; give it")
        wanted = toml.merge(wanted_table(settings), wanted_table(over))
        of_a_model = isinstance(settings, Settings)
        self._every, self._keep, self._progress = checkpoint_every, keep, progress
        self._given_weights = instance_weights
        self._lock: ModelLock | None = None
        self._output: Path | None = None
        self._found: Path | None = None
        self._initial: Initial | None = None
        if output is not None:
            self._lock = ModelLock(output)  # first of all, so that a second training is refused at once
        try:
            if output is not None:
                self._output = self._check_places(output, force, resume)
            self.resumed = self._found is not None
            opened = open_data(data)
            if self._found is not None:
                before = take_up(self._found, opened, wanted, of_a_model=of_a_model)
                self.settings, self.preparation = before.settings, before.preparation
                self.dataset, self.classifier = before.dataset, before.classifier
                self._weigh()
            else:
                self._initial = None if init is None else Initial(init)
                self._prepare(opened, wanted, base or {}, of_a_model=of_a_model)
                self.classifier = self._create()
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    def _check_places(self, output: str | PathLike[str], force: bool, resume: bool) -> Path:
        """The output, absolute, where it and what stands beside it can be written; finds the state to go on from."""
        best = best_place(Path(output).absolute())
        if resume:
            self._found = newest_state(best)
            if self._found is None:
                _log.warning("there is no training to resume to '%s'; it starts from the beginning", output)
        if self._found is None and not force and (has_states(best) or (best / STATE_FILE).is_file()):
            raise ArgumentError(
                f"{output}: a training to it was interrupted; go on with --resume (in Python resume=True), or give "
                "--force (force=True) to start anew"
            )
        place = check_place(output, replace=force or self._found is not None)
        check_place(best, replace=force or self._found is not None)
        return place

    def _prepare(
        self, opened: Dataset | TextDataset, wanted: toml.Table, base: Mapping[str, Any], *, of_a_model: bool
    ) -> None:
        """Set everything but the classifier. Settings `of_a_model` may be of other data."""
        initial, vectorizer, preparation = self._initial, None, None
        if initial is None:
            self.dataset, vectorizer = counted(opened, wanted)
        else:
            self.dataset, preparation = initial.dataset(opened), initial.preparation
            initial.check_data(self.dataset, wanted)
        if not self.dataset.Y.shape[0]:
            raise ArgumentError("data has no training instances; pass data with at least one row")
        tables = toml.merge(defaults.for_data(self.dataset.X, self.dataset.Y).to_table(), toml.normalise(base))
        if initial is not None:
            tables = toml.merge(tables, initial.table())
        tables = toml.merge(tables, defaults.parts_for_loss({**tables["model"], **wanted.get("model", {})}["loss"]))
        if of_a_model and differing(wanted["model"], tables["model"]):
            wanted = without_sizes(wanted)
        check_sizes(wanted.get("model", {}), tables["model"])
        self.settings = Settings.from_table(toml.merge(tables, wanted))
        if initial is not None:
            initial.check_settings(self.settings)
        check_enabled(
            self.settings.linear,
            self.settings.neighbors,
            sparse=sp.issparse(self.dataset.X),
            hidden=self.settings.model.hidden is not None,
            loss=self.settings.model.loss,
        )
        self.preparation = preparation or Preparation.fit(vectorizer, self.dataset.X, self.settings.data)
        weighed = self.preparation.tfidf is not None
        self.settings = replace(self.settings, data=replace(self.settings.data, tfidf=weighed))
        self._weigh()

    def _weigh(self) -> None:
        """Features, weights of the instances, and how many steps follow from their number."""
        self.X, self.X_test = (self.preparation.weigh(X) for X in (self.dataset.X, self.dataset.X_test))
        training, model = self.settings.training, self.settings.model
        self.instance_weights = None
        if self._given_weights is not None:
            self.instance_weights = instance_numbers("instance_weights", self._given_weights, self.X.shape[0])
            require_weight(self.instance_weights, self._split()[0])
        per_epoch = steps_per_epoch(self.X.shape[0], training.batch_size or model.batch_size, training.validation)
        self.steps = training.epochs * per_epoch

    def _split(self) -> tuple[Rows, Rows]:
        """Rows that the network trains on, and those held out."""
        training = self.settings.training
        seed = self.settings.model.seed if training.seed is None else training.seed
        return hold_out(self.X.shape[0], training.validation, seed)

    def train(
        self,
        *,
        metrics_file: str | PathLike[str] | None = None,
        callbacks: Sequence[Any] = (),
        keep_epochs: bool = True,
    ) -> Model:
        """Train, tune and save.

        Args:
            metrics_file, callbacks: as in `Classifier.fit`.
            keep_epochs: keep the best epoch so far beside the output; False saves the time where epochs are short and
                none is better than the last.

        Raises:
            KeyboardInterrupt: it was interrupted; the output is as it was before, and the message says what is kept.
                So does that of any other error after an epoch was saved, such as a full disk.
        """
        check_outputs(self._output, metrics_file)
        with ExitStack() as stack:
            if self._lock is not None:
                stack.enter_context(self._lock)
            best = self._best_epoch(stack, keep_epochs)
            keeper = self._keeper(best)
            try:
                history = self._fit(keeper, metrics_file, callbacks)
                model = self._model(history, best)
                if self._output is not None:
                    model.save(self._output)
            except KeyboardInterrupt as interrupt:
                step = f" at step {self.classifier.step:,}" if hasattr(self, "classifier") else ""
                kept = self._kept(best) or "no epoch was saved"
                interrupt.args = (f"{str(interrupt) or 'interrupted'}{step}; {kept}",)
                raise
            except Exception as error:
                if kept := self._kept(best):
                    _add(error, kept)
                raise
            keeper.finish()  # before the best epoch, which a state needs
            if best is not None:
                best.remove()
            return model

    def _create(self) -> Classifier:
        settings = self.settings.model
        # Of what follows from the length only the meta-classifier must know it now: `fit` tells the others, so that a
        # later training has a length of its own.
        arguments = settings.arguments() | {"auxiliary": settings.for_total_steps(self.steps).auxiliary}
        if self.settings.training.average is not None:  # planned from the start; `fit` ends it
            arguments["average"] = self.settings.training.average
        if self._initial is not None:
            arguments["label_order"] = self._initial.label_order(self.dataset.label_names)
        elif settings.label_order != FREQUENCY and settings.fan_in is not None:
            with Stages(self._progress, 1) as stages:
                stages.begin("order of the labels")
                arguments["label_order"] = cluster_labels(
                    self.X,
                    self.dataset.Y,
                    settings.group_size,
                    method=settings.label_order,
                    dense_labels=settings.dense_labels,
                )
        classifier = Classifier(**arguments, label_counts=self.dataset.label_counts)
        classifier.label_names = self.dataset.label_names
        if self._initial is not None:
            self._initial.write_weights(classifier)
            self._initial = None
        return classifier

    def _best_epoch(self, stack: ExitStack, keep_epochs: bool) -> BestEpoch | None:
        validated = self.settings.training.validation is not None
        if self._output is not None and keep_epochs:
            return BestEpoch(best_place(self._output), resumed=self.resumed)
        if validated:  # which epoch was best is known only later
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="sparsexmc-"))
            return BestEpoch(Path(place) / "best")
        return None

    def _keeper(self, best: BestEpoch | None) -> Keeper:
        """States are for those who can resume."""
        lasting = self._output is not None and best is not None and best.place == best_place(self._output)
        return Keeper(None if best is None else best.place, self._every if lasting else None, self._keep, self._write)

    def _write(self, classifier: CoreClassifier, path: Path, parts: Mapping[str, bytes]) -> None:
        assert isinstance(classifier, Classifier)
        storage.save(path, self.network(classifier)._parts(), extra=parts)

    def _fit(
        self,
        keeper: Keeper,
        metrics_file: str | PathLike[str] | None,
        callbacks: Sequence[Any],
    ) -> History:
        return run_fit(
            self.classifier,
            self.X,
            self.dataset.Y,
            keeper=keeper,
            found=self._found,
            callbacks=callbacks,
            metrics_file=metrics_file,
            progress=self._progress,
            filter=self.dataset.filter,
            instance_weights=self.instance_weights,
            **self.settings.training.arguments(),
        )

    def _kept(self, best: BestEpoch | None) -> str:
        """How to go on, and where the best epoch so far stands, in words; empty if nothing was saved."""
        if best is None or self._output is None:
            return ""
        resume = "go on with --resume (in Python resume=True)"
        if best.is_saved():
            return f"{resume}; {best.place} holds the model of the best epoch so far"
        return f"{resume}; {states_of(best.place)} holds the state" if has_states(best.place) else ""

    def _model(self, history: History, best: BestEpoch | None) -> Model:
        """The best epoch, with what stands beside it."""
        threads = self.settings.model.num_threads
        if best is not None and history.epochs and history.best_epoch != history.epochs[-1].epoch:
            device = self.classifier.device
            del self.classifier  # two of them may be more than the device holds
            self.classifier = Classifier.load(best.place, device, threads or 0)
            if self.settings.training.average is not None:
                self.classifier.stop_average()
        parts = EnsembleTraining(
            self.classifier,
            self.X,
            self.dataset.Y,
            self.settings.linear,
            self.settings.neighbors,
            instance_weights=self.instance_weights,
            num_threads=threads,
            progress=self._progress,
        )
        left, held = self._split()
        tuning = parts.tune(left, held)
        calibrations = Calibrations.learn(self.classifier, None, self.X[held], self.dataset.Y[held])
        ensemble = parts.finish()
        self.settings = replace(self.settings, linear=parts.linear, neighbors=parts.neighbors)
        model = self.network(self.classifier)
        if ensemble is not None:
            model._set_parts(ensemble.linear, ensemble.neighbors)
            calibrations = replace(calibrations, ensemble=parts.calibration, weights=ensemble.weights)
        model.calibrations = calibrations
        model.history, model.tuning = history, tuning
        return model

    def network(self, classifier: Classifier) -> Model:
        """`classifier` as a model, with nothing beside it."""
        return Model(
            classifier,
            vectorizer=self.preparation.vectorizer,
            tfidf=self.preparation.tfidf,
            settings=self.settings,
            num_threads=self.settings.model.num_threads,
        )


def _add(error: Exception, text: str) -> None:
    """Add to the message of an error: to the text of our own, as a note to any other."""
    if isinstance(error, Error):
        error.args = (f"{error}; {text}",)
    else:
        error.add_note(text)


def check_outputs(output: str | PathLike[str] | None, metrics_file: str | PathLike[str] | None) -> None:
    """Raise ArgumentError for paths that nothing may be written to."""
    if output is not None:
        check_output("output", output, directory=True)
    if metrics_file is not None:
        check_output("metrics_file", metrics_file, model=output)
