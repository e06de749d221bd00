"""scikit-learn's own checks of an estimator."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsexmc.sklearn import SparseXMCClassifier

QUICK = {"device": "cpu", "hidden": 128, "learning_rate": 0.01, "epochs": 30}


# What is expected to fail, and why.
BATCHES = (
    "an instance of weight 2 is one row of a batch, and two equal instances are two: other batches and more steps, "
    "which give another model. test_instance_weights.py shows that a step is the same"
)
EXPECTED = {f"check_sample_weight_equivalence_on_{kind}_data": BATCHES for kind in ("dense", "sparse")}


def expected(_: SparseXMCClassifier) -> dict[str, str]:
    return EXPECTED


@parametrize_with_checks(
    [SparseXMCClassifier(**QUICK), SparseXMCClassifier(**QUICK, loss="squared_hinge")], expected_failed_checks=expected
)
def test_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([SparseXMCClassifier()], expected_failed_checks=expected)
def test_checks_of_the_default(estimator: Any, check: Any) -> None:
    check(estimator)
