"""Write the best labels of every instance, one line an instance, best first.

A line is name:score, name:score, ... separated by tabs; without names, or with --ids, id:score,id:score,... Scores are
the sums of `sparsexmc.Ensemble`, or logits where the model is a network alone or --label-weights are given. A
file that ends in .npz gets a scipy CSR matrix of scores [instances, labels] instead. DATA may also be one matrix of
features (.npz or .npy) or, for a model of raw text, texts: .txt with one per line, .jsonl or .tsv. Pairs of the data's
filter file or of --filter are blanked before ranking; a line is shorter where too few labels are left.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from . import ensemble, inputs, label_weights, model_inputs
from .config import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


DEFAULT_K = 5
ROWS_AT_A_TIME = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory")
    inputs.add_data_arguments(parser)
    parser.add_argument("-k", type=int, metavar="K", help=f"labels per instance (default {DEFAULT_K}, or all if fewer)")
    parser.add_argument("-o", "--output", metavar="FILE", help="text, or .npz for a CSR matrix; default: the terminal")
    parser.add_argument("--ids", action="store_true", help="label ids, even where the model knows names")
    model_inputs.add_filter_argument(parser)
    ensemble.add_argument(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="worker threads")
    inputs.add_device_argument(parser)
    label_weights.add_argument(parser)


def run(args: argparse.Namespace) -> int:
    classifier = inputs.load_model(args.model, args.threads, args.device)
    as_matrix = args.output is not None and args.output.endswith(".npz")
    names = None if args.ids or as_matrix else _printable(classifier.label_names)
    X, blanked = model_inputs.load_features(args.data, classifier, args.model, demo=args.demo, filter_file=args.filter)
    k = min(DEFAULT_K, classifier.num_labels) if args.k is None else args.k
    ranker = ensemble.load(args.model, classifier, args.threads, wanted=not args.network_alone)
    weighted: ensemble.Ranker = ranker
    if args.label_weights is not None:
        weighted = label_weights.apply(args.label_weights, classifier, ranker, args.model)
    batches = _batches(weighted, X, k, blanked)
    if args.output is None:
        sys.stdout.writelines(_lines(batches, names))
        return 0
    with inputs.output_file(args.output) as file:
        if as_matrix:
            _save_matrix(file, batches, classifier.num_labels)
        else:
            file.writelines(line.encode() for line in _lines(batches, names))
    return 0


Batches = Iterator[tuple["npt.NDArray[np.float32]", "npt.NDArray[np.int64]"]]


def _batches(ranker: ensemble.Ranker, X: Any, k: int, blanked: Any) -> Batches:
    for start in range(0, X.shape[0], ROWS_AT_A_TIME):
        rows = slice(start, start + ROWS_AT_A_TIME)
        yield ranker.topk(X[rows], k, filter=None if blanked is None else blanked[rows])


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
    import numpy as np
    import scipy.sparse as sp

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
