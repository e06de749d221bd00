"""Configuration of a classifier: frozen dataclasses that check themselves when they are made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import parse_bytes, require_bool, require_choice, require_int, require_number
from .errors import ArgumentError
from .interop.inputs import label_numbers, number_array
from .label_options import MetaClassifier, Propensity
from .weight_average import WeightAverage, weight_average

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent; momentum 0 allocates no buffer.

    v <- momentum * v + g + weight_decay * w;  w <- w - lr * v. Biases are not decayed.
    """

    lr: float = 0.05
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        require_number("lr", self.lr, 0)
        require_number("momentum", self.momentum, 0, 1, high_open=True)
        require_number("weight_decay", self.weight_decay, 0)

    def engine_settings(self) -> dict[str, Any]:
        """As the engine reads it."""
        return {"kind": "sgd", **asdict(self)}


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam with decoupled weight decay (AdamW). Biases are not decayed."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        require_number("lr", self.lr, 0)
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise ArgumentError(f"betas={self.betas!r} must be two numbers, such as (0.9, 0.999)")
        for i, beta in enumerate(self.betas):
            require_number(f"betas[{i}]", beta, 0, 1, high_open=True)
        require_number("eps", self.eps, 0, low_open=True)
        require_number("weight_decay", self.weight_decay, 0)

    def engine_settings(self) -> dict[str, Any]:
        """As the engine reads it."""
        moments = dict(zip(("beta1", "beta2"), self.betas, strict=True))
        return {"kind": "adam", "lr": self.lr, **moments, "eps": self.eps, "weight_decay": self.weight_decay}


@dataclass(frozen=True, slots=True)
class Hidden:
    """The dense layer between input and output layer: `features` units, ReLU, dropout with probability `dropout`.

    Features are multiplied by `input_scale` first. Adam moves a weight by about its learning rate whatever the scale of
    the features, so rows of unit length learn several times faster with a scale of 3 to 10 when they are sparse
    (TF-IDF), and of about the root of their number, which makes a feature about 1 in size, when they are dense.

    The random weights of the start are multiplied by `initial_scale`. What a network begins with it keeps for long:
    with weights of a tenth it predicts from what it has learned instead, which is better where training is long enough
    to make up for the slow start (some 600 steps).
    """

    features: int
    activation: str = "relu"
    dropout: float = 0.0
    input_scale: float = 1.0
    initial_scale: float = 1.0

    def __post_init__(self) -> None:
        require_int("hidden.features", self.features, 1)
        require_choice("hidden.activation", self.activation, ["relu"])
        require_number("hidden.dropout", self.dropout, 0, 1, high_open=True)
        require_number("hidden.input_scale", self.input_scale, 0, low_open=True)
        require_number("hidden.initial_scale", self.initial_scale, 0, low_open=True)

    def engine_settings(self) -> dict[str, Any]:
        """As the engine reads it."""
        return {name: value for name, value in asdict(self).items() if name != "activation"}


