"""`state_dict` carries the batches that RigL keeps for its next rewiring."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from harness import ON_DEVICE

FEATURES, LABELS = 16, 30
RNG = np.random.default_rng(5)
X = RNG.standard_normal((112, FEATURES)).astype(np.float32)
Y = sp.random(112, LABELS, 0.1, "csr", np.float32, rng=RNG)
RIGL = sx.Rewiring(method="rigl", interval=6, grow_batches=4, stop=24)


def classifier(rewiring: sx.Rewiring | None = RIGL) -> sx.Classifier:
    return sx.Classifier(
        FEATURES, LABELS, fan_in=8, group_size=4, dense_labels=10, rewiring=rewiring, batch_size=16, **ON_DEVICE
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("step", [3, 4, 5])
def test_state_dict_carries_the_batches_that_rigl_keeps(step: int, weighted: bool) -> None:
    weights = RNG.uniform(0, 2, 16) if weighted else None
    a, b = classifier(), classifier()
    a.total_steps = 24
    batches = [slice(16 * (i % 7), 16 * (i % 7) + 16) for i in range(12)]
    for rows in batches[:step]:
        a.train_step(X[rows], Y[rows], weights)
    state = a.state_dict()
    assert [name for name in state if "kept" in name], "RigL keeps batches 3 to 6"
    b.load_state_dict(state)
    for rows in batches[step:]:
        a.train_step(X[rows], Y[rows], weights)
        b.train_step(X[rows], Y[rows], weights)
    assert_same_tensors(a, b)
    b.load_state_dict(state)  # over batches of its own
    for rows in batches[step:]:
        b.train_step(X[rows], Y[rows], weights)
    assert_same_tensors(a, b)


def assert_same_tensors(a: sx.Classifier, b: sx.Classifier) -> None:
    left, right = a.state_dict(), b.state_dict()
    assert left.keys() == right.keys()
    assert all(np.array_equal(left[name], right[name]) for name in left)


def test_kept_batches_that_do_not_fit() -> None:
    a = classifier()
    a.total_steps = 24
    for _ in range(4):
        a.train_step(X[:16], Y[:16], np.ones(16))
    state = a.state_dict()
    name = "optimizer.kept.0.positives"
    for changed, error in (
        ({name: state[name][:, :1]}, sx.ArgumentError),
        ({name: state[name] + np.uint32(LABELS)}, sx.ArgumentError),
        ({name: state[name].astype(np.int64)}, sx.DTypeError),
        ({"optimizer.kept.0.inputs": state["optimizer.kept.0.inputs"][:3]}, sx.ArgumentError),
        ({"optimizer.kept.1.instance_weights": np.full(16, -1, np.float32)}, sx.ArgumentError),
        ({"optimizer.kept.7.inputs": state["optimizer.kept.0.inputs"]}, sx.ArgumentError),
    ):
        b = classifier()
        before = b.state_dict()
        with pytest.raises(error, match="kept"):
            b.load_state_dict(state | changed)
        after = b.state_dict()
        assert all(np.array_equal(after[key], before[key]) for key in before)
    with pytest.raises(sx.ArgumentError, match="its rewiring keeps 0 batches"):
        classifier(rewiring=None).load_state_dict(state)
