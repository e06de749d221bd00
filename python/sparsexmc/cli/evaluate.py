"""Measure a model on the test instances of a data set: P, nDCG, PSP, R, coverage and macro-F1.

Propensities come from the label frequencies of the training instances: of the data set itself, or of --train. Labels
are matched by name where model and data have names; those that the model does not know count as missed. Pairs of the
data's filter file (filter_labels_test.txt) or of --filter are blanked before ranking.
With --report DIR it also writes DIR/index.html, one self-contained page: learning curves, P and PSP by label frequency,
use of the connections, memory, the worst labels. That needs matplotlib: pip install 'sparsexmc[report]'.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import ensemble, inputs, label_weights, model_inputs, preparation, reporting
from .config import UsageError
from .tables import count, metric_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sparsexmc import Classifier
    from sparsexmc.data import Dataset
    from sparsexmc.report.scores import Scores

CUTOFFS = (1, 3, 5)
A, B = 0.55, 1.5
ROWS_AT_A_TIME = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory")
    inputs.add_data_arguments(parser)
    parser.add_argument("--train", metavar="DATA", help="training data whose label frequencies give the propensities")
    model_inputs.add_filter_argument(parser)
    ensemble.add_argument(parser)
    parser.add_argument("-A", type=float, default=A, help="of the propensities (default %(default)s; Amazon sets 0.6)")
    parser.add_argument("-B", type=float, default=B, help="of the propensities (default %(default)s; Amazon sets 2.6)")
    parser.add_argument("-k", type=int, nargs="+", metavar="K", help="cut-offs (default 1 3 5)")
    parser.add_argument("--baseline", metavar="MODEL2", help="another model, measured on the same instances")
    reporting.add_arguments(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="worker threads")
    inputs.add_device_argument(parser)
    label_weights.add_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON; shares, not percent")


@dataclass(frozen=True)
class Task:
    """What models are measured on: test instances, and the training labels [N, L] where they are known.

    Label ids are those of the model; labels that it does not know come after its own.
    """

    dataset: Dataset
    X: Any  # [n, D] features before any preparation
    Y: Any  # [n, L]
    blanked: Any  # [n, L] pairs that are not to be predicted, or None
    train_labels: Any
    cutoffs: list[int]


def run(args: argparse.Namespace) -> int:
    if args.baseline is not None and os.path.realpath(args.baseline) == os.path.realpath(args.model):
        raise UsageError(f"--baseline {args.baseline} is the model itself; name another one, or leave it out")
    metrics_file = reporting.check(args)
    task = _task(args)
    # The baseline first, so that only one of the two models is in memory at a time.
    baseline_ids = None if args.baseline is None else _predict(args, task, args.baseline)[1]
    classifier, ids = _predict(args, task, args.model)
    scores = {"model": measure(ids, task.Y, task.train_labels, task.cutoffs, args.A, args.B)}
    if baseline_ids is not None:
        scores["baseline"] = measure(baseline_ids, task.Y, task.train_labels, task.cutoffs, args.A, args.B)
    unknown = model_inputs.count_unknown(task.Y, classifier)
    if args.json:
        propensities = {"A": args.A, "B": args.B} if "PSP" in scores["model"] else {}
        metrics = {"metrics" if title == "model" else title: values for title, values in scores.items()}
        labels = {"unknown_labels": unknown[0], "unknown_positives": unknown[1]} if unknown[0] else {}
        pairs = {} if task.blanked is None else {"filtered_pairs": task.blanked.nnz}
        print(json.dumps({"instances": len(ids), **labels, **pairs, **propensities, **metrics}))
    else:
        print(f"{args.model} on {count(len(ids), 'instance')} of {task.dataset.name}\n")
        print(metric_table(scores))
        print("\n" + propensity_note(task.train_labels, args.A, args.B))
        if unknown[0]:
            print(
                f"{count(unknown[0], 'label')} ({count(unknown[1], 'positive')}) unknown to the model count as missed"
            )
        print(filter_note(task.blanked), end="")
    if args.report is not None:
        page = reporting.write(args, task, classifier, ids, baseline_ids, metrics_file)
        print(f"report written to {page}", file=sys.stderr)
    return 0


def _task(args: argparse.Namespace) -> Task:
    labels = model_inputs.labels_of(args.model)
    dataset = model_inputs.load_data(args.data, labels, args.model, demo=args.demo, filter_file=args.filter)
    X, Y, blanked = inputs.measured_split(dataset)
    train_labels = dataset.Y if dataset.X_test is not None else None
    if args.train is not None:
        train_labels = model_inputs.load_training_labels(args.train, dataset)
    return Task(dataset, X, Y, blanked, train_labels, args.k or [k for k in CUTOFFS if k <= labels.num_labels])


def _predict(args: argparse.Namespace, task: Task, path: str) -> tuple[Classifier, npt.NDArray[np.int64]]:
    """The model at `path` and its predictions in label ids of the task; UsageError if the data is not for it."""
    classifier = inputs.load_model(path, args.threads, args.device)
    ids_of = model_inputs.task_ids(classifier, path, task.dataset)
    blanked = model_inputs.model_filter(task.blanked, ids_of, classifier)
    if path == args.model:
        X = preparation.prepare(task.X, classifier, path)
    else:
        X, _ = model_inputs.load_features(args.data, classifier, path, demo=args.demo)
    ranker = ensemble.load(path, classifier, args.threads, wanted=not args.network_alone)
    weighted: ensemble.Ranker = ranker
    if path == args.model and args.label_weights is not None:
        weighted = label_weights.apply(args.label_weights, classifier, ranker, path, args.A, args.B)
    ids = predict_ids(weighted, X, max(task.cutoffs), blanked)
    return classifier, model_inputs.translate(ids, ids_of)


def predict_ids(ranker: ensemble.Ranker, X: Any, k: int, blanked: Any = None) -> npt.NDArray[np.int64]:
    """The k best label ids [n, k] of every row of `X`, without the pairs of the CSR matrix `blanked` [n, L]."""
    import numpy as np

    ids = np.empty((X.shape[0], k), np.int64)
    for start in range(0, X.shape[0], ROWS_AT_A_TIME):
        rows = slice(start, start + ROWS_AT_A_TIME)
        filter = None if blanked is None else blanked[rows]
        ids[rows] = ranker.topk(X[rows], k, filter=filter)[1]
    return ids


def measure(
    ids: npt.NDArray[np.int64],
    Y: Any,
    train_labels: Any = None,
    cutoffs: Sequence[int] = CUTOFFS,
    a: float = A,
    b: float = B,
) -> Scores:
    """All metrics of predicted ids [n, >= max cut-off] against Y [n, L]; PSP only with training labels [N, L]."""
    from sparsexmc.metrics import inverse_propensities
    from sparsexmc.report.scores import has_propensities, scores

    return scores(
        ids, Y, cutoffs, inverse_propensities(train_labels, A=a, B=b) if has_propensities(train_labels) else None
    )


def propensity_note(train_labels: Any, a: float = A, b: float = B) -> str:
    """The line that belongs below every PSP."""
    from sparsexmc.report.scores import LEAST_TRAINING_INSTANCES, has_propensities

    if train_labels is None:
        return "no PSP: it needs training labels; name them with --train DATA"
    if not has_propensities(train_labels):
        return f"no PSP: it needs at least {LEAST_TRAINING_INSTANCES} training instances"
    return f"propensities: A = {a:g}, B = {b:g}, from {count(train_labels.shape[0], 'training instance')}"


def filter_note(blanked: Any) -> str:
    """The line that belongs below metrics of filtered predictions; nothing without a filter."""
    return "" if blanked is None else f"{count(blanked.nnz, 'pair')} of the filter blanked before ranking\n"
