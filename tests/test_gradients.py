"""Gradients of the engine against finite differences: of the oracle's loss, and of the engine's own."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp

import reference as ref
from cases import BY_NAME, Case
from harness import build, oracle, step, tensors

NAMES = [
    "dense_odd",
    "dense_hinge",
    "g1_single_instance",
    "g1_single_feature",
    "g3_padding",
    "g16_all_features",
    "g17_odd",
    "g32_large",
    "g64_mostly_padding",
    "two_segments_small",
    "two_segments_hinge",
    "hidden_small",
    "hidden_hinge",
    "sparse_small",
    "weighted_dense",
    "weighted_g1",
    "weighted_g17",
    "auxiliary_hinge",
    "auxiliary_hidden",
]
each_case = pytest.mark.parametrize(
    "case",
    # With plain SGD and a learning rate of 1 a step moves the weights by the gradient itself. Few labels: differences
    # of a loss that sums over many would drown in its rounding.
    [
        dataclasses.replace(
            case, optimizer=ref.Sgd(lr=1.0), batch=min(case.batch, 33), num_labels=min(case.num_labels, 100)
        )
        for case in (BY_NAME[name] for name in NAMES)
    ],
    ids=NAMES,
)
PLACES = 12  # elements tried per tensor


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "instance_weights"])
@each_case
def test_gradients_match_finite_differences_of_the_oracle(case: Case, weighted: bool) -> None:
    """Uses only the oracle's loss, so a wrong derivative there cannot hide the same mistake here."""
    classifier, x, labels = build(case), case.features(), case.labels()
    weights = case.instance_weights() if weighted else None
    model, before = oracle(case, classifier), tensors(classifier)
    _, grad = step(classifier, x, labels, weights)
    after = tensors(classifier)
    gradients = {
        name: before[name].astype(np.float64) - after[name]
        for name in before
        if name.endswith((".weights", ".weight", ".bias"))
    }
    inputs = np.array(x.toarray() if sp.issparse(x) else x, dtype=np.float64)
    if grad is not None:
        gradients["x"] = grad.astype(np.float64)
    for name, gradient in gradients.items():
        target = inputs if name == "x" else model.state[name]
        scale = np.abs(gradient).max()
        flat = case.rng(name).choice(target.size, min(PLACES, target.size), replace=False)
        for place in zip(*np.unravel_index(flat, target.shape), strict=True):
            expected = central_difference(model, (inputs, labels, weights), target, place)
            assert gradient[place] == pytest.approx(expected, abs=2e-5 * scale + 1e-6), (name, place)


def central_difference(model: ref.Reference, batch: tuple[Any, ...], target: npt.NDArray, place: Any) -> float:
    value, losses = target[place], []
    for h in (1e-6, -1e-6):
        target[place] = value + h
        losses.append(model.gradients(*batch)[0])
    target[place] = value
    return (losses[0] - losses[1]) / 2e-6


@pytest.mark.parametrize("name", ["dense_hinge", "g16_large", "g17_odd", "two_segments_large", "hidden_hinge"])
def test_gradient_of_embeddings_matches_differences_of_the_engine(name: str) -> None:
    """No oracle at all: the engine's exact loss along one direction of the embeddings."""
    case = BY_NAME[name]
    x, labels = case.features(), case.labels()
    _, grad = step(build(case), x, labels)
    assert grad is not None
    direction = grad / np.linalg.norm(grad)
    h = np.float32(0.02)
    high, low = (step(build(case), x + sign * h * direction, labels)[0] for sign in (1, -1))
    # The loss is a sum of fp32 terms in float64, and the third derivative enters with h^2: three digits remain.
    assert (high - low) / (2 * h) == pytest.approx(np.linalg.norm(grad), rel=2e-3)
