"""Measure a model on the test instances of a data set: P, nDCG, PSP, R, coverage and macro-F1.

Propensities come from the label frequencies of the training instances: of the data set itself, or of --train.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import inputs, preparation
from .config import UsageError
from .tables import count, metric_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sparsexmc import Classifier

Report = dict[str, dict[int, float]]
"""{metric: {k: share}}, metrics in the order of the tables."""

CUTOFFS = (1, 3, 5)
A, B = 0.55, 1.5
METRICS = ("P", "nDCG", "PSP", "R", "coverage", "macro-F1")
ROWS_AT_A_TIME = 4096
# Fewer training instances have no propensities: ln N - 1 would not be positive.
LEAST_TRAINING_INSTANCES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory")
    inputs.add_data_arguments(parser)
    parser.add_argument("--train", metavar="DATA", help="training data whose label frequencies give the propensities")
    parser.add_argument("-A", type=float, default=A, help="of the propensities (default %(default)s; Amazon sets 0.6)")
    parser.add_argument("-B", type=float, default=B, help="of the propensities (default %(default)s; Amazon sets 2.6)")
    parser.add_argument("-k", type=int, nargs="+", default=list(CUTOFFS), metavar="K", help="cut-offs (default 1 3 5)")
    parser.add_argument("--threads", type=int, metavar="N", help="worker threads")
    inputs.add_device_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON; shares, not percent")


def run(args: argparse.Namespace) -> int:
    classifier = inputs.load_model(args.model, args.threads, args.device)
    dataset = inputs.load_data(args.data, demo=args.demo)
    X, Y = inputs.measured_split(dataset)
    X = preparation.prepare(X, classifier, args.model)
    train_labels = dataset.Y if dataset.X_test is not None else None
    if args.train is not None:
        train_labels = inputs.load_data(args.train).Y
    for name, labels in (("the data", Y), (args.train, train_labels)):
        if labels is not None and labels.shape[1] != classifier.num_labels:
            raise UsageError(f"{name} has {labels.shape[1]} labels and the model {classifier.num_labels}: another task")
    ids = predict_ids(classifier, X, max(args.k))
    report = measure(ids, Y, train_labels, args.k, args.A, args.B)
    if args.json:
        propensities = {"A": args.A, "B": args.B} if "PSP" in report else {}
        print(json.dumps({"instances": X.shape[0], **propensities, "metrics": report}))
        return 0
    print(f"{args.model} on {count(X.shape[0], 'instance')} of {dataset.name}\n")
    print(metric_table({"model": report}))
    print("\n" + propensity_note(train_labels, args.A, args.B))
    return 0


def predict_ids(classifier: Classifier, X: Any, k: int) -> npt.NDArray[np.int64]:
    """The k best label ids [n, k] of every row of `X`."""
    import numpy as np

    ids = np.empty((X.shape[0], k), np.int64)
    for start in range(0, X.shape[0], ROWS_AT_A_TIME):
        ids[start : start + ROWS_AT_A_TIME] = classifier.topk(X[start : start + ROWS_AT_A_TIME], k)[1]
    return ids


def measure(
    ids: npt.NDArray[np.int64],
    Y: Any,
    train_labels: Any = None,
    cutoffs: Sequence[int] = CUTOFFS,
    a: float = A,
    b: float = B,
) -> Report:
    """All metrics of predicted ids [n, >= max cut-off] against Y [n, L]; PSP only with training labels [N, L]."""
    from sparsexmc.metrics import RankingMetrics, propensities

    weights = propensities(train_labels, A=a, B=b) if _enough(train_labels) else None
    metrics = RankingMetrics(Y.shape[1], sorted(set(cutoffs)), propensities=weights)
    metrics.update(ids, Y)
    values = metrics.compute()
    return {
        name: {k: values[f"{name}@{k}"] for k in sorted(set(cutoffs))}
        for name in METRICS
        if f"{name}@{cutoffs[0]}" in values
    }


def propensity_note(train_labels: Any, a: float = A, b: float = B) -> str:
    """The line that belongs below every PSP."""
    if train_labels is None:
        return "no PSP: it needs training labels; name them with --train DATA"
    if not _enough(train_labels):
        return f"no PSP: it needs at least {LEAST_TRAINING_INSTANCES} training instances"
    return f"propensities: A = {a:g}, B = {b:g}, from {count(train_labels.shape[0], 'training instance')}"


def _enough(train_labels: Any) -> bool:
    return train_labels is not None and train_labels.shape[0] >= LEAST_TRAINING_INSTANCES
