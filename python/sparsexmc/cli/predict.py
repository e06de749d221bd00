"""Write the best labels of every instance, one line an instance: id:score,id:score,... best first.

Scores are logits. With --names the labels stand by name, separated by tabs. A file that ends in .npz gets a scipy CSR
matrix of scores [instances, labels] instead. DATA may also be a single matrix of features (.npz or .npy).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from . import inputs, preparation
from .config import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sparsexmc import Classifier

ROWS_AT_A_TIME = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory")
    inputs.add_data_arguments(parser)
    parser.add_argument("-k", type=int, default=5, metavar="K", help="labels per instance (default %(default)s)")
    parser.add_argument("-o", "--output", metavar="FILE", help="text, or .npz for a CSR matrix; default: the terminal")
    parser.add_argument("--names", action="store_true", help="label names instead of ids")
    parser.add_argument("--threads", type=int, metavar="N", help="worker threads")
    inputs.add_device_argument(parser)


def run(args: argparse.Namespace) -> int:
    classifier = inputs.load_model(args.model, args.threads, args.device)
    as_matrix = args.output is not None and args.output.endswith(".npz")
    if args.names and (as_matrix or classifier.label_names is None):
        raise UsageError("--names has no place in an .npz file" if as_matrix else f"{args.model} holds no label names")
    X = preparation.prepare(inputs.load_features(args.data, demo=args.demo), classifier, args.model)
    names = classifier.label_names if args.names else None
    if args.output is None:
        sys.stdout.writelines(_lines(classifier, X, args.k, names))
        return 0
    with inputs.atomic_path(args.output) as path:
        if as_matrix:
            _save_matrix(path, classifier, X, args.k)
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(_lines(classifier, X, args.k, names))
    return 0


def _batches(classifier: Classifier, X: Any, k: int) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
    for start in range(0, X.shape[0], ROWS_AT_A_TIME):
        yield classifier.topk(X[start : start + ROWS_AT_A_TIME], k)


def _lines(classifier: Classifier, X: Any, k: int, names: list[str] | None) -> Iterator[str]:
    separator = "," if names is None else "\t"
    for scores, ids in _batches(classifier, X, k):
        for row_scores, row_ids in zip(scores.tolist(), ids.tolist(), strict=True):
            items = (
                f"{label if names is None else names[label]}:{score:.6g}"
                for score, label in zip(row_scores, row_ids, strict=True)
            )
            yield separator.join(items) + "\n"


def _save_matrix(path: Any, classifier: Classifier, X: Any, k: int) -> None:
    import numpy as np
    import scipy.sparse as sp

    batches = list(_batches(classifier, X, k))
    scores = np.concatenate([batch[0] for batch in batches]) if batches else np.empty((0, k), np.float32)
    ids = np.concatenate([batch[1] for batch in batches]) if batches else np.empty((0, k), np.int64)
    indptr = np.arange(0, scores.size + 1, k)
    matrix = sp.csr_matrix((scores.ravel(), ids.ravel(), indptr), shape=(len(ids), classifier.num_labels))
    matrix.sort_indices()
    with open(path, "wb") as file:
        sp.save_npz(file, matrix)
