"""Probabilities from scores: what they mean, what they keep, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from sparsexmc.calibration import Calibration


def rankings(instances: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, sp.csr_matrix]:
    """Scores whose labels are right with probability sigmoid(2 score - 1), by k predicted labels an instance."""
    rng = np.random.default_rng(seed)
    scores = -np.sort(-rng.normal(size=(instances, k)), axis=1)
    ids = np.stack([rng.permutation(3 * k)[:k] for _ in range(instances)])
    hits = rng.random((instances, k)) < truth(scores)
    rows = np.broadcast_to(np.arange(instances)[:, None], ids.shape)
    labels = sp.csr_matrix((hits[hits].astype(np.float32), (rows[hits], ids[hits])), shape=(instances, 3 * k))
    return scores, ids, labels


def truth(scores: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(1.0 - 2.0 * scores))


def test_probabilities_are_those_of_the_held_out_instances() -> None:
    calibration = Calibration.fit(*rankings(4_000, 10))
    scores, _, _ = rankings(2_000, 10, seed=1)
    error = np.abs(calibration(scores) - truth(scores))
    assert error.mean() < 0.015
    assert np.abs(scores - truth(scores)).mean() > 0.3


def test_order_stays_and_extremes_are_no_certainty() -> None:
    calibration = Calibration.fit(*rankings(500, 10))
    scores = np.linspace(-8, 8, 1001)
    found = calibration(scores)
    assert found.dtype == np.float32 and found.shape == scores.shape
    assert (np.diff(found) >= 0).all()
    assert found[0] > 0 and found[-1] < 1
    assert calibration(np.array([-np.inf])) == 0


def test_steps_by_hand() -> None:
    # Of 100 labels of score 0 20 are right, of 100 of score 1 (pooled with them) 10, of 100 of score 2 80.
    ids = np.arange(300).reshape(1, 300)
    right = np.concatenate([np.arange(20), np.arange(100, 110), np.arange(200, 280)])
    labels = sp.csr_matrix((np.ones(110, np.float32), (np.zeros(110, int), right)), shape=(1, 310))
    calibration = Calibration.fit(np.repeat([[0.0, 1.0, 2.0]], 100, axis=1), ids, labels)
    mean = 110 / 300
    low, high = (30 + mean) / 201, (80 + mean) / 101
    np.testing.assert_allclose(calibration.scores, [0.0, 1.0, 2.0])
    np.testing.assert_allclose(calibration.probabilities, [low, low, high])
    np.testing.assert_allclose(calibration([-1, 0.5, 1.5, 3]), [low, low, (low + high) / 2, high], rtol=1e-6)


def test_threshold_has_the_best_micro_f1() -> None:
    scores, ids, labels = rankings(300, 5)
    labels = sp.csr_matrix(labels + sp.random(*labels.shape, density=0.02, random_state=0) > 0).astype(np.float32)
    calibration = Calibration.fit(scores, ids, labels)
    hits = np.asarray(labels[np.arange(300)[:, None], ids].todense()) > 0
    probabilities = calibration(scores)

    def f1(threshold: float) -> float:
        taken = probabilities >= np.float32(threshold)
        return 2 * (taken & hits).sum() / (taken.sum() + labels.nnz)

    best = f1(calibration.f1_threshold)
    assert best >= max(f1(threshold) for threshold in np.linspace(0, 1, 201)) - 1e-12


def test_missing_predictions_do_not_count() -> None:
    scores, ids, labels = rankings(200, 6)
    short = np.where(np.arange(6) < 4, ids, -1)
    whole = Calibration.fit(scores[:, :4], ids[:, :4], labels)
    part = Calibration.fit(np.where(short < 0, -np.inf, scores), short, labels)
    np.testing.assert_array_equal(part.probabilities, whole.probabilities)


def test_arrays_make_it_again() -> None:
    calibration = Calibration.fit(*rankings(100, 5))
    again = Calibration.from_arrays(calibration.to_arrays("network"), "network")
    np.testing.assert_array_equal(again.probabilities, calibration.probabilities)
    assert again.f1_threshold == calibration.f1_threshold


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scores", np.zeros(0)),
        ("scores", np.array([1.0, 0.0])),
        ("scores", np.array([0.0, np.nan])),
        ("scores", np.array([0.0, 1.0, 2.0])),
        ("probabilities", np.array([0.5, 0.4])),
        ("probabilities", np.array([0.5, 1.5])),
        ("f1_threshold", np.array([0.5])),
        ("f1_threshold", np.array(2.0)),
    ],
)
def test_damaged_arrays_are_refused(name: str, value: np.ndarray) -> None:
    arrays: dict[str, Any] = {
        "network.scores": np.array([0.0, 1.0]),
        "network.probabilities": np.array([0.1, 0.9]),
        "network.f1_threshold": np.array(0.5),
    }
    Calibration.from_arrays(arrays, "network")
    with pytest.raises(sx.ArgumentError):
        Calibration.from_arrays(arrays | {f"network.{name}": value}, "network")


def test_what_cannot_be_calibrated_on_is_refused() -> None:
    scores, ids, labels = rankings(100, 5)
    with pytest.raises(sx.ArgumentError, match="40 predicted labels"):
        Calibration.fit(scores[:8], ids[:8], labels[:8])
    with pytest.raises(sx.ArgumentError, match=r"ids \[100, 4\]"):
        Calibration.fit(scores, ids[:, :4], labels)
    for share, text in ((0, "none of the 500 is right"), (1, "all of the 500 predicted labels are")):
        with pytest.raises(sx.ArgumentError, match=text):
            Calibration.fit(scores, ids, sp.csr_matrix(np.full((100, 15), share, np.float32)))
    with pytest.raises(sx.ArgumentError, match="NaN"):
        Calibration.fit(np.where(scores > 2, np.nan, scores), ids, labels)
    with pytest.raises(sx.ArgumentError, match="15 labels|has 12 labels"):
        Calibration.fit(scores, ids, labels[:, :12])
