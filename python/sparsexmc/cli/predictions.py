"""Output of `sparsexmc predict`: lines of text, JSON lines, comma-separated values, a sparse matrix."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import scipy.sparse as sp

from ..core.filter import Ranking
from .errors import UsageError

Batches = Iterator[Ranking]
Names = Sequence[str] | None

FORMS = ("text", "jsonl", "csv", "npz")


def form_of(path: str | None) -> str:
    """The form that the ending of a file asks for; text for any other."""
    ending = (path or "").rpartition(".")[2]
    return ending if ending in FORMS[1:] else "text"


def lines(form: str, batches: Batches, labels: Names, instances: Names) -> Iterator[str]:
    """The lines of a form but "npz".

    Args:
        form: one of `FORMS`.
        batches: (scores, ids) [n, k], -1 where there is no label.
        labels: names of the labels, or None: their ids are written.
        instances: names of the instances, or None.
    """
    if form == "jsonl":
        return _json_lines(batches, labels, instances)
    return _csv_lines(batches, labels, instances) if form == "csv" else _text_lines(batches, labels)


def save_matrix(file: BinaryIO, batches: Batches, num_labels: int) -> None:
    """Writes CSR [instances, num_labels] of scores as scipy does."""
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


def _rows(batches: Batches) -> Iterator[list[tuple[int, str]]]:
    """The (label, score) of every instance, best first; scores with six digits."""
    for scores, ids in batches:
        for row_scores, row_ids in zip(scores.tolist(), ids.tolist(), strict=True):
            yield [(label, f"{score:.6g}") for score, label in zip(row_scores, row_ids, strict=True) if label >= 0]


def _text_lines(batches: Batches, labels: Names) -> Iterator[str]:
    for name in labels or ():
        if "\t" in name:
            raise UsageError(f"the label name {name!r} holds a tab, which separates labels on a line; print --ids")
    separator = "," if labels is None else "\t"
    for row in _rows(batches):
        yield separator.join(f"{label if labels is None else labels[label]}:{score}" for label, score in row) + "\n"


def _json_lines(batches: Batches, labels: Names, instances: Names) -> Iterator[str]:
    for number, row in enumerate(_rows(batches)):
        name = {} if instances is None else {"name": instances[number]}
        found = {
            "labels": [label if labels is None else labels[label] for label, _ in row],
            "scores": [float(score) for _, score in row],
        }
        yield json.dumps({"instance": number, **name, **found}, ensure_ascii=False) + "\n"


def _csv_lines(batches: Batches, labels: Names, instances: Names) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    named = [] if instances is None else ["name"]
    writer.writerow(["instance", *named, "rank", "label", "score"])
    for number, row in enumerate(_rows(batches)):
        name = [] if instances is None else [instances[number]]
        for rank, (label, score) in enumerate(row, 1):
            writer.writerow([number, *name, rank, label if labels is None else labels[label], score])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()
