"""Shared parts of the engine's tests: building an engine and its oracle from a case, driving both, comparing."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

import reference as ref
import sparsexmc as sx
from cases import AUXILIARY, Case, LabelRows, Tolerance

Arrays = dict[str, npt.NDArray]
ROUNDOFF = 2.0**-24  # of fp32, as a share of the value
# The oracle knows fp32 only, so that is what a GPU computes in unless a test says otherwise.
DEVICE = os.environ.get("SPARSEXMC_TEST_DEVICE", "cpu")
ON_DEVICE = {"device": DEVICE, "compute_dtype": "auto" if DEVICE == "cpu" else "float32"}


def build(case: Case, **overrides: Any) -> sx.Classifier:
    """The classifier of a case; `overrides` are arguments of `sx.Classifier`."""
    return sx.Classifier(**(arguments(case) | overrides))


def arguments(case: Case) -> dict[str, Any]:
    """The arguments of `sx.Classifier` that describe a case; no rewiring."""
    hidden = None if case.hidden is None else sx.Hidden(case.hidden, dropout=case.dropout)
    return {
        "in_features": case.in_features,
        "num_labels": case.num_labels,
        "fan_in": case.fan_in,
        "group_size": case.group_size,
        "dense_labels": case.dense_labels,
        "label_order": case.label_order(),
        "positive_weights": case.positive_weights(),
        "auxiliary": None if case.clusters is None else meta_classifier(case),
        "hidden": hidden,
        "sparse_input": case.nonzeros is not None,
        "loss": sx.Softmax(**dataclasses.asdict(case.loss)) if isinstance(case.loss, ref.Softmax) else case.loss,
        "optimizer": optimizer(case.optimizer),
        "rewiring": None,
        "batch_size": case.batch,
        "num_threads": 2,
        "seed": 11,
        **ON_DEVICE,
    }


def plan_of(case: Case, **overrides: Any) -> sx.MemoryPlan:
    return sx.plan(**{key: value for key, value in (arguments(case) | overrides).items() if key != "label_order"})


def meta_classifier(case: Case) -> sx.MetaClassifier:
    weight, steps = AUXILIARY
    return sx.MetaClassifier(case.label_clusters(), weight=weight, steps=steps)


def optimizer(settings: ref.Sgd | ref.Adam) -> sx.SGD | sx.Adam:
    if isinstance(settings, ref.Sgd):
        return sx.SGD(settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    return sx.Adam(settings.lr, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay)


def oracle(case: Case, classifier: sx.Classifier, **overrides: Any) -> ref.Reference:
    """The oracle at the present state of the classifier; `overrides` are fields of `Reference`."""
    settings = {
        "in_features": case.layer_features,
        "group_size": case.group_size,
        "loss": case.loss,
        "optimizer": case.optimizer,
        "dropout": case.dropout,
        "seed": 11,
        "auxiliary": (0.0, 1) if case.clusters is None else AUXILIARY,
    }
    return ref.Reference(tensors(classifier), **(settings | overrides))


def tensors(classifier: sx.Classifier) -> Arrays:
    """The tensors of `state_dict`, copied, without the counts of steps."""
    state = classifier.state_dict()
    return {name: np.array(value) for name, value in state.items() if name not in ("step", "total_steps")}


def csr(labels: LabelRows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(indptr, indices) of label rows, repeated ids and order kept."""
    indptr = np.cumsum([0, *(len(row) for row in labels)], dtype=np.int64)
    return indptr, np.array([label for row in labels for label in row], dtype=np.int64)


def step(
    classifier: sx.Classifier, x: Any, labels: LabelRows, instance_weights: npt.ArrayLike | None = None
) -> tuple[float, npt.NDArray | None]:
    """Loss and gradient of one engine step; sparse features get no gradient."""
    out = classifier.train_step(x, csr(labels), instance_weights)
    return out.loss, None if out.grad is None else np.array(np.from_dlpack(out.grad))


