"""A small problem for the tests of arguments: five instances, one without labels, and a classifier for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

import sparsexmc as sx
from harness import ON_DEVICE

ROWS, FEATURES, LABELS = 5, 16, 40
RNG = np.random.default_rng(3)
X = RNG.standard_normal((ROWS, FEATURES)).astype(np.float32)
Y = sp.csr_matrix((np.ones(6, np.float32), np.array([3, 39, 0, 7, 8, 9]), np.array([0, 2, 3, 3, 6, 6])), (ROWS, LABELS))


def classifier(**options: Any) -> sx.Classifier:
    settings = {"fan_in": 4, "group_size": 4, "dense_labels": 8, "rewiring": None, "batch_size": ROWS, **ON_DEVICE}
    return sx.Classifier(FEATURES, LABELS, **(settings | options))


def assert_unchanged(c: sx.Classifier, before: dict[str, np.ndarray]) -> None:
    after = c.state_dict()
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[name], before[name]) for name in before)
