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

from ..classifier import Classifier
from ..clustering import cluster_labels
from ..core.lock import ModelLock
from ..data import Dataset, TextDataset, TextVectorizer
from ..data.opening import open_data
from ..data.settings import DataSettings
from ..ensemble.training import EnsembleTraining
from ..errors import ArgumentError
from ..training.fit import steps_per_epoch
from ..training.history import Callback, EpochInfo, History
from ..training.validation import hold_out
from . import defaults, toml
from .model import Model
from .preparation import Preparation
from .settings import FREQUENCY, Settings, check
from .storage import MANIFEST_FILE, check_place

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
            {"model": {"hidden": 512}, "training": {"epochs": 3}}, a TOML file of them, or `Settings`.
        output: directory that the model is saved to at the end, in one rename; until then the best epoch so far stands
            beside it as `<output>.training`.
        force: replace a model at `output`.
        epochs, seed, device, num_threads: the same as training.epochs, model.seed, model.device and model.num_threads
            in `settings`.
        metrics_file, callbacks, progress: as in `Classifier.fit`.

    Returns:
        The model, of the best epoch by the validation metric.

    Raises:
        ArgumentError, DTypeError, DataError: data or settings that cannot be meant.
        MemoryPlanError: the plan is above model.memory_limit.
        CheckpointError: `output` cannot be written, or another training writes to it.
    """
    short: dict[str, dict[str, Any]] = {
        "training": {"epochs": epochs},
        "model": {"seed": seed, "device": device, "num_threads": num_threads},
    }
    over = {name: {key: value for key, value in table.items() if value is not None} for name, table in short.items()}
    wanted = toml.merge(wanted_table(settings), over)
    run = TrainingRun(data, wanted, output=output, force=force)
    return run.train(metrics_file=metrics_file, callbacks=callbacks, progress=progress)


class TrainingRun:
    """A training that is ready to start: prepared data, whole settings, and an untrained classifier.

    Args:
        data, settings, output, force: as in `train`.
        base: tables between the defaults for the data and `settings`.

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
    ) -> None:
        wanted = wanted_table(settings)
        self._lock: ModelLock | None = None
        self._output: Path | None = None
        if output is not None:
            self._lock = ModelLock(output)  # first of all, so that a second training is refused at once
        try:
            if output is not None:
                self._output = check_place(output, replace=force)
                check_place(_best_place(self._output), replace=force)
            self._prepare(open_data(data), wanted, base or {})
            self.classifier = self._create()
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    def _prepare(self, opened: Dataset | TextDataset, wanted: toml.Table, base: Mapping[str, Any]) -> None:
        """Set everything but the classifier."""
        self.dataset, vectorizer = _counted(opened, wanted)
        if not self.dataset.Y.shape[0]:
            raise ArgumentError("data has no training instances; pass data with at least one row")
        tables = toml.merge(defaults.for_data(self.dataset.X, self.dataset.Y).to_table(), toml.normalise(base))
        self.settings = Settings.from_table(toml.merge(tables, wanted))
        self._check_sizes()
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
        """
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
                self._explain(interrupt, best)
                raise
            if best is not None:
                best.remove()
            return model

    def _check_sizes(self) -> None:
        dataset = self.dataset
        sizes = {
            "in_features": dataset.num_features,
            "num_labels": dataset.num_labels,
            "num_instances": dataset.Y.shape[0],
        }
        for name, size in sizes.items():
            wanted = getattr(self.settings.model, name)
            if wanted != size:
                raise ArgumentError(f"model.{name} is {wanted}, but the data has {size}; leave it out")

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

    def _explain(self, interrupt: KeyboardInterrupt, best: _BestEpoch | None) -> None:
        """Put into the interrupt's message where it came and what is kept."""
        kept = "no epoch was saved"
        if best is not None and self._output is not None and best.is_saved():
            kept = f"{best.place} holds the model of the best epoch so far"
        step = f" at step {self.classifier.step:,}" if hasattr(self, "classifier") else ""
        interrupt.args = (f"{str(interrupt) or 'interrupted'}{step}; {kept}",)

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
        tuning = parts.tune(*hold_out(self.X.shape[0], training.validation, seed))
        ensemble = parts.finish()
        self.settings = replace(self.settings, linear=parts.linear, neighbors=parts.neighbors)
        model = self.network(self.classifier)
        if ensemble is not None:
            model._set_parts(ensemble.linear, ensemble.neighbors)
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


def _best_place(output: Path) -> Path:
    """Where the best epoch so far stands until the output is written."""
    return output.with_name(f"{output.name}.training")


def wanted_table(settings: Wanted) -> toml.Table:
    """Settings in any form as nested tables, checked for unknown keys."""
    if settings is None:
        return {}
    if isinstance(settings, Settings):
        return settings.to_table()
    table = toml.normalise(settings) if isinstance(settings, Mapping) else toml.read(settings)
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
    return bool(toml.given(value) == getattr(DataSettings, key))
