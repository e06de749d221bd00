"""Write the best labels of every instance, one line an instance, best first.

A line is name:score, name:score, ... separated by tabs; without names, or with --ids, id:score,id:score,... Scores are
the sums of `sparsexmc.Ensemble`, or logits where the model is a network alone or --label-weights are given; with
--probabilities or --threshold they are probabilities, learned from the instances that were held out of the training. A
file that ends in .npz gets a scipy CSR matrix of scores [instances, labels] instead. DATA may also be one matrix of
features (.npz or .npy) or, for a model of raw text, texts: .txt with one per line, .jsonl or .tsv. Pairs of the data's
filter file or of --filter are blanked before ranking; a line is shorter where too few labels are left.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import scipy.sparse as sp

from .._checks import DEFAULT_K, ranked_labels
from .._files import atomic_file, check_output
from ..core.filter import Ranking
from ..model.evaluation import rankings
from ..model.probabilities import CalibratedRanker
from . import inputs, label_weights
from .errors import UsageError

Batches = Iterator[Ranking]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory")
    inputs.add_data_arguments(parser)
    parser.add_argument("-k", type=int, metavar="K", help=f"labels per instance (default {DEFAULT_K}, or all if fewer)")
    parser.add_argument("-o", "--output", metavar="FILE", help="text, or .npz for a CSR matrix; default: the terminal")
    parser.add_argument("--ids", action="store_true", help="label ids, even where the model knows names")
    inputs.add_model_arguments(parser)
    label_weights.add_argument(parser)
    parser.add_argument("--probabilities", action="store_true", help="probabilities in place of scores")
    parser.add_argument(
        "--threshold",
        type=_threshold,
        metavar="P",
        help="leave out labels of a lower probability; best: that with the best micro-F1 on held-out instances",
    )


def run(args: argparse.Namespace) -> int:
    if args.output is not None:
        check_output("--output", args.output)
    model = inputs.load_model(args.model, args.threads, args.device)
    as_matrix = args.output is not None and args.output.endswith(".npz")
    names = None if args.ids or as_matrix else _printable(model.label_names)
    X, blanked = inputs.unlabelled(args.data, model, demo=args.demo, filter_file=args.filter)
    X = inputs.features_of(model, X, args.model)
    k = ranked_labels(args.k, model.num_labels)
    weights = label_weights.label_weights(args.label_weights, model)
    ranker = model.ranker(args.network_alone)
    if args.probabilities or args.threshold is not None:
        if weights is not None:
            raise UsageError("--label-weights rank by another quantity than probability; leave one of them out")
        batches = rankings(CalibratedRanker(ranker, model.calibrations, args.threshold), X, k, blanked)
    else:
        batches = rankings(ranker, X, k, blanked, label_weights=weights)
    if args.output is None:
        sys.stdout.writelines(_lines(batches, names))
        return 0
    try:
        with atomic_file(args.output, "--output") as file:
            if as_matrix:
                _save_matrix(file, batches, model.num_labels)
            else:
                file.writelines(line.encode() for line in _lines(batches, names))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"{args.output}: cannot be written: {why}") from None
    return 0


def _threshold(text: str) -> float | str:
    if text == "best":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number in [0, 1] nor best") from None


def _printable(names: list[str] | None) -> list[str] | None:
    for name in names or ():
        if "\t" in name:
            raise UsageError(f"the label name {name!r} holds a tab, which separates labels on a line; print --ids")
    return names


def _lines(batches: Batches, names: list[str] | None) -> Iterator[str]:
    separator = "," if names is None else "\t"
    for scores, ids in batches:
        for row_scores, row_ids in zip(scores.tolist(), ids.tolist(), strict=True):
            items = (
                f"{label if names is None else names[label]}:{score:.6g}"
                for score, label in zip(row_scores, row_ids, strict=True)
                if label >= 0
            )
            yield separator.join(items) + "\n"


def _save_matrix(file: BinaryIO, batches: Batches, num_labels: int) -> None:
    scores, ids, lengths = [np.empty(0, np.float32)], [np.empty(0, np.int64)], [np.zeros(1, np.int64)]
    for batch_scores, batch_ids in batches:
        found = batch_ids >= 0
        scores.append(batch_scores[found])
        ids.append(batch_ids[found])
        lengths.append(found.sum(axis=1))
    indptr = np.cumsum(np.concatenate(lengths))
    matrix = sp.csr_matrix((np.concatenate(scores), np.concatenate(ids), indptr), shape=(len(indptr) - 1, num_labels))
    matrix.sort_indices()
    sp.save_npz(file, matrix)
