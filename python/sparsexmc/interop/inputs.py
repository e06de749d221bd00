"""Inputs of a step: dense or sparse features, and the positives of every instance as CSR arrays."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from .. import _core
from .._csr import check_compressed, check_label_values, without_zeros
from ..errors import ArgumentError, DTypeError
from .dlpack import HOST, Place, borrow_matrix
from .gradient import gradient_like
from .streams import is_torch

Indices = npt.NDArray[Any]  # int32 or int64
Positives = tuple[Indices, Indices]  # (indptr [rows + 1], label ids)
InstanceWeights = npt.NDArray[np.float32]  # [rows]
Scores = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
_INDEX_DTYPES = (np.dtype(np.int32), np.dtype(np.int64))


class DenseFeatures:
    """A borrowed matrix [rows, in_features]; `from_host` as in `borrow_matrix`."""

    def __init__(self, name: str, value: Any, width: int, place: Place = HOST, *, from_host: bool = False) -> None:
        self._source = value
        self._place = place
        self._borrowed = borrow_matrix(name, value, width, place, from_host=from_host)
        self.rows = self._borrowed.tensor.shape[0]

    def start_step(
        self,
        engine: _core.Classifier,
        positives: Positives,
        instance_weights: InstanceWeights | None,
        *,
        skip: bool,
        return_grad: bool,
        exact_grad: bool = False,
    ) -> tuple[_core.Step, Any]:
        """A step of the engine and the gradient: None, or like the source; see `gradient_like`."""
        b = self._borrowed
        gradient, target = self._gradient(engine, exact_grad) if return_grad else (None, None)
        targets = (*positives, instance_weights)
        return engine.start_step(b.tensor, *targets, target, skip, b.stream, b.caller_stream), gradient

    def eval_step(
        self,
        engine: _core.Classifier,
        positives: Positives,
        instance_weights: InstanceWeights | None,
        *,
        skip: bool,
        return_grad: bool,
        exact_grad: bool = False,
        dropout: bool = False,
    ) -> tuple[_core.Step, Any]:
        """Loss and gradient as `start_step` would give them, without an update."""
        b = self._borrowed
        gradient, target = self._gradient(engine, exact_grad) if return_grad else (None, None)
        targets = (*positives, instance_weights)
        return engine.eval_step(b.tensor, *targets, target, skip, dropout, b.stream), gradient

    def _gradient(self, engine: _core.Classifier, exact: bool) -> tuple[Any, _core.Tensor]:
        return gradient_like(self._source, self._borrowed, self._place, engine, exact=exact)

    def topk(self, engine: _core.Classifier, scores: Scores, ids: Ids, label_weights: Scores | None) -> None:
        """Fill `scores` and `ids`, both [rows, k]; `label_weights` [num_labels]."""
        engine.topk(self._borrowed.tensor, scores, ids, label_weights, self._borrowed.stream)

    def hidden_activations(self, engine: _core.Classifier, out: Scores) -> None:
        """Fill `out` [rows, hidden units]."""
        engine.hidden_activations(self._borrowed.tensor, out, self._borrowed.stream)


@dataclass(frozen=True, slots=True)
class SparseFeatures:
    """Rows of float32 features in CSR form, to be read on a stream."""

    indptr: Indices
    indices: Indices
    values: npt.NDArray[np.float32]
    cols: int
    stream: int = 0

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    def start_step(
        self,
        engine: _core.Classifier,
        positives: Positives,
        instance_weights: InstanceWeights | None,
        *,
        skip: bool,
        return_grad: bool,
        exact_grad: bool = False,
    ) -> tuple[_core.Step, None]:
        """A step of the engine; sparse features have no gradient."""
        del return_grad, exact_grad
        features = (self.indptr, self.indices, self.values, self.cols)
        return engine.start_sparse_step(*features, *positives, instance_weights, skip, self.stream), None

    def topk(self, engine: _core.Classifier, scores: Scores, ids: Ids, label_weights: Scores | None) -> None:
        """Fill `scores` and `ids`, both [rows, k]; `label_weights` [num_labels]."""
        features = (self.indptr, self.indices, self.values, self.cols)
        engine.topk_sparse(*features, scores, ids, label_weights, self.stream)

    def hidden_activations(self, engine: _core.Classifier, out: Scores) -> None:
        """Fill `out` [rows, hidden units]."""
        features = (self.indptr, self.indices, self.values, self.cols)
        engine.hidden_activations_sparse(*features, out, self.stream)


Features = DenseFeatures | SparseFeatures


def features_input(name: str, value: Any, width: int, place: Place = HOST, *, sparse: bool) -> Features:
    """Dense embeddings at `place`, or scipy CSR rows if `sparse`.

    Raises:
        ArgumentError, DTypeError: naming the argument, what came and the remedy.
    """
    refuse_sparse_tensor(name, value)
    if not sparse:
        if scipy.sparse.issparse(value):
            raise DTypeError(
                f"{name} is a scipy sparse matrix, but the classifier reads dense embeddings; make it with "
                f"sparse_input=True and a hidden layer, or pass {name}.toarray()"
            )
        return DenseFeatures(name, value, width, place)
    matrix = _require_csr(name, value, f"the classifier has sparse_input=True; pass scipy.sparse.csr_matrix({name})")
    if matrix.shape[1] != width:
        raise ArgumentError(f"{name} has shape {matrix.shape}, but the classifier has in_features={width}")
    if matrix.dtype != np.float32:
        raise DTypeError(f"{name} has dtype {matrix.dtype}; sparse features are float32: {name}.astype(np.float32)")
    entries = int(matrix.indptr[-1])
    if not matrix.data[:entries].all():
        matrix = without_zeros(matrix)
        entries = int(matrix.indptr[-1])
    indptr = index_array(f"{name}.indptr", matrix.indptr)
    indices = index_array(f"{name}.indices", matrix.indices[:entries])
    values = np.ascontiguousarray(matrix.data[:entries])  # a field of structures has gaps
    return SparseFeatures(indptr, indices, values, width, place.stream_for(None))


def labels_input(name: str, value: Any, rows: int, num_labels: int, *, ignore_index: int | None = None) -> Positives:
    """The positives of `rows` instances as (indptr [rows + 1], indices), each int32 or int64.

    `value` is scipy CSR [rows, num_labels] (stored zeros are no entries, NaN is refused, other values count as 1), a
    tuple (indptr, indices), or an integer array [rows] with one label per instance. Rows of a larger structure may come
    as (indptr[a : b + 1], indices). Ids are range-checked by the engine. In such an array `ignore_index` is no label.
    """
    refuse_sparse_tensor(name, value)
    if scipy.sparse.issparse(value):
        matrix = _require_csr(name, value, "")
        if matrix.shape != (rows, num_labels):
            raise ArgumentError(
                f"{name} has shape {matrix.shape}, but there are {rows} instances and num_labels={num_labels}"
            )
        entries = int(matrix.indptr[-1])
        check_label_values(name, matrix.data[:entries])
        if not matrix.data[:entries].all():
            matrix = without_zeros(matrix)
            entries = int(matrix.indptr[-1])
        return index_array(f"{name}.indptr", matrix.indptr), index_array(f"{name}.indices", matrix.indices[:entries])
    if isinstance(value, tuple) and len(value) == 2:
        indptr, indices = index_array(f"{name}[0]", value[0]), index_array(f"{name}[1]", value[1])
    elif hasattr(value, "__array__") and not isinstance(value, (list, tuple)):
        array = np.asarray(value)
        if array.ndim != 1:
            raise ArgumentError(
                f"{name} is an array of shape {array.shape}; pass scipy.sparse.csr_matrix({name}), (indptr, indices), "
                "or one label id per instance as a 1-D array"
            )
        indptr, indices = np.arange(len(array) + 1), index_array(name, array)
        if ignore_index is not None and (ignored := indices == ignore_index).any():
            indptr = np.concatenate([[0], np.cumsum(~ignored)])
            indices = indices[~ignored]
    else:
        raise DTypeError(
            f"{name} is a {type(value).__qualname__}; pass a scipy CSR matrix, a tuple (indptr, indices) of integer "
            "arrays, or one label id per instance as a 1-D integer array"
        )
    if len(indptr) != rows + 1:
        raise ArgumentError(f"{name} has {max(len(indptr) - 1, 0)} rows, but there are {rows} instances")
    first, last = int(indptr[0]), int(indptr[-1])
    if 0 <= first <= last <= len(indices):  # else the engine says what is wrong
        indptr, indices = indptr - first if first else indptr, indices[first:last]
    return indptr, indices


def instance_numbers(name: str, value: npt.ArrayLike, rows: int) -> InstanceWeights:
    """`value` as float32 [rows], finite and at least 0; any real numbers are taken."""
    array = number_array(name, value)
    if array.dtype.kind not in "iuf":
        raise DTypeError(f"{name} has dtype {array.dtype}; give one real number per instance, such as float32")
    if array.shape != (rows,):
        raise ArgumentError(f"{name} has shape {array.shape}, but there are {rows} instances; give one number for each")
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(array, dtype=np.float32)
    wrong = np.flatnonzero(~((numbers >= 0) & np.isfinite(numbers)))
    if len(wrong):
        raise ArgumentError(
            f"{name} holds {array[wrong[0]]} for row {wrong[0]}; use finite numbers >= 0 that fit into float32"
        )
    return numbers


def label_array(name: str, value: npt.ArrayLike, num_labels: int) -> npt.NDArray[np.int64]:
    """`value` as int64 [num_labels]."""
    array = index_array(name, number_array(name, value))
    if array.shape != (num_labels,):
        raise ArgumentError(f"{name} has {len(array)} entries, but there are num_labels={num_labels}")
    return array.astype(np.int64, copy=False)


def label_numbers(name: str, value: npt.ArrayLike, num_labels: int) -> npt.NDArray[np.float32]:
    """`value` as float32 [num_labels]; any real numbers are taken."""
    array = number_array(name, value)
    if array.dtype.kind not in "iuf":
        raise DTypeError(f"{name} has dtype {array.dtype}; give one real number per label, such as float32")
    if array.shape != (num_labels,):
        raise ArgumentError(f"{name} has shape {array.shape}, but there are num_labels={num_labels}")
    return np.ascontiguousarray(array, dtype=np.float32)


def number_array(name: str, value: Any) -> npt.NDArray[Any]:
    """`value` as an array of any dtype; DTypeError for what NumPy cannot read, such as lists of unequal lengths."""
    require_strided(name, value)
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DTypeError(f"{name} is a {type(value).__qualname__} that NumPy cannot read: {error}") from None


def refuse_sparse_tensor(name: str, value: Any) -> None:
    """Raise DTypeError for a sparse tensor of PyTorch where rows are read."""
    if _is_sparse_tensor(value):
        raise DTypeError(
            f"{name} is a torch tensor of layout {value.layout}, which is not read; pass scipy.sparse.csr_matrix, or "
            f"{name}.to_dense() where dense rows are read"
        )


def require_strided(name: str, value: Any) -> None:
    """Raise DTypeError for a sparse tensor of PyTorch, or a scipy sparse matrix, where plain numbers are read."""
    if _is_sparse_tensor(value):
        raise DTypeError(f"{name} is a torch tensor of layout {value.layout}; pass {name}.to_dense()")
    if scipy.sparse.issparse(value):
        raise DTypeError(f"{name} is a scipy sparse matrix, not an array of numbers; pass {name}.toarray().ravel()")


def _is_sparse_tensor(value: Any) -> bool:
    return is_torch(value) and value.layout is not sys.modules["torch"].strided


def index_array(name: str, value: Any) -> Indices:
    """`value` as a contiguous 1-D array of int32 or int64; other integers are widened, which loses nothing."""
    refuse_sparse_tensor(name, value)
    if not hasattr(value, "__array__"):
        raise DTypeError(f"{name} is a {type(value).__qualname__}; pass a 1-D integer array, such as np.asarray(...)")
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.dtype == np.uint64:
        raise DTypeError(f"{name} has dtype {array.dtype}; use int32 or int64, for example {name}.astype(np.int64)")
    if array.ndim != 1:
        raise ArgumentError(f"{name} has shape {array.shape}; it must be a 1-D array")
    if array.dtype not in _INDEX_DTYPES:
        array = array.astype(np.int64)
    return np.ascontiguousarray(array)


def _require_csr(name: str, value: Any, remedy: str) -> Any:
    if not scipy.sparse.issparse(value):
        raise DTypeError(f"{name} is a {type(value).__qualname__}; {remedy}")
    if value.format != "csr" or value.ndim != 2:
        raise DTypeError(f"{name} is a scipy matrix in {value.format.upper()} format; pass {name}.tocsr()")
    check_compressed(name, value, columns=False)  # the engine looks at the columns
    return value
