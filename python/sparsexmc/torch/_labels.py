"""Labels as batches of PyTorch bring them: CSR, one id per instance, or rows of ids with padding."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from .._csr import check_label_values
from ..errors import ArgumentError, DTypeError
from ..interop.inputs import InstanceWeights, Positives, instance_numbers, labels_input


class Targets(NamedTuple):
    """Positives of the instances of a batch, and how much each instance counts; None: all the same."""

    positives: Positives
    instance_weights: InstanceWeights | None


def targets(
    labels: Any, instance_weights: Any, embeddings: torch.Tensor, num_labels: int, ignore_index: int | None = None
) -> Targets:
    """The targets of a batch in host memory.

    Args:
        labels, ignore_index: as `positives`.
        instance_weights: tensor or array [rows], finite and at least 0, on the CPU or beside the embeddings; None.

    Raises:
        ArgumentError, DTypeError: naming what came and the remedy.
    """
    found = positives(labels, embeddings, num_labels, ignore_index)
    if instance_weights is None:
        return Targets(found, None)
    value = _host("instance_weights", instance_weights, embeddings)
    if isinstance(value, torch.Tensor):
        value = value.detach()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return Targets(found, instance_numbers("instance_weights", value, embeddings.shape[0]))


def positives(labels: Any, embeddings: torch.Tensor, num_labels: int, ignore_index: int | None = None) -> Positives:
    """The positives of a batch as (indptr [rows + 1], indices) in host memory.

    Args:
        labels: integer tensor [rows] with one id per instance, or [rows, p] with negative numbers as padding; nested
            integer tensor of the ids of each instance; sparse tensor [rows, num_labels]; or what
            `Classifier.train_step` takes. A tensor lies on the CPU or, for a copy that waits, beside the embeddings.
        ignore_index: a number that stands for no label where there is one id per instance, or None.

    Raises:
        ArgumentError, DTypeError: naming what came and the remedy.
    """
    rows = embeddings.shape[0]
    if isinstance(labels, torch.Tensor):
        return _of_tensor(_host("labels", labels, embeddings), rows, num_labels, ignore_index)
    if isinstance(labels, tuple) and len(labels) == 2:
        labels = tuple(_host("labels", part, embeddings) for part in labels)
    return labels_input("labels", labels, rows, num_labels, ignore_index=ignore_index)


def _of_tensor(labels: torch.Tensor, rows: int, num_labels: int, ignore_index: int | None) -> Positives:
    if labels.is_nested:
        return _of_nested(labels, rows, num_labels)
    if labels.layout in (torch.sparse_coo, torch.sparse_csr):
        return _of_sparse(labels, rows, num_labels)
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise DTypeError(
            f"labels has dtype {labels.dtype} and shape {tuple(labels.shape)}; pass label ids as an integer tensor, or "
            "0/1 indicators as labels.to_sparse_csr()"
        )
    if labels.ndim == 2 and labels.shape[0] == rows and labels.shape[1] < num_labels:
        kept = labels >= 0
        indptr = np.concatenate([[0], np.cumsum(kept.sum(1).numpy())])
        return indptr, labels[kept].numpy().astype(np.int64, copy=False)
    if labels.ndim != 1:
        raise ArgumentError(
            f"labels has shape {tuple(labels.shape)}, but there are {rows} instances and num_labels={num_labels}; pass "
            "one id per instance [rows], ids with -1 as padding [rows, p], or 0/1 indicators as labels.to_sparse_csr()"
        )
    return labels_input("labels", labels.numpy(), rows, num_labels, ignore_index=ignore_index)


def _of_nested(labels: torch.Tensor, rows: int, num_labels: int) -> Positives:
    """A row of ids for each instance, of any length."""
    parts = labels.unbind()
    if any(part.ndim != 1 for part in parts) or labels.dtype.is_floating_point or labels.dtype == torch.bool:
        raise DTypeError(
            f"labels is a nested tensor of {labels.dtype}; each of its parts must be 1-D and hold the label ids of an "
            "instance as integers"
        )
    indptr = np.cumsum([0, *(len(part) for part in parts)])
    indices = torch.cat(parts).numpy() if parts else np.empty(0, np.int64)
    return labels_input("labels", (indptr, indices.astype(np.int64, copy=False)), rows, num_labels)


def _of_sparse(labels: torch.Tensor, rows: int, num_labels: int) -> Positives:
    if tuple(labels.shape) != (rows, num_labels):
        raise ArgumentError(
            f"labels has shape {tuple(labels.shape)}, but there are {rows} instances and num_labels={num_labels}"
        )
    coo = labels.detach().to_sparse_coo()
    values = coo._values()
    check_label_values("labels", (values.float() if values.is_floating_point() else values).numpy())
    # Ones before duplicates are merged: a label counts once, and 1 - 1 must not make it vanish.
    places = coo._indices()[:, values != 0]
    places = torch.sparse_coo_tensor(places, torch.ones(places.shape[1]), labels.shape).coalesce().indices().numpy()
    return np.searchsorted(places[0], np.arange(rows + 1)), np.ascontiguousarray(places[1])


def _host(name: str, value: Any, embeddings: torch.Tensor) -> Any:
    """A tensor in host memory; anything else as it is."""
    if name != "labels" and isinstance(value, torch.Tensor) and value.is_nested:
        raise DTypeError(f"{name} is a nested tensor; pass a plain one, such as torch.cat({name}.unbind())")
    if not isinstance(value, torch.Tensor) or value.is_cpu:
        return value
    if value.device != embeddings.device:
        raise ArgumentError(
            f"{name} is on {value.device}, but the embeddings are on {embeddings.device}; they are read in host "
            f"memory: pass {name}.cpu()"
        )
    return value.cpu()
