"""The classifier: training steps, prediction, state and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, _cuda, _state
from ._checks import require_choice, require_int
from ._dlpack import Place
from ._evaluation import eval_step, hidden_activations
from ._filter import Blanked, Ranking, blanked_labels, drop, widest
from ._inputs import Features, features_input, label_array, label_numbers, labels_input
from ._label_options import MetaClassifier, Propensity
from ._step import StepResult
from ._streams import stream_handle
from .config import SGD, Adam, ClassifierConfig, Hidden, Rewiring, Schedule
from .errors import ArgumentError
from .fit import fit
from .memory import Memory, format_bytes
from .regrouping import regroup

_DEFAULT_OPTIMIZER = SGD()
_DEFAULT_SCHEDULE = Schedule()
_DEFAULT_REWIRING = Rewiring()


class Classifier:
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
        loss: "bce" or "squared_hinge"; summed over the labels, averaged over the instances of the batch.
        positive_weights: [num_labels] factor > 0 on the loss of each label's positives, or "propensity" or
            `Propensity(A, B)`: 2 / p - 1 for labels whose positives are often missing, p from `label_counts` and
            `num_instances` (Qaraei et al., WWW 2021); None: 1.
        optimizer: `SGD()`, the default, or `Adam(...)`.
        schedule: factor on the learning rate over the steps; by default 1.
        rewiring: `Rewiring()`, the default, or None for connections that stay.
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
        fan_in: int | None = 64,
        group_size: int = 16,
        dense_labels: float | int = 0.05,
        label_counts: npt.ArrayLike | None = None,
        num_instances: int | None = None,
        label_order: npt.ArrayLike | None = None,
        hidden: int | Hidden | None = None,
        sparse_input: bool = False,
        auxiliary: MetaClassifier | None = None,
        loss: str = "bce",
        positive_weights: str | Propensity | npt.ArrayLike | None = None,
        optimizer: SGD | Adam = _DEFAULT_OPTIMIZER,
        schedule: Schedule = _DEFAULT_SCHEDULE,
        rewiring: Rewiring | None = _DEFAULT_REWIRING,
        initial_bias: float | str | npt.ArrayLike = 0.0,
        weight_dtype: str = "float32",
        compute_dtype: str = "auto",
        state_dtype: str = "float32",
        device: str = "auto",
        stream: Any = None,
        batch_size: int = 256,
        labels_per_instance: int = 128,
        features_per_instance: int = 512,
        topk: int = 100,
        memory_limit: int | str | None = None,
        num_threads: int | None = None,
        seed: int = 0,
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
        _cuda.prepare(device)
        self._set_engine(_core.Classifier(config.to_json(), order, counts, *config.label_arrays()), device)
        self.stream = stream

    def _set_engine(self, engine: _core.Classifier, device: str | None) -> None:
        self._engine = engine
        self._config: dict[str, Any] = json.loads(engine.config_json())
        self._label_names: list[str] | None = None
        self._stream: Any = None
        self._place = Place(engine.device, engine.own_stream)
        if device == "auto" and not self._place.is_cuda:
            _cuda.report_fallback()

    # ---- training ----

    def train_step(
        self, embeddings: Any, labels: Any, *, on_nonfinite: str = "raise", return_grad: bool = True
    ) -> StepResult:
        """One fused training step on a batch: forward, loss, gradients, update, and rewiring when due.

        Args:
            embeddings: [b, in_features], 1 <= b <= batch_size: any object with `__dlpack__` on the classifier's device,
                C-contiguous, float32, float16 or bfloat16; with `sparse_input` a scipy CSR matrix of float32. Never
                written to. NumPy arrays are copied to a GPU.
            labels: the positives: scipy CSR [b, num_labels] (nonzeros count as 1), `(indptr, indices)`, or for one
                label per instance an integer array [b]. A label twice in a row counts once; rows may be empty.
            on_nonfinite: on NaN or Inf in the embeddings "raise" ArgumentError, or "skip" the batch and count it.
            return_grad: False leaves out the gradient, which saves time when nothing in front of the layer trains.

        On a GPU the call returns once the step is queued, on the current stream of the embeddings' library (see
        `stream`): what that library does next with the embeddings or the gradient is in order. Reading the result's
        `loss` or `skipped` waits.

        Raises:
            ArgumentError, DTypeError: the model is as before the call. On a GPU NaN or Inf is found late: by reading
                the result, or by the next call of any kind, which then does nothing else.
            MemoryPlanError: the batch needs more memory than is allowed; the model is as before the call.
            DeviceError: the GPU failed; the state is lost and every later call raises this too.
        """
        require_choice("on_nonfinite", on_nonfinite, ["raise", "skip"])
        features = self._features("embeddings", embeddings)
        indptr, indices = labels_input("labels", labels, features.rows, self.num_labels)
        return self._train_step(features, indptr, indices, skip=on_nonfinite == "skip", return_grad=return_grad)

    def _train_step(
        self, features: Features, indptr: npt.NDArray[Any], indices: npt.NDArray[Any], *, skip: bool, return_grad: bool
    ) -> StepResult:
        step, grad = features.start_step(self._engine, indptr, indices, skip=skip, return_grad=return_grad)
        return StepResult(step, grad)

    def _features(self, name: str, value: Any) -> Features:
        return features_input(name, value, self.in_features, self._place, sparse=self.sparse_input)

    fit = fit

    regroup = regroup
    eval_step = eval_step
    hidden_activations = hidden_activations

    # ---- prediction ----

    def topk(
        self, embeddings: Any, k: int = 5, *, filter: Any = None, label_weights: npt.ArrayLike | None = None
    ) -> Ranking:
        """The k best labels of every row, for any number of rows; waits for them.

        Args:
            embeddings: [n, in_features] as in `train_step`, n >= 0.
            k: number of labels, 1 <= k <= num_labels.
            filter: scipy CSR [n, num_labels] whose nonzeros are never predicted, see `sparsexmc.data.read_filter`. It
                takes time and memory for k plus the largest number of such labels of a row.
            label_weights: [num_labels] w > 0: ranks by logit + ln w (Menon et al., "Long-tail learning via logit
                adjustment", ICLR 2021). Where sigmoid(z) is about exp(z), as it is for rare labels, that ranks by
                w * sigmoid(z), with w = 1 / propensity (or a power of it) as propensity-scored metrics do.

        Returns:
            scores [n, k] float32 logits (+ ln w), falling, and ids [n, k] int64 label ids; ties go to the smaller id.
            A row that the filter leaves with fewer than k labels ends in scores -inf and ids -1.

        Raises:
            ArgumentError, DTypeError: wrong shape, dtype, device or layout, NaN or Inf, or k out of range.
        """
        require_int("k", k, 1)
        if k > self.num_labels:
            raise ArgumentError(f"k={k} is more than num_labels={self.num_labels}; ask for at most that many")
        weights = None if label_weights is None else label_numbers("label_weights", label_weights, self.num_labels)
        features = self._features("embeddings", embeddings)
        if filter is None:
            return self._topk(features, k, weights)
        blanked = blanked_labels("filter", filter, features.rows, self.num_labels)
        return self._filtered_topk(features, k, blanked, weights)

    def _filtered_topk(self, features: Features, k: int, blanked: Blanked, weights: Any = None) -> Ranking:
        return drop(self._topk(features, widest(blanked, k, self.num_labels), weights), blanked, k, self.num_labels)

    def _topk(self, features: Features, k: int, weights: npt.NDArray[np.float32] | None = None) -> Ranking:
        scores = np.empty((features.rows, k), np.float32)
        ids = np.empty((features.rows, k), np.int64)
        if features.rows:
            features.topk(self._engine, scores, ids, weights)
        return scores, ids

    # ---- state ----

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as the engine keeps it (a copy)."""
        return dict(self._config)

    @property
    def in_features(self) -> int:
        """Width of the embeddings, or number of sparse features."""
        return int(self._config["in_features"])

    @property
    def num_labels(self) -> int:
        """Number of labels."""
        return int(self._config["num_labels"])

    @property
    def label_counts(self) -> npt.NDArray[np.int64] | None:
        """[num_labels] training frequency of each label, if it was given together with `num_instances`."""
        return _state.read_label_counts(self._engine)

    @property
    def num_instances(self) -> int | None:
        """Number of training instances, if it was given."""
        return int(self._config["num_instances"]) or None

    @property
    def batch_size(self) -> int:
        """The largest batch that a step may bring."""
        return int(self._config["batch_size"])

    @property
    def sparse_input(self) -> bool:
        """Does the hidden layer read scipy CSR rows?"""
        return bool(self._config["sparse_input"])

    @property
    def device(self) -> str:
        """Where the model lives: "cpu" or "cuda:<index>"."""
        return self._engine.device

    @property
    def stream(self) -> Any:
        """The CUDA stream that was chosen for this classifier, as it was given; settable between steps."""
        return self._stream

    @stream.setter
    def stream(self, stream: Any) -> None:
        if stream is not None and not self._place.is_cuda:
            raise ArgumentError(f"stream={stream!r}, but the classifier is on the CPU, which has none; leave it None")
        handle = None if stream is None else stream_handle(stream)
        self._place = replace(self._place, stream=handle)
        self._stream = stream  # which keeps it alive

    @property
    def lr(self) -> float:
        """Base learning rate, before the schedule's factor; settable between steps."""
        return self._engine.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._engine.lr = float(value)

    @property
    def step(self) -> int:
        """Number of finished training steps; on a GPU this waits for them."""
        return self._engine.step

    @property
    def skipped(self) -> int:
        """Number of batches that were skipped because of NaN or Inf."""
        return self._engine.skipped

    @property
    def rewirings(self) -> list[_core.RewiringRecord]:
        """What each rewiring did: step, segment, changed, score_dropped, score_grown."""
        return self._engine.rewirings

    @property
    def memory(self) -> Memory:
        """Planned and live bytes: `.planned`, `.current`, `.peak`, `.entries`, `.table()`."""
        return Memory(self._engine)

    @property
    def label_names(self) -> list[str] | None:
        """One name per label, if known; `save` stores them."""
        return self._label_names

    @label_names.setter
    def label_names(self, names: Sequence[str] | None) -> None:
        self._label_names = None if names is None else _state.check_label_names(names, self.num_labels)

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of all tensors under their checkpoint names, and `step`."""
        return _state.read_state(self._engine)

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Replace all tensors and `step` by those of `state_dict()` of an equally configured classifier.

        Raises:
            ArgumentError, DTypeError: a name is missing or unknown, or an array has another shape or dtype; all are
                checked before the first is written.
        """
        _state.write_state(self._engine, state)

    def save(self, path: str | PathLike[str], label_names: Sequence[str] | None = None, card: str = "") -> None:
        """Write a checkpoint directory; a kill at any moment leaves the old or the new one whole.

        Args:
            path: the directory; an existing checkpoint there is replaced.
            label_names: [num_labels] names to store; None: `self.label_names`.
            card: text of the model card, README.md; empty: a short default.

        Raises:
            CheckpointError: it cannot be written.
        """
        names = self._label_names if label_names is None else _state.check_label_names(label_names, self.num_labels)
        self._engine.save(fspath(path), names or [], card)

    @classmethod
    def load(cls, path: str | PathLike[str], device: str | None = None, num_threads: int = 0) -> Classifier:
        """Read a checkpoint directory; see `sparsexmc.load`."""
        require_int("num_threads", num_threads, 0)
        _cuda.prepare(device)
        engine = _core.Classifier.load(fspath(path), device or "", num_threads)
        classifier = cls.__new__(cls)
        classifier._set_engine(engine, device)
        classifier._label_names = _state.read_label_names(fspath(path), classifier.num_labels)
        return classifier

    def __repr__(self) -> str:
        c = self._config
        tail = "dense" if c["fan_in"] is None else f"fan_in={c['fan_in']}, group_size={c['group_size']}"
        parts = [f"{self.in_features} -> {self.num_labels:,} labels", tail]
        if c["fan_in"] is not None and c["dense_labels"]:
            parts.append(f"dense_labels={c['dense_labels']:,}")
        if c["hidden"] is not None:
            parts.insert(1, f"hidden={c['hidden']['features']}{' (sparse input)' if self.sparse_input else ''}")
        parts += [c["loss"], f"lr={self.lr:g}", f"step={self.step}", self.device, format_bytes(self.memory.planned)]
        return f"Classifier({', '.join(parts)})"


def load(path: str | PathLike[str], device: str | None = None, num_threads: int = 0) -> Classifier:
    """Read a checkpoint directory that `Classifier.save` wrote; training resumes bitwise.

    Args:
        path: the directory.
        device: None: the device that is stored.
        num_threads: worker threads; 0: the default.

    Raises:
        CheckpointError: missing, truncated, edited or of a foreign format.
        DeviceError: the device cannot be used.
    """
    return Classifier.load(path, device, num_threads)
