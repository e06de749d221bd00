"""A training from data to a model: `sparsexmc.train`, and its steps for those who want to look in between."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from .._files import check_output
from ..classifier import Classifier
from ..clustering import cluster_labels
from ..core.lock import ModelLock
from ..data import Dataset, TextDataset, TextVectorizer
from ..data.opening import open_data
from ..data.settings import DataSettings
from ..ensemble.training import EnsembleTraining, check_enabled
from ..errors import ArgumentError, Error
from ..training.fit import steps_per_epoch
from ..training.history import Callback, EpochInfo, History
from ..training.validation import hold_out
from . import defaults, toml
from .model import Model
from .preparation import Preparation
from .probabilities import Calibrations
from .settings import FREQUENCY, Settings, check, read_table
from .storage import MANIFEST_FILE, check_place

# What follows from the data alone, and what is reserved for it.
_SIZES = ("in_features", "num_labels", "num_instances", "sparse_input")
_RESERVES = ("labels_per_instance", "features_per_instance")

Wanted = Settings | Mapping[str, Any] | str | PathLike[str] | None


def train(
    data: Any,
    *,
    settings: Wanted = None,
    output: str | PathLike[str] | None = None,
    force: bool = False,
    epochs: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    num_threads: int | None = None,
    metrics_file: str | PathLike[str] | None = None,
    callbacks: Sequence[Any] = (),
    progress: bool | None = None,
) -> Model:
    """Train a model on a data set, with settings that follow from its size.

    A network with a hidden layer learns first; on sparse features linear classifiers join it, and on any features the
    nearest training instances; their weights are tuned on held-out instances.

    Args:
        data: a `sparsexmc.data.Dataset` (`Dataset(X, Y)` of your arrays), a `TextDataset` of raw texts, or the path of
            either.
        settings: what is to differ from the defaults for the data: nested tables such as
            {"model": {"hidden": 512}, "training": {"epochs": 3}}, a TOML file of them, or `Settings`. Of the settings
            of a model that was trained on data of other sizes, the sizes and what is reserved for them are not taken.
        output: directory that the model is saved to at the end, in one rename; until then the best epoch so far stands
            beside it as `<output>.training`.
        force: replace a model at `output`.
        epochs, seed, device, num_threads: the same as training.epochs, model.seed, model.device and model.num_threads
            in `settings`.
        metrics_file, callbacks, progress: as in `Classifier.fit`.

    Returns:
        The model, of the best epoch by the validation metric.

    Raises:
        ArgumentError, DTypeError, DataError: data, settings or paths that cannot be meant.
        MemoryPlanError: the plan is above model.memory_limit.
        CheckpointError: `output` cannot be written, or another training writes to it. The message of an error says
            where the model of the best epoch so far stands, if there is one.
    """
    _check_outputs(output, metrics_file)
    short: dict[str, dict[str, Any]] = {
        "training": {"epochs": epochs},
        "model": {"seed": seed, "device": device, "num_threads": num_threads},
    }
    over = {name: {key: value for key, value in table.items() if value is not None} for name, table in short.items()}
    run = TrainingRun(data, settings, over=over, output=output, force=force)
    return run.train(metrics_file=metrics_file, callbacks=callbacks, progress=progress)


class TrainingRun:
    """A training that is ready to start: prepared data, whole settings, and an untrained classifier.

    Args:
        data, settings, output, force: as in `train`.
        base: tables between the defaults for the data and `settings`.
        over: tables on top of `settings`.

    Attributes:
        dataset: the data, raw texts counted.
        preparation: how features are made of it.
        X, X_test: features as the classifier reads them.
        settings: with every default filled in.
        classifier: untrained.
        steps: number of steps that its training will take.
    """

    def __init__(
        self,
        data: Any,
        settings: Wanted = None,
        *,
        output: str | PathLike[str] | None = None,
        force: bool = False,
        base: Mapping[str, Any] | None = None,
        over: Mapping[str, Any] | None = None,
    ) -> None:
        _check_outputs(output, None)
        wanted = toml.merge(wanted_table(settings), wanted_table(over))
        self._lock: ModelLock | None = None
        self._output: Path | None = None
        if output is not None:
            self._lock = ModelLock(output)  # first of all, so that a second training is refused at once
        try:
            if output is not None:
                self._output = check_place(output, replace=force)
                check_place(_best_place(self._output), replace=force)
            self._prepare(open_data(data), wanted, base or {}, of_a_model=isinstance(settings, Settings))
            self.classifier = self._create()
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    def _prepare(
        self, opened: Dataset | TextDataset, wanted: toml.Table, base: Mapping[str, Any], *, of_a_model: bool
    ) -> None:
        """Set everything but the classifier. Settings `of_a_model` may be of other data."""
        self.dataset, vectorizer = _counted(opened, wanted)
        if not self.dataset.Y.shape[0]:
            raise ArgumentError("data has no training instances; pass data with at least one row")
        tables = toml.merge(defaults.for_data(self.dataset.X, self.dataset.Y).to_table(), toml.normalise(base))
        if of_a_model and _differing(wanted["model"], tables["model"]):
            wanted = wanted | {"model": {k: v for k, v in wanted["model"].items() if k not in (*_SIZES, *_RESERVES)}}
        _check_sizes(wanted.get("model", {}), tables["model"])
        self.settings = Settings.from_table(toml.merge(tables, wanted))
        check_enabled(
            self.settings.linear,
            self.settings.neighbors,
            sparse=sp.issparse(self.dataset.X),
            hidden=self.settings.model.hidden is not None,
        )
        self.preparation = Preparation.fit(vectorizer, self.dataset.X, self.settings.data)
        weighed = self.preparation.tfidf is not None
        self.settings = replace(self.settings, data=replace(self.settings.data, tfidf=weighed))
        self.X, self.X_test = (self.preparation.weigh(X) for X in (self.dataset.X, self.dataset.X_test))
        training, model = self.settings.training, self.settings.model
        per_epoch = steps_per_epoch(self.X.shape[0], training.batch_size or model.batch_size, training.validation)
        self.steps = training.epochs * per_epoch

    def train(
        self,
        *,
        metrics_file: str | PathLike[str] | None = None,
        callbacks: Sequence[Any] = (),
        progress: bool | None = None,
        keep_epochs: bool = True,
    ) -> Model:
        """Train, tune and save.

        Args:
            metrics_file, callbacks, progress: as in `Classifier.fit`.
            keep_epochs: keep the best epoch so far beside the output; False saves the time where epochs are short and
                none is better than the last.

        Raises:
            KeyboardInterrupt: it was interrupted; the output is as it was before, and the message says what is kept.
                So does that of any other error after an epoch was saved, such as a full disk.
        """
        _check_outputs(self._output, metrics_file)
        with ExitStack() as stack:
            if self._lock is not None:
                stack.enter_context(self._lock)
            best = self._best_epoch(stack, keep_epochs)
            try:
                history = self._fit(best, metrics_file, callbacks, progress)
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
            if best is not None:
                best.remove()
            return model

    def _create(self) -> Classifier:
        settings = self.settings.model
        # Of what follows from the length only the meta-classifier must know it now: `fit` tells the others, so that a
        # later training has a length of its own.
        arguments = settings.arguments() | {"auxiliary": settings.for_total_steps(self.steps).auxiliary}
        if settings.label_order != FREQUENCY and settings.fan_in is not None:
            arguments["label_order"] = cluster_labels(
                self.X,
                self.dataset.Y,
                settings.group_size,
                method=settings.label_order,
                dense_labels=settings.dense_labels,
            )
        classifier = Classifier(**arguments, label_counts=self.dataset.label_counts)
        classifier.label_names = self.dataset.label_names
        return classifier

    def _best_epoch(self, stack: ExitStack, keep_epochs: bool) -> _BestEpoch | None:
        validated = self.settings.training.validation is not None
        if self._output is not None and keep_epochs:
            return _BestEpoch(self, _best_place(self._output))
        if validated:  # which epoch was best is known only later
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="sparsexmc-"))
            return _BestEpoch(self, Path(place) / "best")
        return None

    def _fit(
        self,
        best: _BestEpoch | None,
        metrics_file: str | PathLike[str] | None,
        callbacks: Sequence[Any],
        progress: bool | None,
    ) -> History:
        return self.classifier.fit(
            self.X,
            self.dataset.Y,
            callbacks=[*callbacks, *([] if best is None else [best])],
            metrics_file=metrics_file,
            progress=progress,
            filter=self.dataset.filter,
            **self.settings.training.arguments(),
        )

    def _kept(self, best: _BestEpoch | None) -> str:
        """Where the best epoch so far stands, in words; empty if none was saved."""
        if best is None or self._output is None or not best.is_saved():
            return ""
        return f"{best.place} holds the model of the best epoch so far"

    def _model(self, history: History, best: _BestEpoch | None) -> Model:
        """The best epoch, with what stands beside it."""
        threads = self.settings.model.num_threads
        if best is not None and history.epochs and history.best_epoch != history.epochs[-1].epoch:
            device = self.classifier.device
            del self.classifier  # two of them may be more than the device holds
            self.classifier = Classifier.load(best.place, device, threads or 0)
        parts = EnsembleTraining(
            self.classifier,
            self.X,
            self.dataset.Y,
            self.settings.linear,
            self.settings.neighbors,
            num_threads=threads,
        )
        training = self.settings.training
        seed = self.settings.model.seed if training.seed is None else training.seed
        left, held = hold_out(self.X.shape[0], training.validation, seed)
        tuning = parts.tune(left, held)
        calibrations = Calibrations.learn(self.classifier, None, self.X[held], self.dataset.Y[held])
        ensemble = parts.finish()
        self.settings = replace(self.settings, linear=parts.linear, neighbors=parts.neighbors)
        model = self.network(self.classifier)
        if ensemble is not None:
            model._set_parts(ensemble.linear, ensemble.neighbors)
        if ensemble is not None:
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


class _BestEpoch(Callback):
    """Saves the model after every epoch that is better than those before."""

    def __init__(self, run: TrainingRun, place: Path) -> None:
        self.place = place
        self._run = run
        self._found = self._written()

    def on_epoch(self, classifier: Any, info: EpochInfo) -> None:
        """After every epoch."""
        if info.improved:
            self._run.network(classifier).save(self.place)

    def is_saved(self) -> bool:
        """Whether this training has saved a model. An interrupt may come before `save` returns."""
        return self._written() not in (None, self._found)

    def _written(self) -> tuple[int, int] | None:
        try:
            status = (self.place / MANIFEST_FILE).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def remove(self) -> None:
        """Remove what was saved: the output has it now."""
        shutil.rmtree(self.place, ignore_errors=True)


def _add(error: Exception, text: str) -> None:
    """Add to the message of an error: to the text of our own, as a note to any other."""
    if isinstance(error, Error):
        error.args = (f"{error}; {text}",)
    else:
        error.add_note(text)


def _check_outputs(output: str | PathLike[str] | None, metrics_file: str | PathLike[str] | None) -> None:
    """Raise ArgumentError for paths that nothing may be written to."""
    if output is not None:
        check_output("output", output, directory=True)
    if metrics_file is not None:
        check_output("metrics_file", metrics_file, model=output)


def _differing(wanted: Mapping[str, Any], of_data: Mapping[str, Any]) -> list[str]:
    """The sizes in a table [model] that are not those of the data."""
    return [name for name in _SIZES if name in wanted and not _is_same(wanted[name], of_data[name])]


def _is_same(value: Any, size: int) -> bool:
    return isinstance(value, int) and value == size


def _check_sizes(wanted: Mapping[str, Any], of_data: Mapping[str, Any]) -> None:
    """Raise ArgumentError unless the sizes in a table [model] are those of the data."""
    if wrong := _differing(wanted, of_data):
        said = ", ".join(f"model.{name} is {wanted[name]!r}, but the data has {of_data[name]!r}" for name in wrong)
        raise ArgumentError(f"{said}; leave out {' and '.join(f'model.{name}' for name in wrong)}")


def _best_place(output: Path) -> Path:
    """Where the best epoch so far stands until the output is written."""
    return output.with_name(f"{output.name}.training")


def wanted_table(settings: Wanted) -> toml.Table:
    """Settings in any form as nested tables, checked for unknown keys."""
    if settings is None:
        return {}
    if isinstance(settings, Settings):
        return settings.to_table()
    if not isinstance(settings, Mapping | str | PathLike):
        raise ArgumentError(
            f"settings is {settings!r}; pass nested tables such as {{'model': {{'hidden': 512}}}}, the path of a TOML "
            "file, or sparsexmc.Settings"
        )
    if not isinstance(settings, Mapping):
        return read_table(settings)
    table = toml.normalise(settings)
    check(table)
    return table


def _counted(data: Dataset | TextDataset, wanted: Mapping[str, Any]) -> tuple[Dataset, TextVectorizer | None]:
    """The data set, and for raw text the vectorizer that counts its tokens."""
    options = dict(wanted.get("data", {}))
    if isinstance(data, Dataset):
        foreign = [key for key in options if key != "tfidf" and not _is_default(key, options[key])]
        if foreign:
            raise ArgumentError(f"data.{foreign[0]} is for raw text, which this data is not; leave it out")
        return data, None
    settings = DataSettings(**{key: toml.given(value) for key, value in options.items()})
    vectorizer = TextVectorizer.fit(data.texts, **settings.text_options())
    return data.counts(vectorizer), vectorizer


def _is_default(key: str, value: Any) -> bool:
    value, default = toml.given(value), getattr(DataSettings, key)
    return type(value) is type(default) and bool(value == default)