@dataclass(frozen=True, slots=True)
class Rewiring:
    """Dropping the weakest connections and growing new ones during training.

    Every `interval` steps in [`start`, `stop`) the share `fraction` of the connections is replaced. Those go whose mean
    |weight| over the labels of the group, times the root mean square of the feature, is smallest. Those come whose
    gradient, averaged over the last `grow_batches` batches, is largest (`method="rigl"`), or random ones (`"set"`).
    `fraction_schedule="cosine"` lets the share decrease to 0 at `stop`. `scope="layer"` ranks all connections together,
    `"group"` within each group of labels.

    An `interval` or `stop` of None follows from the length of the training, which `fit` knows: a dozen rewirings, or
    one every 1000 steps, until three quarters of the training, so that the connections grown last still train. Before
    the length is known (see `Classifier.total_steps`), an `interval` of None rewires nothing and a `stop` of None
    stands for never, with a constant share: rewiring that never stops costs more precision than connections that stay.
    """

    method: str = "rigl"
    fraction: float = 0.3
    fraction_schedule: str = "cosine"
    interval: int | None = None
    start: int = 0
    stop: int | None = None
    scope: str = "group"
    grow_batches: int = 16

    def __post_init__(self) -> None:
        require_choice("rewiring.method", self.method, ["set", "rigl"])
        require_number("rewiring.fraction", self.fraction, 0, 1, low_open=True, high_open=True)
        require_choice("rewiring.fraction_schedule", self.fraction_schedule, ["constant", "cosine"])
        if self.interval is not None:
            require_int("rewiring.interval", self.interval, 1)
        require_int("rewiring.start", self.start, 0)
        if self.stop is not None:
            require_int("rewiring.stop", self.stop, self.start + 1)
        require_choice("rewiring.scope", self.scope, ["layer", "group"])
        require_int("rewiring.grow_batches", self.grow_batches, 1)

    def engine_settings(self) -> dict[str, Any]:
        """As the engine reads it."""
        return asdict(self) | {"interval": self.interval or 0, "stop": self.stop or 0}

    def for_total_steps(self, steps: int) -> Rewiring:
        """The same with `interval` and `stop` for a training of that many steps."""
        interval, stop = _core.rewiring_for_total_steps(self.interval or 0, self.start, self.stop or 0, steps)
        return replace(self, interval=interval, stop=stop)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Factor on the learning rate: linear warm-up over `warmup_steps`, then by `kind`.

    "constant" stays at 1; "linear" and "cosine" decrease to `final_share` at step `total_steps`. None is the length of
    the training, which `fit` knows; until it is known (see `Classifier.total_steps`) the factor stays at 1.
    """

    kind: str = "constant"
    warmup_steps: int = 0
    total_steps: int | None = None
    final_share: float = 0.0

    def __post_init__(self) -> None:
        require_choice("schedule.kind", self.kind, ["constant", "linear", "cosine"])
        require_int("schedule.warmup_steps", self.warmup_steps, 0)
        if self.kind != "constant" and self.total_steps is not None:
            require_int("schedule.total_steps", self.total_steps, self.warmup_steps + 1)
        require_number("schedule.final_share", self.final_share, 0, 1)

    def engine_settings(self) -> dict[str, Any]:
        """As the engine reads it."""
        return asdict(self) | {"total_steps": self.total_steps or 0}

    def for_total_steps(self, steps: int) -> Schedule:
        """The same with `total_steps` for a training of that many steps."""
        if self.kind == "constant" or self.total_steps is not None:
            return self
        return replace(self, total_steps=_core.schedule_for_total_steps(self.warmup_steps, steps))


@dataclass(frozen=True)
class Votes:
    """Weights of the votes of nearest training instances; `Ensemble` has the formula.

    `count` neighbors vote with cosine^`power`; `weight` is that of all votes beside the classifier's probability.
    `smoothing` is added to the sum of all votes, so that neighbors which are all far away count for less. `space` says
    where instances are near to each other: "features", or "hidden", by the hidden layer of the classifier (see
    `Neighbors.of_hidden_layer`).
    """

    count: int = 50
    power: float = 2.0
    weight: float = 0.2
    smoothing: float = 0.0
    space: str = "features"

    def __post_init__(self) -> None:
        require_int("votes.count", self.count, 1)
        require_choice("votes.space", self.space, ["features", "hidden"])
        for name in ("power", "weight", "smoothing"):
            require_number(f"votes.{name}", getattr(self, name), 0)

    def to_dict(self) -> dict[str, Any]:
        """The arguments."""
        return asdict(self)

    @classmethod
    def from_dict(cls, arguments: Mapping[str, Any]) -> Votes:
        """Votes of what `to_dict` gave, also in an earlier version, in which `smoothing` was called "doubt"."""
        return cls(**{"smoothing" if name == "doubt" else name: value for name, value in arguments.items()})


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """Everything that fixes a classifier; the fields are the arguments of `Classifier`, which explains them.

    The one place where their defaults stand: `Classifier` and the settings of `sparsexmc.train` take them from here.
    """

    in_features: int
    num_labels: int
    fan_in: int | None = 64
    group_size: int = 16
    dense_labels: float | int = 0.05
    num_instances: int | None = None
    hidden: Hidden | int | None = None
    sparse_input: bool = False
    auxiliary: MetaClassifier | None = None
    loss: str = "bce"
    positive_weights: str | Propensity | npt.ArrayLike | None = None
    optimizer: SGD | Adam = SGD()
    schedule: Schedule = Schedule()
    rewiring: Rewiring | str | None = "auto"
    average: WeightAverage | str | None = None
    initial_bias: float | str | npt.ArrayLike = 0.0
    weight_dtype: str = "float32"
    compute_dtype: str = "auto"
    state_dtype: str = "float32"
    device: str = "auto"
    batch_size: int = 256
    labels_per_instance: int = 128
    features_per_instance: int = 512
    topk: int = 100
    memory_limit: int | str | None = None
    num_threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("in_features", "num_labels", "group_size", "batch_size", "labels_per_instance",
                     "features_per_instance", "topk"):  # fmt: skip
            require_int(name, getattr(self, name), 1)
        if self.fan_in is not None:
            require_int("fan_in", self.fan_in, 1)
        require_choice("loss", self.loss, _core.loss_names())
        if not isinstance(self.hidden, Hidden | int | np.integer | None):
            raise ArgumentError(f"hidden={self.hidden!r} must be a number of units, sx.Hidden(...) or None")
        for name, kinds in (("optimizer", (SGD, Adam)), ("schedule", (Schedule,)),
                            ("rewiring", (Rewiring, type(None))),
                            ("auxiliary", (MetaClassifier, type(None)))):  # fmt: skip
            value = getattr(self, name)
            if name == "rewiring" and isinstance(value, str) and value == AUTO:
                continue
            if not isinstance(value, kinds):
                raise ArgumentError(
                    f"{name}={getattr(self, name)!r} must be one of "
                    f"{', '.join('None' if k is type(None) else f'sx.{k.__name__}(...)' for k in kinds)}"
                )
        weight_average(self.average)
        require_choice("weight_dtype", self.weight_dtype, ["float32", "bfloat16"])
        require_choice("compute_dtype", self.compute_dtype, ["auto", "float32", "bfloat16"])
        if not isinstance(self.state_dtype, str) or self.state_dtype != "float32":
            raise ArgumentError(f'state_dtype={self.state_dtype!r} is not available yet; use "float32"')
        if not isinstance(self.device, str):
            raise ArgumentError(f'device={self.device!r} must be text: "auto", "cpu", "cuda" or "cuda:<index>"')
        require_bool("sparse_input", self.sparse_input)
        self._check_label_numbers()
        if self.num_threads is not None:
            require_int("num_threads", self.num_threads, 0)
        require_int("seed", self.seed, 0)
        if self.sparse_input and self.hidden is None:
            raise ArgumentError("sparse_input=True needs a hidden layer to read the sparse rows; give hidden=512 or so")
        if not isinstance(self.dense_labels, (int, np.integer)):
            require_number("dense_labels", self.dense_labels, 0, 1)
            return
        require_int("dense_labels", self.dense_labels, 0)
        if self.dense_labels > self.num_labels:
            raise ArgumentError(f"dense_labels={self.dense_labels} is more than num_labels={self.num_labels}")

    def _check_label_numbers(self) -> None:
        if self.num_instances is not None:
            require_int("num_instances", self.num_instances, 1)
        if isinstance(self.initial_bias, str):
            require_choice("initial_bias", self.initial_bias, ["frequency"])
        elif number_array("initial_bias", self.initial_bias).ndim == 0:
            require_number("initial_bias", self.initial_bias, -math.inf)
        if isinstance(self.positive_weights, str):
            require_choice("positive_weights", self.positive_weights, ["propensity"])
        parse_bytes("memory_limit", self.memory_limit)
        self.label_arrays()

    def label_arrays(self) -> tuple[npt.NDArray[Any] | None, ...]:
        """The arrays [num_labels] among the fields: initial_bias and positive_weights (float32), clusters (int64)."""
        bias, weights = self.initial_bias, self.positive_weights
        constant = isinstance(bias, str) or np.ndim(bias) == 0
        given = None
        if not (weights is None or isinstance(weights, str | Propensity)):
            given = label_numbers("positive_weights", weights, self.num_labels)
        return (
            None if constant else label_numbers("initial_bias", bias, self.num_labels),
            given,
            None if self.auxiliary is None else self.auxiliary.cluster_array(self.num_labels),
        )

    def for_total_steps(self, steps: int) -> Self:
        """The same configuration for a training of that many steps: what was left to follow from them is filled in."""
        rewiring, auxiliary = self._rewiring(), self.auxiliary
        return replace(
            self,
            schedule=self.schedule.for_total_steps(steps),
            rewiring=None if rewiring is None else rewiring.for_total_steps(steps),
            auxiliary=None if auxiliary is None else auxiliary.for_total_steps(steps),
        )

    def _rewiring(self) -> Rewiring | None:
        """ "auto" rewires where it pays: a hidden layer learns what any connections carry."""
        if isinstance(self.rewiring, str):
            return None if self.hidden is not None else Rewiring()
        return self.rewiring

    def to_json(self) -> str:
        """The configuration as the engine reads it. Without a tail (fan_in=None) there is nothing to rewire."""
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "state_dtype"}
        share = self.dense_labels
        dense_labels = share if isinstance(share, (int, np.integer)) else round(float(share) * self.num_labels)
        hidden = self.hidden if isinstance(self.hidden, Hidden | None) else Hidden(self.hidden)
        weights = self.positive_weights
        bias, positive_weights, _ = self.label_arrays()
        propensity = weights if isinstance(weights, Propensity) else Propensity()
        rewiring = self._rewiring()
        average = weight_average(self.average)
        has_tail = self.fan_in is not None and dense_labels < self.num_labels
        settings |= {
            "compute_dtype": None if self.compute_dtype == "auto" else self.compute_dtype,
            "dense_labels": dense_labels if self.fan_in is not None else 0,
            "hidden": None if hidden is None else hidden.engine_settings(),
            "num_instances": self.num_instances or 0,
            "auxiliary": self.auxiliary and self.auxiliary.engine_settings(self.num_instances, self.batch_size),
            "initial_bias": self.initial_bias if bias is None else "array",
            "positive_weights": "array" if positive_weights is not None else "propensity" if weights else "none",
            "propensity": {"a": propensity.A, "b": propensity.B},
            "optimizer": self.optimizer.engine_settings(),
            "schedule": self.schedule.engine_settings(),
            "rewiring": rewiring.engine_settings() if rewiring is not None and has_tail else None,
            "average": None if average is None else average.engine_settings(),
            "num_threads": self.num_threads or 0,
            "memory_limit": parse_bytes("memory_limit", self.memory_limit),
        }
        return json.dumps(settings, default=np.generic.item)
