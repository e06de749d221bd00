"""The `.npz` file in which `Neighbors` are kept. Nothing is ever unpickled."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ._sparse import label_matrix, sparse_features
from .config import Votes
from .errors import ArgumentError, DataError

_FORMAT = "sparsexmc-neighbors-1"
_PARTS = ("data", "indices", "indptr")


def arrays(labels: sp.csr_matrix, rows: Any) -> dict[str, npt.NDArray[Any]]:
    """What is stored of labels [N, L] and unit rows: an array [N, D], or their transpose as CSR [D, N]."""
    stored = {"labels.indptr": labels.indptr, "labels.indices": labels.indices}
    if sp.issparse(rows):
        return stored | {f"postings.{part}": getattr(rows, part) for part in _PARTS}
    return stored | {"rows": rows}


def write(path: Path, labels: sp.csr_matrix, rows: Any, meta: dict[str, Any]) -> None:
    """Replaces the file as a whole. Raises DataError if it cannot be written."""
    text = json.dumps({"format": _FORMAT, **meta})
    content = arrays(labels, rows) | {"meta": np.frombuffer(text.encode(), np.uint8)}
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **content)  # type: ignore[arg-type]
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written: {error}") from None


def read(path: Path) -> tuple[sp.csr_matrix, Any, dict[str, Any]]:
    """(labels, rows, meta). Raises DataError if the file is missing, damaged or something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
            if meta["format"] != _FORMAT:
                raise ValueError(f"its format is {meta['format']!r}")
            Votes(**meta["votes"])
            indptr, indices = file["labels.indptr"], file["labels.indices"]
            shape = (len(indptr) - 1, meta["num_labels"])
            labels = label_matrix("labels", sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape))
            if "rows" not in file.files:
                parts = tuple(file[f"postings.{part}"] for part in _PARTS)
                return labels, sparse_features("postings", sp.csr_matrix(parts, (meta["in_features"], shape[0]))), meta
            rows = file["rows"]
            if rows.shape != (shape[0], meta["in_features"]) or rows.dtype != np.float32:
                raise ValueError(f"its rows are {rows.dtype} {rows.shape}")
            return labels, rows, meta
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, ArgumentError) as error:
        raise DataError(f"{path}: not the neighbors that sparsexmc saved: {error}") from None
