"""scikit-learn's own checks of an estimator, none of which is expected to fail."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsexmc.sklearn import SparseXMCClassifier

QUICK = {"device": "cpu", "hidden": 128, "learning_rate": 0.01, "epochs": 30}


@parametrize_with_checks([SparseXMCClassifier(**QUICK), SparseXMCClassifier(**QUICK, loss="squared_hinge")])
def test_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([SparseXMCClassifier()])
def test_checks_of_the_default(estimator: Any, check: Any) -> None:
    check(estimator)
