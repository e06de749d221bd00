"""Measure a model on the test instances of a data set: P, nDCG, PSP, R, coverage and macro-F1.

Propensities come from the label frequencies of the training instances: of the data set itself, or of --train. Labels
are matched by name where model and data have names; those that the model does not know count as missed. Pairs of the
data's filter file (filter_labels_test.txt) or of --filter are blanked before ranking.
With --report DIR it also writes DIR/index.html, one self-contained page: learning curves, P and PSP by label frequency,
use of the connections, memory, the worst labels. That needs matplotlib: pip install 'sparsexmc[report]'.
With --per-label FILE it writes precision, recall and F1 of every label at the largest cut-off, comma-separated.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .._checks import require_cutoffs
from .._files import atomic_file, check_output
from ..data import DataPath, Dataset
from ..metrics import per_label_at_k
from ..model import Model
from ..model.alignment import LabelMap, align, align_training_labels, count_unknown
from ..model.evaluation import CUTOFFS, measure, rank
from ..training.validation import A, B
from . import inputs, reporting
from .errors import UsageError
from .label_weights import add_argument, label_weights
from .numbers import whole_number
from .tables import count, filter_note, metric_table, propensity_note


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory")
    inputs.add_data_arguments(parser)
    parser.add_argument("--train", metavar="DATA", help="training data whose label frequencies give the propensities")
    parser.add_argument("-A", type=float, default=A, help="of the propensities (default %(default)s; Amazon sets 0.6)")
    parser.add_argument("-B", type=float, default=B, help="of the propensities (default %(default)s; Amazon sets 2.6)")
    parser.add_argument("-k", type=whole_number, nargs="+", metavar="K", help="cut-offs (default 1 3 5)")
    parser.add_argument("--baseline", metavar="MODEL2", help="another model, measured on the same instances")
    parser.add_argument("--per-label", metavar="FILE", help="write precision and recall of every label, .csv")
    reporting.add_arguments(parser)
    inputs.add_model_arguments(parser)
    add_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON; shares, not percent")


@dataclass(frozen=True)
class Task:
    """The task that models are measured on: test instances, and the training labels [N, L] where they are known.

    Label ids are those of the model; labels that it does not know come after its own.
    """

    dataset: Dataset
    own_names: Sequence[str] | None  # of the data, in its own order
    X: Any  # [n, D] features before any preparation
    Y: Any  # [n, L]
    blanked: Any  # [n, L] pairs that are not to be predicted, or None
    train_labels: Any
    cutoffs: list[int]

    def measure(self, ids: Any, args: argparse.Namespace) -> Any:
        """All metrics of predicted ids."""
        return measure(ids, self.Y, self.train_labels, self.cutoffs, A=args.A, B=args.B)


def run(args: argparse.Namespace) -> int:
    if args.baseline is not None and os.path.realpath(args.baseline) == os.path.realpath(args.model):
        raise UsageError(f"--baseline {args.baseline} is the model itself; name another one, or leave it out")
    metrics_file = reporting.check(args)
    if args.per_label is not None:
        check_output("--per-label", args.per_label)
    model = inputs.load_model(args.model, args.threads, args.device)
    task = _task(args, model)
    X = inputs.features_of(model, task.X, args.model)
    weights = label_weights(args.label_weights, model, args.A, args.B)
    ids = _predict(args, task, model, X, args.model, weights)
    scores = {"model": task.measure(ids, args)}
    baseline_ids = None
    if args.baseline is not None:
        other = inputs.load_model(args.baseline, args.threads, args.device)
        X = inputs.unlabelled(inputs.source_of(args), other, demo=args.demo).X
        baseline_ids = _predict(args, task, other, inputs.features_of(other, X, args.baseline), args.baseline)
        scores["baseline"] = task.measure(baseline_ids, args)
    unknown = count_unknown(task.Y, model)
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
    if args.per_label is not None:
        _write_per_label(args.per_label, task, ids, task.dataset.label_names or model.label_names)
    if args.report is not None:
        page = reporting.write(args, task, model, ids, baseline_ids, metrics_file)
        print(f"report written to {page}", file=sys.stderr)
    return 0


def _task(args: argparse.Namespace, model: Model) -> Task:
    source = inputs.source_of(args)
    own = inputs.data_for(source, model, demo=args.demo, filter_file=args.filter)
    dataset = align(own, model, args.data or "the data")
    X, Y, blanked = dataset.measured_split()
    train_labels = dataset.Y if dataset.X_test is not None else None
    if args.train is not None:
        # As many labels as there are, where the files do not say it.
        train = replace(source or DataPath(args.train), path=args.train, test=None, num_labels=dataset.num_labels)
        train_labels = align_training_labels(inputs.training_labels(train), dataset, args.train)
    cutoffs = require_cutoffs(args.k or [k for k in CUTOFFS if k <= model.num_labels], model.num_labels)
    return Task(dataset, own.label_names, X, Y, blanked, train_labels, cutoffs)


def _write_per_label(path: str, task: Task, ids: npt.NDArray[np.int64], names: Sequence[str] | None) -> None:
    """A header, then a row for every label that the model or the data knows."""
    found = per_label_at_k(ids, task.Y, max(task.cutoffs))
    if names is not None:
        names = [*names, *[""] * (len(found) - len(names))]  # labels that only the data knows, by number
    try:
        with atomic_file(path, "--per-label") as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            csv.writer(text, lineterminator="\n").writerows(found.rows(names))
            text.detach()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None


def _predict(
    args: argparse.Namespace, task: Task, model: Model, X: Any, path: str, weights: Any = None
) -> npt.NDArray[np.int64]:
    """Predictions on features X in label ids of the task."""
    labels = LabelMap(model, task.dataset, path, own_names=task.own_names)
    blanked = labels.filter(task.blanked)
    ids = rank(model.ranker(args.network_alone), X, max(task.cutoffs), blanked, label_weights=weights)
    return labels.to_data(ids)
