"""Arguments of the engine's classifier: what the estimator's parameters say, and the command line's defaults else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state

from .._checks import require_int, require_number
from ..cli import config as cfg
from ..cli import defaults
from ..config import SGD, Adam, Hidden, Rewiring
from ..errors import ArgumentError

AUTO = "auto"
# The command line's epochs are for thousands of instances: a hundred would be given too few steps to learn anything.
LEAST_STEPS = 1000
# Without a hidden layer a logit is linear in the features, and takes a higher rate of Adam.
LINEAR_RATE = 0.03
STREAM_BATCH = 256


def for_fit(parameters: dict[str, Any], X: Any, Y: sp.csr_matrix) -> tuple[dict[str, Any], int]:
    """(arguments of `Classifier`, epochs) to train on all of X [n, in_features] and Y [n, L]."""
    config = defaults.for_data(X, Y)
    if not _is_auto(parameters["batch_size"]):
        require_int("batch_size", parameters["batch_size"], 1)
        config["model"]["batch_size"] = parameters["batch_size"]
    model = _with_reserve(config["model"], X, Y)
    if _rewires(parameters):
        model["rewiring"] = {}
    epochs, steps_per_epoch = parameters["epochs"], math.ceil(Y.shape[0] / model["batch_size"])
    if _is_auto(epochs):
        epochs = max(config["training"]["epochs"], math.ceil(LEAST_STEPS / steps_per_epoch))
    require_int("epochs", epochs, 1)
    steps = epochs * steps_per_epoch
    return _arguments(parameters, cfg.model_arguments({"model": defaults.for_steps(model, steps)}), Y), epochs


def for_stream(parameters: dict[str, Any], X: Any, Y: sp.csr_matrix) -> dict[str, Any]:
    """Arguments of `Classifier` for data of which X and Y are only the beginning: nothing in them ends."""
    model = defaults.for_data(X, Y)["model"] | {"schedule": {}, "num_instances": None}
    model["batch_size"] = STREAM_BATCH if _is_auto(parameters["batch_size"]) else parameters["batch_size"]
    require_int("batch_size", model["batch_size"], 1)
    arguments = _arguments(parameters, cfg.model_arguments({"model": _with_reserve(model, X, Y)}), Y)
    if _rewires(parameters):
        arguments["rewiring"] = Rewiring()
    return arguments


def _with_reserve(model: dict[str, Any], X: Any, Y: sp.csr_matrix) -> dict[str, Any]:
    model["labels_per_instance"] = defaults.largest_batch_mean(Y, model["batch_size"])
    if sp.issparse(X):
        model["features_per_instance"] = defaults.largest_batch_mean(X, model["batch_size"])
    return model


def _rewires(parameters: dict[str, Any]) -> bool:
    """Without a hidden layer, which learns what any connections carry, better connections pay."""
    return bool(parameters["hidden"] is None and _is_auto(parameters["rewiring"]))


def _arguments(parameters: dict[str, Any], arguments: dict[str, Any], Y: sp.csr_matrix) -> dict[str, Any]:
    """`arguments` of the defaults with those that the user chose on top."""
    for name in ("fan_in", "dense_labels", "optimizer", "rewiring"):
        if not _is_auto(parameters[name]):
            arguments[name] = parameters[name]
    for name in ("group_size", "loss", "device", "memory_limit", "num_threads"):
        arguments[name] = parameters[name]
    arguments["hidden"] = _hidden(parameters["hidden"], arguments["hidden"])
    if arguments["hidden"] is None:
        if _is_auto(parameters["fan_in"]) and arguments["fan_in"] is not None:
            arguments["fan_in"] = min(arguments["fan_in"], arguments["in_features"])
        if _is_auto(parameters["optimizer"]):
            arguments["optimizer"] = _with_rate(arguments["optimizer"], LINEAR_RATE)
    elif _is_auto(parameters["optimizer"]) and isinstance(arguments["hidden"], Hidden):
        # Fewer units share what there is to learn: each has further to go in as many steps.
        share = min(max(arguments["hidden"].features, 1) / defaults.HIDDEN, 1.0)
        arguments["optimizer"] = _with_rate(arguments["optimizer"], arguments["optimizer"].lr / math.sqrt(share))
    if parameters["learning_rate"] is not None:
        arguments["optimizer"] = _with_rate(arguments["optimizer"], parameters["learning_rate"])
    arguments["seed"] = _seed(parameters["random_state"])
    arguments["label_counts"] = np.bincount(Y.indices, minlength=Y.shape[1])
    return arguments | (parameters["options"] or {})


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO


def _hidden(wanted: Any, default: Hidden) -> Any:
    if _is_auto(wanted):
        return default
    if isinstance(wanted, int | np.integer):
        return replace(default, features=int(wanted))
    return wanted


def _with_rate(optimizer: Any, rate: float) -> Any:
    require_number("learning_rate", rate, 0)
    if isinstance(optimizer, Adam):
        return Adam(rate, optimizer.betas, optimizer.eps, optimizer.weight_decay)
    if isinstance(optimizer, SGD):
        return SGD(rate, optimizer.momentum, optimizer.weight_decay)
    raise ArgumentError(f'optimizer={optimizer!r} must be "auto", sx.SGD(...) or sx.Adam(...)')


def _seed(random_state: Any) -> int:
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