def train(classifier: sx.Classifier, batches: Iterable[Any]) -> list[bytes]:
    """Runs the batches, with weights of instances or without; losses and gradients as bytes, to compare bit by bit."""
    seen = []
    for batch in batches:
        loss, grad = step(classifier, *batch)
        seen.append(np.float64(loss).tobytes() + (b"" if grad is None else grad.tobytes()))
    return seen


def assert_close(
    what: str, actual: npt.ArrayLike, expected: npt.NDArray, tolerance: Tolerance, start: npt.ArrayLike | None = None
) -> None:
    """No element of `actual` is further from `expected` than the tolerance allows.

    With `start`, what is compared is the change since then; rounding of the stored fp32 values comes on top.
    """
    actual = np.asarray(actual, dtype=np.float64)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    change = expected if start is None else expected - np.asarray(start, dtype=np.float64)
    allowed = tolerance.relative * np.abs(change).max(initial=0.0) + 4 * ROUNDOFF * np.abs(expected).max(initial=0.0)
    error = np.abs(actual - expected)
    assert not error.size or error.max() <= allowed, (
        f"{what}: error {error.max():.3g} at {np.unravel_index(error.argmax(), error.shape)}, "
        f"allowed {allowed:.3g} ({tolerance.reason})"
    )


def assert_close_on_average(
    what: str, actual: npt.NDArray, expected: npt.NDArray, tolerance: Tolerance, start: npt.ArrayLike = 0.0
) -> None:
    """The root mean square of the error is within the tolerance, as a share of that of the change since `start`."""
    actual, expected = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    error, change = np.linalg.norm(actual - expected), np.linalg.norm(expected - start)
    assert error <= tolerance.relative * change, f"{what}: error {error:.3g} of {change:.3g} ({tolerance.reason})"


def assert_same_bits(actual: Arrays, expected: Arrays) -> None:
    """Same names, dtypes, shapes and bytes."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (value.dtype, value.shape), name
        assert actual[name].tobytes() == value.tobytes(), f"{name} differs"


def assert_follows(case: Case, classifier: sx.Classifier, model: ref.Reference, batches: Iterable) -> None:
    """Engine and oracle take the same steps: loss, gradient and, at the end, every tensor agree."""
    start = tensors(classifier)
    for number, batch in enumerate(batches):
        expected_loss, expected_grad = model.train_step(*batch)
        loss, grad = step(classifier, *batch)
        assert loss == np.float64(loss) and abs(loss - expected_loss) <= case.tolerance.relative * abs(expected_loss)
        if case.nonzeros is None:
            assert_close(f"gradient of step {number}", grad, expected_grad, case.tolerance)
        else:
            assert grad is None
    end = tensors(classifier)
    assert end.keys() == model.state.keys()
    for name, expected in model.state.items():
        if np.issubdtype(expected.dtype, np.floating):
            assert_close(name, end[name], expected, case.tolerance, start[name])
        else:
            np.testing.assert_array_equal(end[name], expected, err_msg=name)


def assert_follows_in_bfloat16(case: Case, rounded: sx.Classifier, exact: sx.Classifier, batches: Iterable) -> None:
    """Loss, gradient and every trained tensor are as near to those of `exact` as products of bfloat16 can be."""
    start, tolerance = tensors(exact), case.bfloat16_tolerance
    for number, batch in enumerate(batches):
        expected_loss, expected = step(exact, *batch)
        loss, grad = step(rounded, *batch)
        assert abs(loss - expected_loss) <= tolerance.relative * abs(expected_loss)
        assert (grad is None) == (expected is None)
        if grad is not None and expected is not None:
            assert_close_on_average(f"gradient of step {number}", grad, expected, tolerance)
    end = tensors(rounded)
    for name, value in tensors(exact).items():
        if value.dtype == np.float32:
            assert_close_on_average(name, end[name], value, tolerance, start[name])
        else:
            np.testing.assert_array_equal(end[name], value, err_msg=name)
