"""The classifier: what it is made of, and how it trains for whole epochs."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse

from . import _core
from ._sparse import label_matrix, sparse_features
from .config import SGD, Adam, ClassifierConfig, Hidden, Rewiring, Schedule, Softmax
from .core.classifier import CoreClassifier
from .errors import ArgumentError, DTypeError
from .interop import cuda
from .interop.dlpack import HOST
from .interop.inputs import label_array, refuse_sparse_tensor
from .interop.rows import DenseRows
from .label_options import MetaClassifier, Propensity
from .memory import MemoryPlan
from .training.averaging import start_average, stop_average, use_average
from .training.defaults import network_for_data
from .training.fit import fit
from .training.regrouping import regroup
from .weight_average import WeightAverage


class Classifier(CoreClassifier):
    """A sparse classifier over very many labels: one fused step does matmul, loss, gradients, optimizer and rewiring.

    Args:
        in_features: width of the embeddings, or number of columns of the sparse features.
        num_labels: number of labels; their ids are 0 .. num_labels - 1.
        fan_in: number of features that a tail label reads; None: every label is dense (and nothing is rewired).
        group_size: consecutive labels that share one set of features; 1 is fan-in per label.
        dense_labels: share (float) or number (int) of the most frequent labels that read all features; 0: none.
        label_counts: [num_labels] training frequency of each label, for `dense_labels` and the internal order.
        num_instances: number of training instances that `label_counts` are of; the model then keeps both.
        label_order: [num_labels] label ids in internal order, for example from clustering; overrides `label_counts`.
        hidden: units of a hidden layer (ReLU) between input and output layer, or `Hidden(...)`; None: none.
        sparse_input: the hidden layer reads scipy CSR rows of `in_features` columns instead of dense embeddings.
        auxiliary: `MetaClassifier(...)`, which helps the encoder or the hidden layer early in training; None: none.
        loss: "bce" or "squared_hinge", summed over the labels, or "softmax" or `Softmax(...)`, over all of them
            together; averaged over the instances of the batch.
        positive_weights: [num_labels] factor > 0 on the loss of each label's positives, or "propensity" or
            `Propensity(A, B)`: 2 / p - 1 for labels whose positives are often missing, p from `label_counts` and
            `num_instances` (Qaraei et al., WWW 2021); None: 1.
        optimizer: `SGD()`, the default, or `Adam(...)`.
        schedule: factor on the learning rate over the steps; by default 1.
        rewiring: `Rewiring(...)`, or None for connections that stay; "auto", the default: `Rewiring()` without a hidden
            layer, None behind one, which learns what any connections carry.
        average: a running average of all trained weights that is kept beside them from the first step on: "ema",
            "mean", or `WeightAverage(...)`; None: none. `use_average` lets it predict, and so does `fit` at its end;
            training goes on from the trained weights. `fit(average=...)` keeps one for the length of a call.
        initial_bias: bias of every label at the start, a number or an array [num_labels]; or "frequency": the constant
            logit of least loss for a label with n = `label_counts` of N = `num_instances`, with "bce" the log-odds
            ln((n + 1/2) / (N - n + 1/2)), within +-ln(2 N + 1) also at n = 0 and n = N.
        weight_dtype: storage of the output layer's weights: "float32", or on a GPU "bfloat16", rounded stochastically.
        compute_dtype: what the products of training read, "float32" or "bfloat16", sums are float32; "auto": float32 on
            the CPU, bfloat16 on a GPU. On a CPU bfloat16 is for matrix units (AMX): elsewhere as exact, but slower.
        state_dtype: storage of the optimizer state; "float32".
        device: "cpu", "cuda" or "cuda:<index>"; "auto": a usable GPU, else the CPU, and the log says why.
        stream: the CUDA stream to run on: a cudaStream_t as an int, a torch.cuda.Stream or a cupy.cuda.Stream; None:
            the current stream of the embeddings' library, or for others a stream of the classifier's own.
        batch_size: the largest batch that a step may bring; memory is reserved for it.
        labels_per_instance: memory is reserved for batch_size times this many positives in a batch.
        features_per_instance: the same for the nonzeros of sparse features.
        topk: memory is reserved for this k in `topk`.
        memory_limit: bytes, or text such as "4GB"; a plan above it raises before anything is allocated.
        num_threads: worker threads; None: SPARSEXMC_NUM_THREADS, OMP_NUM_THREADS, or the CPUs of the process.
        seed: of weights, connections, dropout and rewiring.

    Raises:
        ArgumentError: an argument is wrong; the message names it, its value and the remedy.
        MemoryPlanError: the plan is above `memory_limit`.
        DeviceError: the device cannot be used.
    """

    def __init__(
        self,
        in_features: int,
        num_labels: int,
        *,
        fan_in: int | None = ClassifierConfig.fan_in,
        group_size: int = ClassifierConfig.group_size,
        dense_labels: float | int = ClassifierConfig.dense_labels,
        label_counts: npt.ArrayLike | None = None,
        num_instances: int | None = ClassifierConfig.num_instances,
        label_order: npt.ArrayLike | None = None,
        hidden: int | Hidden | None = ClassifierConfig.hidden,
        sparse_input: bool = ClassifierConfig.sparse_input,
        auxiliary: MetaClassifier | None = ClassifierConfig.auxiliary,
        loss: str | Softmax = ClassifierConfig.loss,
        positive_weights: str | Propensity | npt.ArrayLike | None = ClassifierConfig.positive_weights,
        optimizer: SGD | Adam = ClassifierConfig.optimizer,
        schedule: Schedule = ClassifierConfig.schedule,
        rewiring: Rewiring | str | None = ClassifierConfig.rewiring,
        average: WeightAverage | str | None = ClassifierConfig.average,
        initial_bias: float | str | npt.ArrayLike = ClassifierConfig.initial_bias,
        weight_dtype: str = ClassifierConfig.weight_dtype,
        compute_dtype: str = ClassifierConfig.compute_dtype,
        state_dtype: str = ClassifierConfig.state_dtype,
        device: str = ClassifierConfig.device,
        stream: Any = None,
        batch_size: int = ClassifierConfig.batch_size,
        labels_per_instance: int = ClassifierConfig.labels_per_instance,
        features_per_instance: int = ClassifierConfig.features_per_instance,
        topk: int = ClassifierConfig.topk,
        memory_limit: int | str | None = ClassifierConfig.memory_limit,
        num_threads: int | None = ClassifierConfig.num_threads,
        seed: int = ClassifierConfig.seed,
    ) -> None:
        config = ClassifierConfig(
            in_features=in_features,
            num_labels=num_labels,
            fan_in=fan_in,
            group_size=group_size,
            dense_labels=dense_labels,
            num_instances=num_instances,
            hidden=hidden,
            sparse_input=sparse_input,
            auxiliary=auxiliary,
            loss=loss,
            positive_weights=positive_weights,
            optimizer=optimizer,
            schedule=schedule,
            rewiring=rewiring,
            average=average,
            initial_bias=initial_bias,
            weight_dtype=weight_dtype,
            compute_dtype=compute_dtype,
            state_dtype=state_dtype,
            device=device,
            batch_size=batch_size,
            labels_per_instance=labels_per_instance,
            features_per_instance=features_per_instance,
            topk=topk,
            memory_limit=memory_limit,
            num_threads=num_threads,
            seed=seed,
        )
        order = None if label_order is None else label_array("label_order", label_order, num_labels)
        counts = None if label_counts is None else label_array("label_counts", label_counts, num_labels)
        cuda.prepare(device)
        self._set_engine(_core.Classifier(config.to_json(), order, counts, *config.label_arrays()), device)
        self.stream = stream

    @classmethod
    def for_data(cls, X: Any, Y: Any, **options: Any) -> Self:
        """A classifier with the settings that suit a training set, as `sparsexmc.train` chooses them.

        A hidden layer reads the features; many labels get a fan-in output layer with the most frequent ones dense. Then
        `fit(X, Y)` trains for as many epochs as suit the data. `sparsexmc.train` also weighs token counts (see
        `sparsexmc.data.TfIdf`), and adds linear classifiers and neighbors.

        Args:
            X: [n, in_features] training features: scipy sparse, or a NumPy array of float32 or float16.
            Y: [n, num_labels] their labels, scipy sparse.
            options: arguments of `Classifier` that differ from those settings.

        Raises:
            ArgumentError, DTypeError: X or Y is of another kind or shape, or holds NaN or Inf; or as `Classifier`.
        """
        refuse_sparse_tensor("X", X)
        labels = label_matrix("Y", Y)
        if not hasattr(X, "shape") or len(X.shape) != 2 or X.shape[0] != labels.shape[0] or not X.shape[0]:
            raise ArgumentError(
                f"X has shape {getattr(X, 'shape', None)} and Y {labels.shape}; pass a row of each for every instance"
            )
        if scipy.sparse.issparse(X):
            X = sparse_features("X", X)
        elif isinstance(X, np.ndarray):
            DenseRows("X", X, X.shape[1], HOST).check_finite()
        else:
            raise DTypeError(
                f"X is a {type(X).__qualname__}; pass a scipy sparse matrix or a NumPy array, such as "
                "np.asarray(X, dtype=np.float32)"
            )
        arguments = network_for_data(X, labels) | {
            "label_counts": np.bincount(labels.indices, minlength=labels.shape[1])
        }
        return cls(**(arguments | options))

    fit = fit
    regroup = regroup
    start_average = start_average
    stop_average = stop_average
    use_average = use_average


def plan(in_features: int, num_labels: int, **options: Any) -> MemoryPlan:
    """Every byte that a classifier would hold, without allocating any.

    Takes the arguments of `Classifier` (without `label_counts`, `label_order` and `stream`). On a GPU the bytes are the
    device's; gradients for libraries other than PyTorch and CuPy come on top for as long as the caller holds them.

    Raises:
        ArgumentError: an argument is wrong.
        MemoryPlanError: `memory_limit` is below the plan; the message has the table and what would make it fit.
    """
    config = ClassifierConfig(in_features=in_features, num_labels=num_labels, **options)
    return MemoryPlan(*_core.plan(config.to_json()))
