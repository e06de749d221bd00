"""The product of a training: a network, the parts beside it, and the way from texts or features to label names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .._checks import ranked_labels, require_cutoffs
from .._html import table
from .._sparse import label_matrix
from ..classifier import Classifier
from ..core.filter import Ranking
from ..data import Dataset, TextVectorizer, TfIdf, opening
from ..ensemble import Ensemble, Linear, Neighbors
from ..ensemble.training import Tuning
from ..errors import ArgumentError, CheckpointError
from ..label_metrics import LabelMetrics
from ..memory import format_bytes
from ..metrics import inverse_propensities, per_label_at_k
from ..report.scores import Scores
from ..training.history import History
from ..training.validation import A, B
from . import further, storage
from .alignment import align
from .consistency import check_parts
from .evaluation import CUTOFFS, Task, measure, rank
from .preparation import Preparation
from .probabilities import CalibratedRanker, Calibrations, Threshold
from .settings import Settings

Label = str | int


class Model:
    """A trained model, whole: from texts, token counts, features or embeddings to labels and scores.

    `sparsexmc.train` and the command line make it, `sparsexmc.load` reads it back, and the same path means the same
    predictions everywhere.

    Args:
        classifier: the network.
        linear: linear classifiers beside it, or None.
        neighbors: training instances that vote, or None.
        vectorizer: counts the tokens of raw texts, or None.
        tfidf: weighs token counts, or None.
        settings: those of the training, or None.
        calibrations: those of another `Model` of the same parts, or None: see `calibrate`.
        num_threads: worker threads of the ranking; None: the default.

    Attributes:
        classifier: the network alone; it reads features as they are after the preparation.
        preparation: what inputs pass through first.
        settings: those of the training, with the numbers that tuning chose.
        calibrations: the probabilities of network and ensemble, as far as instances were held out: `.network` and
            `.ensemble`, each a `Calibration` or None.
        history: of the training that made the model; not stored.
        tuning: what tuning found then; not stored.

    Raises:
        ArgumentError: parts that do not belong together: other features, labels or label names, or a wrong type.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        linear: Linear | None = None,
        neighbors: Neighbors | None = None,
        vectorizer: TextVectorizer | None = None,
        tfidf: TfIdf | None = None,
        settings: Settings | None = None,
        calibrations: Calibrations | None = None,
        num_threads: int | None = None,
    ) -> None:
        check_parts(
            classifier,
            linear=linear,
            neighbors=neighbors,
            vectorizer=vectorizer,
            tfidf=tfidf,
            settings=settings,
            calibrations=calibrations,
            num_threads=num_threads,
        )
        self.classifier = classifier
        self.preparation = Preparation(vectorizer, tfidf)
        if settings is not None:
            settings = replace(settings, data=replace(settings.data, tfidf=tfidf is not None))
        self.settings = settings
        self.calibrations = Calibrations() if calibrations is None else calibrations
        self.history: History | None = None
        self.tuning: Tuning | None = None
        self._num_threads = num_threads
        self._set_parts(linear, neighbors)

    def _set_parts(self, linear: Linear | None, neighbors: Neighbors | None) -> None:
        self._ensemble: Ensemble | None = None
        if linear is not None or neighbors is not None:
            self._ensemble = Ensemble(
                self.classifier, linear=linear, neighbors=neighbors, num_threads=self._num_threads
            )

    # ---- parts ----

    @property
    def linear(self) -> Linear | None:
        """The linear classifiers, or None."""
        return None if self._ensemble is None else self._ensemble.linear

    @property
    def neighbors(self) -> Neighbors | None:
        """The training instances that vote, or None."""
        return None if self._ensemble is None else self._ensemble.neighbors

    @property
    def ensemble(self) -> Ensemble | None:
        """The network and what stands beside it; None if it is alone."""
        return self._ensemble

    @property
    def num_labels(self) -> int:
        """Number of labels."""
        return self.classifier.num_labels

    @property
    def in_features(self) -> int:
        """Number of features."""
        return self.classifier.in_features

    @property
    def label_names(self) -> list[str] | None:
        """One name per label, or None."""
        return self.classifier.label_names

    @label_names.setter
    def label_names(self, names: Sequence[str] | None) -> None:
        self.classifier.label_names = names

    # ---- prediction ----

    def predict(
        self,
        X: Any,
        k: int | None = None,
        *,
        filter: Any = None,
        label_weights: npt.ArrayLike | None = None,
        network_alone: bool = False,
        threshold: Threshold = None,
    ) -> list[list[tuple[Label, float]]]:
        """The k best labels of every instance, by name.

        Args:
            X, k, filter, label_weights, network_alone: as in `topk`.
            threshold: leave out labels of a lower probability, a number in [0, 1]; "best": that with the best micro-F1
                on the held-out instances. Not together with label_weights.

        Returns:
            For every instance (name, score) pairs in descending order; without names, (id, score). With a threshold
            (name, probability).

        Raises:
            ArgumentError: as `topk`, and with a threshold as `predict_proba`.
        """
        if threshold is None:
            scores, ids = self.topk(X, k, filter=filter, label_weights=label_weights, network_alone=network_alone)
        else:
            if label_weights is not None:
                raise ArgumentError("label_weights rank by another quantity than probability; leave threshold out")
            ranker = CalibratedRanker(self.ranker(network_alone), self.calibrations, threshold)
            scores, ids = ranker.topk(self.features(X), ranked_labels(k, self.num_labels), filter=filter)
        names = self.label_names
        return [
            [
                (label if names is None else names[label], score)
                for score, label in zip(row_scores, row_ids, strict=True)
                if label >= 0
            ]
            for row_scores, row_ids in zip(scores.tolist(), ids.tolist(), strict=True)
        ]

    def topk(
        self,
        X: Any,
        k: int | None = None,
        *,
        filter: Any = None,
        label_weights: npt.ArrayLike | None = None,
        network_alone: bool = False,
    ) -> Ranking:
        """The k best labels of every instance.

        Args:
            X: n texts (where the model was trained on texts), or [n, in_features] token counts, sparse features or
                embeddings, like those of its training.
            k: number of labels, 1 <= k <= num_labels; None: 5, or all if there are fewer.
            filter: scipy CSR [n, num_labels] whose nonzeros are never predicted.
            label_weights: [num_labels] weights > 0 that favour labels, see `propensity_weights`.
            network_alone: leave out the linear classifiers and neighbors.

        Returns:
            scores [n, k] in descending order and label ids [n, k]; ties go to the smaller id, and id -1 fills a row
            where fewer labels are left. Scores are those of `Ensemble.topk`, or logits for a network alone.

        Raises:
            ArgumentError, DTypeError: data of another kind than the training's, or k out of range.
        """
        k = ranked_labels(k, self.num_labels)
        features = self.features(X)
        return self.ranker(network_alone).topk(features, k, filter=filter, label_weights=label_weights)

    def predict_proba(
        self, X: Any, k: int | None = None, *, filter: Any = None, network_alone: bool = False
    ) -> Ranking:
        """The k best labels of every instance and the probability of each to be right.

        Probabilities come from instances that were held out of the training (see `Calibration`); they are those of
        single labels and do not sum to 1.

        Args:
            X, k, filter, network_alone: as in `topk`.

        Returns:
            probabilities [n, k] in descending order and label ids [n, k]; 0 and -1 where fewer labels are left.

        Raises:
            ArgumentError: the model has none, because nothing was held out of its training; or as `topk`.
        """
        ranker = CalibratedRanker(self.ranker(network_alone), self.calibrations)
        return ranker.topk(self.features(X), ranked_labels(k, self.num_labels), filter=filter)

    def features(self, X: Any) -> Any:
        """Prepare texts, token counts or features X as the classifier reads them; raises as `topk`."""
        return self.preparation.features(X, self.classifier)

    def propensity_weights(self, alpha: float = 1.0, *, A: float = A, B: float = B) -> npt.NDArray[np.float64]:
        """Label weights (1 / propensity)^alpha, which favour rare labels, from the training frequencies.

        Raises:
            ArgumentError: the model does not know them.
        """
        counts, instances = self.classifier.label_counts, self.classifier.num_instances
        if counts is None or instances is None:
            raise ArgumentError(
                "the model does not know how frequent its labels are; train again: sparsexmc.train stores it, "
                "Classifier does with label_counts and num_instances"
            )
        return np.asarray(inverse_propensities(counts, instances, A=A, B=B) ** alpha)

    def evaluate(
        self,
        data: Any,
        Y: Any = None,
        *,
        cutoffs: Sequence[int] | None = None,
        filter: Any = None,
        train_labels: Any = None,
        label_weights: npt.ArrayLike | None = None,
        network_alone: bool = False,
        A: float = A,
        B: float = B,
    ) -> Scores:
        """Measure the model: P, nDCG, PSP, R, coverage and macro-F1.

        Args:
            data: a `Dataset`, `TextDataset` or path, whose test instances are taken if it has any, else all; labels are
                matched by name where both have names, and those that the model does not know count as missed. Or
                texts, counts or features X, with Y.
            Y: [n, num_labels] the truth, scipy sparse of any format, for an X.
            cutoffs: values of k; None: 1, 3 and 5, as far as there are labels.
            filter: pairs [n, num_labels] that are never predicted, scipy sparse; None: those of the data set.
            train_labels: [N, L], scipy sparse, from which propensities follow; None: the training labels of a data
                set with test instances. Without any there is no PSP.
            label_weights, network_alone: as in `topk`.
            A, B: of the propensities.

        Returns:
            {metric: {k: share}}
        """
        if cutoffs is None:
            cutoffs = [k for k in CUTOFFS if k <= self.num_labels]
        cutoffs = require_cutoffs(cutoffs, self.num_labels)
        task = self._task(data, Y, filter)
        if train_labels is None:
            train_labels = task.train_labels
        else:
            train_labels = label_matrix("train_labels", train_labels)
            if train_labels.shape[1] != task.Y.shape[1]:
                raise ArgumentError(
                    f"train_labels has {train_labels.shape[1]} columns and Y {task.Y.shape[1]}; they must agree"
                )
        ids = rank(self.ranker(network_alone), task.X, max(cutoffs), task.filter, label_weights=label_weights)
        return measure(ids, task.Y, train_labels, cutoffs, A=A, B=B)

    def per_label(
        self,
        data: Any,
        Y: Any = None,
        k: int | None = None,
        *,
        threshold: Threshold = None,
        filter: Any = None,
        label_weights: npt.ArrayLike | None = None,
        network_alone: bool = False,
    ) -> LabelMetrics:
        """Measure precision, recall and F1 of every label.

        Args:
            data, Y, filter, label_weights, network_alone: as in `evaluate`.
            k: the k best labels of every instance count as predicted; None: 5, or all if there are fewer.
            threshold: of these only labels whose probability is at least that, as in `sparsexmc predict`; "best": that
                with the best micro-F1 on held-out instances. Not with label_weights.

        Returns:
            counts and shares [labels], first those of the model, then those that only the data knows.

        Raises:
            ArgumentError, DTypeError: as `evaluate`, and for a threshold as `predict_proba`.
        """
        k = ranked_labels(k, self.num_labels)
        ranker: Any = self.ranker(network_alone)
        options = {} if label_weights is None else {"label_weights": label_weights}
        task = self._task(data, Y, filter)
        if threshold is not None:
            if label_weights is not None:
                raise ArgumentError("label_weights rank by another quantity than threshold asks for; pass one of them")
            ranker = CalibratedRanker(ranker, self.calibrations, threshold)
        return per_label_at_k(rank(ranker, task.X, k, task.filter, **options), task.Y, k)

    def _task(self, data: Any, Y: Any, filter: Any) -> Task:
        """The instances that `evaluate` measures on, from its arguments."""
        train_labels = None
        filter = None if filter is None else label_matrix("filter", filter)
        if Y is None:
            dataset = self._aligned(data)
            X, Y, blanked = dataset.measured_split()
            if dataset.X_test is not None:
                train_labels = dataset.Y
            filter = blanked if filter is None else filter
        else:
            X, Y = data, label_matrix("Y", Y)
        if filter is not None:
            filter = filter[:, : self.num_labels]
        X = self.features(X)
        for name, matrix in (("Y", Y), ("filter", filter)):
            if matrix is not None and (matrix.shape[0] != X.shape[0] or matrix.shape[1] < self.num_labels):
                raise ArgumentError(
                    f"{name} has shape {matrix.shape}, but there are {X.shape[0]} instances and "
                    f"{self.num_labels} labels; pass a row for each instance and a column for each label"
                )
        return Task(X, Y, filter, train_labels)

    def _aligned(self, data: Any) -> Dataset:
        """A data set, or what stands at a path, with counted texts and in label ids of the model."""
        opened = opening.open_data(data, num_features=self.classifier.in_features, num_labels=self.num_labels)
        return align(self.preparation.dataset(opened), self)

    def ranker(self, network_alone: bool = False) -> Classifier | Ensemble:
        """The ensemble, or the network where it is alone or wanted alone: both rank features that are prepared."""
        return self.classifier if network_alone or self._ensemble is None else self._ensemble

    # ---- training ----

    def calibrate(self, data: Any, Y: Any = None) -> None:
        """Learn probabilities anew, of the network and of the ensemble, from instances of no training.

        Args:
            data, Y: as in `evaluate`.

        Raises:
            ArgumentError: fewer than 100 predicted labels; what the model had stays.
        """
        if Y is None:
            dataset = self._aligned(data)
            data, Y, _ = dataset.measured_split()
        X, Y = self.features(data), label_matrix("Y", Y)
        found = Calibrations.learn(self.classifier, self._ensemble, X, Y)
        if found.network is None:
            raise ArgumentError(
                f"data has {X.shape[0]} instances, which are too few to calibrate on, or of their best labels none or "
                "all are right; pass more, and Y in the order of their rows"
            )
        self.calibrations = found

    def fit(self, data: Any, epochs: int = 1, **options: Any) -> History:
        """Train the network further, then make what stands beside it anew from these instances.

        Probabilities of the network are learned anew from what is held out (`validation`). Those of the ensemble are
        gone, as its other parts then know all instances: see `calibrate`.

        Weights and costs stay those that tuning chose. Give all instances that the linear classifiers and neighbors are
        to know: those of earlier trainings are not kept.

        Args:
            data: a `Dataset`, `TextDataset` or path, as in `evaluate`; its training instances are taken.
            epochs: number of further epochs.
            options: further arguments of `Classifier.fit`; batch size, validation and seed are those of the first
                training unless given. `instance_weights` are those of linear classifiers and neighbors, too.

        Raises:
            ArgumentError, DTypeError: data that is not for this model, labels that it does not know, a schedule that
                has ended, or as `Classifier.fit`; the model is as before.
        """
        dataset = self._aligned(data)
        if dataset.num_labels > self.num_labels:
            raise ArgumentError(
                f"the data has {dataset.num_labels - self.num_labels} labels that the model does not know, such as "
                f"{(dataset.label_names or [''])[self.num_labels]!r}; leave them out, or train anew"
            )
        return further.fit(self, dataset, self.features(dataset.X), epochs, options)

    # ---- storage ----

    def save(self, path: str | PathLike[str], card: str = "") -> None:
        """Write a model directory, everything in one rename: a kill at any moment leaves the old or the new one whole.

        Args:
            path: the directory; an existing model there is replaced.
            card: text of the model card, README.md; empty: a short default.

        Raises:
            ArgumentError: `path` is no place for a directory, or lies in a model directory.
            CheckpointError: it cannot be written; what was there stays.
        """
        storage.save(path, self._parts(), card)

    @classmethod
    def load(
        cls, path: str | PathLike[str], device: str | None = None, num_threads: int = 0, *, trainable: bool = True
    ) -> Self:
        """Read a model directory; see `sparsexmc.load`.

        Raises:
            CheckpointError: it is missing, damaged, or holds a classifier alone.
        """
        return cls._of(storage.load(path, device, num_threads, trainable=trainable), num_threads, fspath(path))

    def _parts(self) -> storage.Parts:
        parts = (self.classifier, self.preparation, self.linear, self.neighbors, self.settings)
        return storage.Parts(*parts, self.calibrations)

    @classmethod
    def _of(cls, parts: storage.Parts, num_threads: int, path: str = "a pickled model") -> Self:
        try:
            return cls(
                parts.classifier,
                linear=parts.linear,
                neighbors=parts.neighbors,
                vectorizer=parts.preparation.vectorizer,
                tfidf=parts.preparation.tfidf,
                settings=parts.settings,
                calibrations=parts.calibrations,
                num_threads=num_threads or None,
            )
        except ArgumentError as error:
            raise CheckpointError(f"{path}: the parts do not belong together: {error}") from None

    def __getstate__(self) -> dict[str, Any]:
        """The files of the model directory as bytes: copies and pickles hold what `save` writes, or of a model that is
        for prediction only what it has.
        """
        trainable = self.classifier.trainable
        return {"files": storage.pack(self._parts()), "num_threads": self._num_threads, "trainable": trainable}

    def __setstate__(self, state: dict[str, Any]) -> None:
        parts = storage.unpack(state["files"], state["num_threads"] or 0, trainable=state.get("trainable", True))
        self.__dict__.update(self._of(parts, state["num_threads"] or 0).__dict__)

    def _components(self) -> list[str]:
        """Its parts, in words for people."""
        parts = [repr(self.classifier)]
        if str(self.preparation) != "as they come":
            parts.insert(0, str(self.preparation))
        if self.linear is not None:
            parts.append(f"linear classifiers ({format_bytes(self.linear.nbytes)}, weight {self.linear.weight:g})")
        if self.neighbors is not None:
            votes = self.neighbors.votes
            space = " by the hidden layer" if votes.space == "hidden" else ""
            parts.append(f"{self.neighbors.num_instances:,} neighbors{space} (weight {votes.weight:g})")
        if self.calibrations:
            parts.append("probabilities")
        if self.label_names is not None:
            parts.append("named labels")
        return parts

    def __repr__(self) -> str:
        return f"Model({', '.join(self._components())})"

    def _repr_html_(self) -> str:
        return table("Model", [[part] for part in self._components()])
