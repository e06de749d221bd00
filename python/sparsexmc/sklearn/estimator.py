"""The estimator: scikit-learn's protocol around `sparsexmc.Classifier`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .._sparse import are_counts, sparse_features
from ..classifier import Classifier
from ..config import SGD, Adam, Hidden, Rewiring, Schedule
from ..core.state import require_finite
from ..data.prepare import TfIdf
from ..ensemble import Ensemble
from ..ensemble.component_scores import require_log_odds
from ..ensemble.training import EnsembleTraining
from ..errors import ArgumentError
from ..interop.inputs import instance_numbers, require_strided
from ..model import defaults
from ..training.validation import hold_out
from . import _outputs, _settings
from ._targets import Targets

Weights = npt.NDArray[np.float32]


def _has_probabilities(estimator: SparseXMCClassifier) -> bool:
    """Whether logits are log-odds, label by label."""
    return bool(estimator.loss == "bce")


def _check_loss(estimator: SparseXMCClassifier, targets: Targets) -> None:
    """Raise ArgumentError where the labels of an instance are predicted one by one and the loss is a softmax."""
    if estimator.ensemble:
        require_log_odds(estimator.loss)
    if targets.multilabel and estimator.loss == "softmax":
        raise ArgumentError(
            'loss="softmax" is for one class per instance, and y is an indicator matrix; use loss="bce"'
        )


class SparseXMCClassifier(ClassifierMixin, BaseEstimator):
    """A classifier over very many labels for scikit-learn: one class per instance, or an indicator matrix.

    "auto" takes the default of `sparsexmc train`, which depends on the size of the data. All instances are trained on,
    none held out, for at least 1000 steps. Scale dense features as for any network (`StandardScaler`).

    Args:
        hidden: units of the hidden layer, `sx.Hidden(...)`, or None; sparse features need one.
        fan_in: number of features that a tail label reads; None: every label reads all.
        group_size: labels that share one set of features.
        dense_labels: share (float) or number (int) of the most frequent labels that read all features.
        loss: "bce"; "squared_hinge" or, for one class per instance, "softmax", which have no `predict_proba`.
        optimizer: `sx.SGD(...)` or `sx.Adam(...)`.
        learning_rate: replaces that of the optimizer; None: leaves it. The optimizer "auto" takes a higher rate for a
            narrower hidden layer.
        rewiring: `sx.Rewiring(...)`, or None; "auto" rewires where there is no hidden layer.
        epochs: passes over the data in `fit`.
        batch_size: instances per training step.
        ensemble: let linear classifiers (on sparse features) and the nearest training instances join the network, as
            `sparsexmc.train` does: `predict` of classes and `predict_topk` rank by the sum. From 10,000 instances on a
            tenth or less is held out of the network's training to weigh them. Thresholds and probabilities stay those
            of the network. As all parameters it is for the next `fit`: a fitted model predicts with what it has, see
            `ensemble_`.
        tfidf: weigh sparse token counts, in `fit` and in every prediction; "auto": if X holds counts, which is sparse
            whole numbers of at least 1. `partial_fit`, which does not see all data, takes features as they are.
        device: "auto", "cpu", "cuda" or "cuda:<index>".
        memory_limit: of the engine, bytes or text such as "4GB"; None: none.
        num_threads: worker threads; None: the CPUs of the process, or SPARSEXMC_NUM_THREADS.
        output_limit: largest dense output [n, L], bytes or text; None: none.
        options: further arguments of `sx.Classifier` by name, which win over all others; None: none.
        random_state: int, RandomState or None (another result every time).
        verbose: show a progress bar.

    Attributes:
        classes_: [L] the class of every label; for indicator matrices 0 .. L - 1.
        n_features_in_: columns of X; feature_names_in_: their names, if X had names.
        multilabel_: whether it was fitted on an indicator matrix.
        classifier_: the `sx.Classifier`, for what this class does not offer: its labels are positions in `classes_`.
        tfidf_: the `sx.data.TfIdf` that features pass through first, or None.
        ensemble_: the `sx.Ensemble` around `classifier_`, or None.
    """

    classes_: npt.NDArray[Any]
    multilabel_: bool
    classifier_: Classifier
    tfidf_: TfIdf | None
    ensemble_: Ensemble | None
    _targets: Targets
    _arguments: dict[str, Any]  # of classifier_, by which a pickle makes it again

    def __init__(
        self,
        *,
        hidden: int | Hidden | str | None = "auto",
        fan_in: int | str | None = "auto",
        group_size: int = 16,
        dense_labels: float | int | str = "auto",
        loss: str = "bce",
        optimizer: SGD | Adam | str = "auto",
        learning_rate: float | None = None,
        rewiring: Rewiring | str | None = "auto",
        epochs: int | str = "auto",
        batch_size: int | str = "auto",
        ensemble: bool = False,
        tfidf: bool | str = "auto",
        device: str = "auto",
        memory_limit: int | str | None = None,
        num_threads: int | None = None,
        output_limit: int | str | None = "1GB",
        options: dict[str, Any] | None = None,
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.fan_in = fan_in
        self.group_size = group_size
        self.dense_labels = dense_labels
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.rewiring = rewiring
        self.epochs = epochs
        self.batch_size = batch_size
        self.ensemble = ensemble
        self.tfidf = tfidf
        self.device = device
        self.memory_limit = memory_limit
        self.num_threads = num_threads
        self.output_limit = output_limit
        self.options = options
        self.random_state = random_state
        self.verbose = verbose

    # ---- training ----

    def fit(self, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None) -> SparseXMCClassifier:
        """Train anew.

        Args:
            X: [n, d] features, an array or scipy sparse; read as float32.
            y: [n] classes; or an indicator matrix [n, L], an array of 0 and 1 or scipy sparse (nonzeros count as 1).
            sample_weight: [n] finite factors >= 0 on the losses of the instances; None: all 1. A batch divides by its
                size, not by the sum of the weights, so weights with a mean of 1 suit the learning rate. With `ensemble`
                linear classifiers weigh their losses, too, and neighbors their votes.

        Raises:
            ArgumentError, DTypeError, MemoryPlanError: as `sx.Classifier`; ValueError: as scikit-learn.
        """
        X, y = self._checked(X, y, reset=True)
        instance_weights = _instance_weights(sample_weight, X)
        targets = Targets.learn(y)
        _check_loss(self, targets)
        Y = targets.encode(y)
        weights = self._tfidf_of(X)
        if weights is not None:
            X = weights.apply(X)
        parameters = self.get_params(deep=False)
        validation = _settings.validation(parameters, X, Y)
        arguments, epochs = _settings.for_fit(parameters, X, Y, validation)
        classifier = Classifier(**arguments)
        progress = None if self.verbose else False
        classifier.fit(X, Y, epochs, validation=validation, instance_weights=instance_weights, progress=progress)
        ensemble = self._ensemble(classifier, X, Y, validation, instance_weights) if self.ensemble else None
        return self._fitted(targets, weights, arguments, classifier, ensemble)

    def _ensemble(
        self, classifier: Classifier, X: Any, Y: sp.csr_matrix, validation: float | None, weights: Weights | None
    ) -> Ensemble | None:
        settings = defaults.for_data(X, Y)
        parts = EnsembleTraining(
            classifier,
            X,
            Y,
            settings.linear,
            settings.neighbors,
            instance_weights=weights,
            num_threads=self.num_threads,
            progress=None if self.verbose else False,
        )
        parts.tune(*hold_out(Y.shape[0], validation, classifier.config["seed"]))
        return parts.finish()

    def partial_fit(
        self, X: Any, y: Any, classes: npt.ArrayLike | None = None, sample_weight: npt.ArrayLike | None = None
    ) -> SparseXMCClassifier:
        """One pass over these instances in shuffled order, with what was learned before as the start.

        The learning rate stays constant. The first call fixes the model, with defaults for its number of instances and
        its labels' frequencies: give it a typical chunk. After `fit` it goes on at the full learning rate.

        Args:
            X, y: as in `fit`, with the same columns in every call.
            classes: all classes that may come; the first call needs them unless `y` is an indicator matrix.
            sample_weight: as in `fit`.
        """
        if self.ensemble:
            raise ArgumentError("ensemble=True needs all data at once; call fit, or leave it out for partial_fit")
        if getattr(self, "ensemble_", None) is not None:
            raise ArgumentError(
                "the model was fitted with ensemble=True, and partial_fit cannot train its linear classifiers and "
                "neighbors on; call fit, which makes a model without them now that ensemble=False"
            )
        first = not hasattr(self, "classifier_")
        X, y = self._checked(X, y, reset=first)
        instance_weights = _instance_weights(sample_weight, X)
        if first:
            self._start_stream(X, y, classes)
        elif classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise ArgumentError("classes are not those of the first partial_fit; leave them out, or fit anew")
        Y = self._targets.encode(y)
        if self._arguments["schedule"] != Schedule():
            self._leave_schedule()
        X = _like_model(X, self.classifier_, self.tfidf_)
        progress = None if self.verbose else False
        self.classifier_.fit(X, Y, 1, validation=None, instance_weights=instance_weights, progress=progress)
        return self

    def _start_stream(self, X: Any, y: Any, classes: npt.ArrayLike | None) -> None:
        if self.tfidf is True:
            raise ArgumentError("tfidf=True needs all data at once; call fit, or weigh the counts before partial_fit")
        if classes is None and y.ndim == 1:
            raise ArgumentError("classes=None; the first partial_fit needs all classes, for example np.unique(all_y)")
        targets = Targets.learn(y, classes)
        _check_loss(self, targets)
        arguments = _settings.for_stream(self.get_params(deep=False), X, targets.encode(y))
        self._fitted(targets, None, arguments, Classifier(**arguments))

    def _leave_schedule(self) -> None:
        """At the end of a schedule that fell to 0 nothing would be learned any more."""
        arguments = self._arguments | {"schedule": Schedule()}
        classifier = Classifier(**arguments)
        classifier.load_state_dict(self.classifier_.state_dict())
        self._arguments, self.classifier_ = arguments, classifier

    def _tfidf_of(self, X: Any) -> TfIdf | None:
        if self.tfidf is False or (self.tfidf == "auto" and not are_counts(X)):
            return None
        if self.tfidf not in (True, "auto"):
            raise ArgumentError(f'tfidf={self.tfidf!r} must be True, False or "auto"')
        return TfIdf.fit(X)

    def _fitted(
        self,
        targets: Targets,
        weights: TfIdf | None,
        arguments: dict[str, Any],
        classifier: Classifier,
        ensemble: Ensemble | None = None,
    ) -> SparseXMCClassifier:
        self.classes_, self.multilabel_ = targets.classes, targets.multilabel
        self.tfidf_, self.classifier_, self.ensemble_ = weights, classifier, ensemble
        self._targets, self._arguments = targets, arguments
        return self

    # ---- prediction ----

    def predict(self, X: Any) -> Any:
        """The best class of every instance [n]; or an indicator matrix [n, L] of the labels with a positive logit, in
        other words of a probability above one half: scipy CSR if the model was fitted on a sparse one, else dense.

        Raises:
            MemoryPlanError: the dense matrix would pass `output_limit`.
        """
        X = self._features(X)
        if not self.multilabel_:
            return self.classes_[self._ranker().topk(X, 1)[1][:, 0]]
        if not self._targets.sparse:
            _outputs.require_space("predict", self._shape(X), self._targets.dtype, self.output_limit)
        found = _outputs.positives(self.classifier_, X, self._targets.dtype)
        return found if self._targets.sparse else found.toarray()

    def predict_topk(self, X: Any, k: int = 5) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
        """The k best labels of every instance: scores [n, k] in descending order, and labels [n, k] from `classes_`.

        Scores are logits, or sums of `sx.Ensemble` with `ensemble=True`. Equal scores go in the order of `classes_`.
        For filters and label weights see `classifier_.topk` and `ensemble_.topk`.
        """
        scores, ids = self._ranker().topk(self._features(X), k)
        return scores, self.classes_[ids]

    def _ranker(self) -> Classifier | Ensemble:
        return self.classifier_ if self.ensemble_ is None else self.ensemble_

    def decision_function(self, X: Any) -> npt.NDArray[Any]:
        """Logits [n, L] float32; for two classes [n] float64, above 0 for the second: ln(p_1 / p_0) with "bce".

        Raises:
            MemoryPlanError: the array would pass `output_limit`.
        """
        X = self._features(X)
        _outputs.require_space("decision_function", self._shape(X), np.dtype(np.float32), self.output_limit)
        logits = _outputs.logits(self.classifier_, X)
        if self.multilabel_ or len(self.classes_) != 2:
            return logits
        values = _outputs.log_sigmoid(logits) if self.loss == "bce" else logits.astype(np.float64)
        return np.asarray(values[:, 1] - values[:, 0])

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Probabilities [n, L]: sigmoids of the logits; for one class per instance scaled to a sum of 1.

        Raises:
            MemoryPlanError: the array would pass `output_limit`.
        """
        X = self._features(X)
        _outputs.require_space("predict_proba", self._shape(X), np.dtype(np.float64), self.output_limit)
        return _outputs.probabilities(_outputs.logits(self.classifier_, X), share=not self.multilabel_)

    def _shape(self, X: Any) -> tuple[int, int]:
        return X.shape[0], len(self.classes_)

    # ---- scikit-learn's protocol ----

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self, X, y, reset=reset, accept_sparse="csr", dtype=np.float32, order="C", multi_output=True
        )
        return sparse_features("X", X) if sp.issparse(X) else X, y

    def _features(self, X: Any) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=np.float32, order="C")
        return _like_model(X, self.classifier_, self.tfidf_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Plain arrays and settings in place of the engine's memory. RigL's kept batches are left out."""
        state = dict(super().__getstate__())
        if "classifier_" in state:
            state["classifier_"] = self.classifier_.state_dict()
            require_finite(state["classifier_"], "classifier_.state_dict()")
            ensemble = self.ensemble_
            state["ensemble_"] = None if ensemble is None else (ensemble.linear, ensemble.neighbors)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "classifier_" in state:
            classifier = Classifier(**self._arguments)
            classifier.load_state_dict(state["classifier_"])
            self.classifier_, self.ensemble_ = classifier, None
            if state.get("ensemble_") is not None:
                linear, neighbors = state["ensemble_"]
                self.ensemble_ = Ensemble(classifier, linear=linear, neighbors=neighbors, num_threads=self.num_threads)


def _instance_weights(sample_weight: npt.ArrayLike | None, X: Any) -> Weights | None:
    """As scikit-learn checks them: [n], a number stands for all, finite and at least 0."""
    if sample_weight is None:
        return None
    require_strided("sample_weight", sample_weight)
    return instance_numbers("sample_weight", _check_sample_weight(sample_weight, X), X.shape[0])


def _like_model(X: Any, classifier: Classifier, weights: TfIdf | None) -> Any:
    """Checked features as the engine reads them: dense or sparse as in the first fit."""
    if not classifier.sparse_input:
        return sparse_features("X", X).toarray() if sp.issparse(X) else X
    X = sparse_features("X", X if sp.issparse(X) else sp.csr_matrix(X))
    return X if weights is None else weights.apply(X)
