"""The engine's part of every classifier: training steps, prediction, state and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike, fspath
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .. import _core
from .._checks import ranked_labels, require_choice, require_int
from .._files import check_output
from .._html import table
from ..errors import ArgumentError
from ..interop import cuda
from ..interop.dlpack import Place
from ..interop.inputs import (
    DenseFeatures,
    Features,
    InstanceWeights,
    Positives,
    SparseFeatures,
    features_input,
    instance_numbers,
    label_numbers,
    labels_input,
)
from ..interop.streams import stream_handle
from ..memory import Memory, format_bytes
from . import forking
from .directory import ModelReader, ModelWriter
from .filter import Blanked, Ranking, blanked_labels, drop, widest
from .packing import from_bytes, to_bytes
from .state import check_label_names, read_label_counts, read_state, tensors_of, write_state
from .step import StepResult


class CoreClassifier:
    """A classifier's engine with its Python interface; `sparsexmc.Classifier` adds the constructor and training."""

    engine: _core.Classifier  # the compiled classifier, for the modules of this package

    def _set_engine(self, engine: _core.Classifier, device: str | None) -> None:
        self.engine = engine
        forking.register(engine)
        self._read_config()
        self._label_names: list[str] | None = None
        self._stream: Any = None
        self._place = Place(engine.device, engine.own_stream)
        if device == "auto" and not self._place.is_cuda:
            cuda.report_fallback()

    def _read_config(self) -> None:
        self._config: dict[str, Any] = json.loads(self.engine.config_json())

    # ---- training ----

    def train_step(
        self,
        embeddings: Any,
        labels: Any,
        instance_weights: npt.ArrayLike | None = None,
        *,
        on_nonfinite: str = "raise",
        return_grad: bool = True,
    ) -> StepResult:
        """One fused training step on a batch: forward, loss, gradients, update, and rewiring when due.

        Args:
            embeddings: [b, in_features], 1 <= b <= batch_size: any object with `__dlpack__` on the classifier's device,
                C-contiguous, float32, float16 or bfloat16; with `sparse_input` a scipy CSR matrix of float32. Never
                written to. NumPy arrays are copied to a GPU.
            labels: the positives: scipy CSR [b, num_labels] (nonzeros count as 1), `(indptr, indices)`, or for one
                label per instance an integer array [b]. A label twice in a row counts once; rows may be empty.
            instance_weights: [b] finite factors s >= 0 on the losses of the instances, the meta-classifier's included,
                in host memory; None: all 1. The loss is sum_i s_i (sum over the labels) / b: divided by the size of the
                batch, not by the sum of the weights, so that an instance counts the same in every batch.
            on_nonfinite: on NaN or Inf in the embeddings "raise" ArgumentError, or "skip" the batch and count it.
            return_grad: False leaves out the gradient, which saves time when nothing in front of the layer trains.

        On a GPU the call returns once the step is queued, on the current stream of the embeddings' library (see
        `stream`): what that library does next with the embeddings or the gradient is in order. Reading the result's
        `loss` or `skipped` waits.

        Raises:
            ArgumentError, DTypeError: the model is as before the call. On a GPU NaN or Inf is found late: by reading
                the result, or by the next call of any kind, which then does nothing else.
            DivergenceError: the loss of a batch without NaN or Inf is NaN or Inf: weights or sums have overflowed, and
                the model is lost, also with on_nonfinite="skip". On a GPU it is found as late.
            MemoryPlanError: the batch needs more memory than is allowed; the model is as before the call.
            DeviceError: the GPU failed; the state is lost and every later call raises this too.
        """
        require_choice("on_nonfinite", on_nonfinite, ["raise", "skip"])
        features = self._features("embeddings", embeddings)
        positives = labels_input("labels", labels, features.rows, self.num_labels)
        weights = self._instance_weights(instance_weights, features.rows)
        return self._run_step(features, positives, weights, skip=on_nonfinite == "skip", return_grad=return_grad)

    def _run_step(
        self,
        embeddings: Any,
        positives: Positives,
        instance_weights: InstanceWeights | None = None,
        *,
        update: bool = True,
        skip: bool,
        return_grad: bool,
        exact_grad: bool = False,
        dropout: bool = False,
    ) -> StepResult:
        """The one way to a step, for this class, `fit` and the adapters of frameworks.

        Args:
            embeddings: as in `train_step`, or what `_features` made of them.
            positives: their labels, checked.
            instance_weights: checked.
            update: False: see `eval_step`, with `dropout`.
            skip: batches with NaN or Inf.
            exact_grad: see `gradient_like`.
        """
        known = isinstance(embeddings, DenseFeatures | SparseFeatures)
        features = embeddings if known else self._features("embeddings", embeddings)
        options = {"skip": skip, "return_grad": return_grad, "exact_grad": exact_grad}
        if update:
            return StepResult(*features.start_step(self.engine, positives, instance_weights, **options))
        if isinstance(features, SparseFeatures):
            raise ArgumentError("eval_step has no loss for sparse features; measure predictions of topk instead")
        return StepResult(*features.eval_step(self.engine, positives, instance_weights, dropout=dropout, **options))

    @staticmethod
    def _instance_weights(value: npt.ArrayLike | None, rows: int) -> InstanceWeights | None:
        return None if value is None else instance_numbers("instance_weights", value, rows)

    def _features(self, name: str, value: Any) -> Features:
        return features_input(name, value, self.in_features, self._place, sparse=self.sparse_input)

    def eval_step(
        self,
        embeddings: Any,
        labels: Any,
        instance_weights: npt.ArrayLike | None = None,
        *,
        on_nonfinite: str = "raise",
        return_grad: bool = True,
        dropout: bool = False,
    ) -> StepResult:
        """Loss and gradient as `train_step` would give them, without the meta-classifier; nothing is updated. Waits.

        Args:
            embeddings, labels, instance_weights, on_nonfinite, return_grad: as in `train_step`; no sparse features.
                Nothing is counted as skipped.
            dropout: also drop units of the hidden layer, the same as the next step would.

        Raises:
            ArgumentError, DTypeError: as `train_step`.
            DivergenceError: as `train_step`; the model is as before.
        """
        require_choice("on_nonfinite", on_nonfinite, ["raise", "skip"])
        features = self._features("embeddings", embeddings)
        positives = labels_input("labels", labels, features.rows, self.num_labels)
        options = {"skip": on_nonfinite == "skip", "return_grad": return_grad, "dropout": dropout}
        weights = self._instance_weights(instance_weights, features.rows)
        return self._run_step(features, positives, weights, update=False, **options)

    def hidden_activations(self, embeddings: Any) -> npt.NDArray[np.float32]:
        """Activations of the hidden layer in prediction, for any number of rows; waits for them.

        Args:
            embeddings: [n, in_features] as in `train_step`, n >= 0.

        Returns:
            [n, hidden units] float32 in host memory, at least 0.

        Raises:
            ArgumentError, DTypeError: as `topk`, or there is no hidden layer.
        """
        hidden = self.config["hidden"]
        if hidden is None:
            raise ArgumentError("the classifier has no hidden layer; make it with hidden=sx.Hidden(...)")
        features = self._features("embeddings", embeddings)
        out = np.empty((features.rows, hidden["features"]), np.float32)
        if features.rows:
            features.hidden_activations(self.engine, out)
        return out

    # ---- prediction ----

    def topk(
        self, embeddings: Any, k: int | None = None, *, filter: Any = None, label_weights: npt.ArrayLike | None = None
    ) -> Ranking:
        """The k best labels of every row, for any number of rows; waits for them.

        Args:
            embeddings: [n, in_features] as in `train_step`, n >= 0.
            k: number of labels, 1 <= k <= num_labels; None: 5, or all if there are fewer.
            filter: scipy CSR [n, num_labels] whose nonzeros are never predicted, see `sparsexmc.data.read_filter`. It
                takes time and memory for k plus the largest number of such labels of a row.
            label_weights: [num_labels] w > 0: ranks by logit + ln w (Menon et al., "Long-tail learning via logit
                adjustment", ICLR 2021). Where sigmoid(z) is about exp(z), as it is for rare labels, that ranks by
                w * sigmoid(z), with w = 1 / propensity (or a power of it) as propensity-scored metrics do.

        Returns:
            scores [n, k] float32 logits (+ ln w), descending, and ids [n, k] int64 label ids; ties go to the smaller
            id.
            A row that the filter leaves with fewer than k labels ends in scores -inf and ids -1.

        Raises:
            ArgumentError, DTypeError: wrong shape, dtype, device or layout, NaN or Inf in the rows, NaN in the filter,
                scores that are not finite as weights are not, or k out of range.
        """
        k = ranked_labels(k, self.num_labels)
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
            features.topk(self.engine, scores, ids, weights)
        return scores, ids

    # ---- state ----

    def _tensors(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """(dtype, shape) of every tensor of `state_dict` by name; `step` is none."""
        return tensors_of(self.engine)

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
        return read_label_counts(self.engine)

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
        """Whether the hidden layer reads scipy CSR rows."""
        return bool(self._config["sparse_input"])

    @property
    def device(self) -> str:
        """The model's device: "cpu" or "cuda:<index>"."""
        return self.engine.device

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
    def trainable(self) -> bool:
        """False if it was loaded for prediction only: see `sparsexmc.load`."""
        return self.engine.trainable

    @property
    def lr(self) -> float:
        """Base learning rate, before the schedule's factor; settable between steps."""
        return self.engine.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self.engine.lr = float(value)

    @property
    def momentum(self) -> float:
        """Momentum of `SGD`, beta1 of `Adam`; settable between steps. Checkpoints keep the one of the configuration.

        `SGD` without momentum keeps no state for it and cannot be given one.
        """
        return self.engine.momentum

    @momentum.setter
    def momentum(self, value: float) -> None:
        self.engine.momentum = float(value)

    @property
    def total_steps(self) -> int | None:
        """Length of the training in steps, from its first on; None: not known.

        What a `Schedule` or `Rewiring` leaves open follows from it. `fit` sets it; a loop of `train_step` sets it
        before its first step. Checkpoints keep it.
        """
        return self.engine.total_steps or None

    @total_steps.setter
    def total_steps(self, steps: int | None) -> None:
        if steps is not None:
            require_int("total_steps", steps, 1)
        self.engine.total_steps = steps or 0

    @property
    def step(self) -> int:
        """Number of finished training steps; on a GPU this waits for them."""
        return self.engine.step

    @property
    def skipped(self) -> int:
        """Number of batches that were skipped because of NaN or Inf."""
        return self.engine.skipped

    @property
    def averaged(self) -> int:
        """Number of updates of the running average (`average`) so far; 0 without one."""
        return self.engine.averaged

    @property
    def average_in_use(self) -> bool:
        """Whether averaged weights predict: see `use_average`."""
        return self.engine.average_in_use

    @property
    def rewirings(self) -> list[_core.RewiringRecord]:
        """Records of the rewirings so far: step, segment, changed, score_dropped, score_grown."""
        return self.engine.rewirings

    @property
    def memory(self) -> Memory:
        """Planned and live bytes: `.planned`, `.current`, `.peak`, `.entries`, `.table()`."""
        return Memory(self.engine)

    @property
    def label_names(self) -> list[str] | None:
        """One name per label, if known; `save` stores them."""
        return self._label_names

    @label_names.setter
    def label_names(self, names: Sequence[str] | None) -> None:
        self._label_names = None if names is None else check_label_names(names, self.num_labels)

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of all tensors under their checkpoint names, and `step` and `total_steps` (0: not known).

        Shortly before a rewiring of RigL that includes the batches it will average over, as `optimizer.kept.<i>.inputs`
        and `.positives`. With a running average also `averaged`, the number of its updates. A learning rate set by
        hand, the number of skipped batches and the records of rewirings are only in what `save` writes.
        """
        return read_state(self.engine)

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Replace all tensors, `step` and `total_steps` by those of `state_dict()` of an equally configured classifier.

        Training then goes on with the same bits, at the classifier's own learning rate. A state of an earlier version
        has no `total_steps`; the classifier's own stay then.

        Raises:
            ArgumentError, DTypeError: a name is missing or unknown, an array has another shape or dtype, or weights are
                NaN or Inf; all are checked before the first is written.
        """
        write_state(self.engine, state)

    def save(self, path: str | PathLike[str], label_names: Sequence[str] | None = None, card: str = "") -> None:
        """Write a model directory; a kill at any moment leaves the old or the new one whole.

        Args:
            path: the directory; an existing model there is replaced, its other parts included. One that holds a file
                which its config.json does not list, and which is not hidden, is refused.
            label_names: [num_labels] names to store; None: `self.label_names`.
            card: text of the model card, README.md; empty: a short default.

        Raises:
            ArgumentError: `path` is no place for a directory, or lies in a model directory.
            CheckpointError: something else is at `path`, it cannot be written, or weights are NaN or Inf; what is
                there stays whole.
        """
        check_output("path", path, directory=True)
        names = self._label_names if label_names is None else check_label_names(label_names, self.num_labels)
        self.engine.save(fspath(path), names or [], card)

    @classmethod
    def load(
        cls, path: str | PathLike[str], device: str | None = None, num_threads: int = 0, *, trainable: bool = True
    ) -> Self:
        """Read a checkpoint directory, of a model the network alone; see `sparsexmc.load`."""
        require_int("num_threads", num_threads, 0)
        with ModelReader(path) as reader:
            return cls._read(reader, device, num_threads, trainable=trainable)

    @classmethod
    def _read(cls, reader: ModelReader, device: str | None, num_threads: int, *, trainable: bool = True) -> Self:
        """The classifier of an open model directory."""
        cuda.prepare(device)
        classifier = cls.__new__(cls)
        classifier._set_engine(reader.engine(device, num_threads, trainable=trainable), device)
        classifier._label_names = reader.label_names()
        return classifier

    def __getstate__(self) -> dict[str, Any]:
        """The files of the checkpoint as bytes: copies and pickles hold what `save` writes, or of a classifier that is
        for prediction only what it has.
        """
        return {"files": to_bytes(self._pack), "trainable": self.trainable}

    def _pack(self, path: str) -> None:
        with ModelWriter(path) as writer:
            writer.add_classifier(self.engine, self._label_names, for_prediction=not self.trainable)
            writer.publish()

    def __setstate__(self, state: dict[str, Any]) -> None:
        load = partial(type(self).load, trainable=state.get("trainable", True))
        self.__dict__.update(from_bytes(state["files"], load).__dict__)

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

    def _repr_html_(self) -> str:
        c = self._config
        hidden = "none" if c["hidden"] is None else f"{c['hidden']['features']:,} units"
        tail = "all" if c["fan_in"] is None else f"{c['fan_in']:,} features, in groups of {c['group_size']:,}"
        rows = [
            ("features", f"{self.in_features:,}{', sparse' if self.sparse_input else ''}"),
            ("hidden layer", hidden),
            ("labels", f"{self.num_labels:,}, of which {c['dense_labels']:,} read all features"),
            ("other labels read", tail),
            ("loss", c["loss"]),
            ("learning rate", f"{self.lr:g}"),
            ("steps done", f"{self.step:,}"),
            ("device", self.device),
            ("memory", format_bytes(self.memory.planned)),
        ]
        return table("Classifier", rows)
