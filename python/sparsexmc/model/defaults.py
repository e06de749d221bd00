"""Settings of a model that follow from the size of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import scipy.sparse as sp

from .._sparse import are_counts
from ..config import Softmax
from ..data.settings import DataSettings
from ..ensemble.settings import FEATURES, TUNE, LinearSettings, NeighborsSettings
from ..training.defaults import network_for_data, training_for_data
from . import toml
from .settings import ModelSettings, Settings

# Neighbors are searched among all instances, one after another: beyond so many that takes longer than it is worth.
MAX_NEIGHBORS = 2_000_000
# In the space of the hidden layer a search passes over a byte per instance and unit.
MAX_HIDDEN_NEIGHBORS = 500_000
# Linear classifiers take some 2,500 bytes per instance while they train.
MAX_LINEAR = 2_000_000


def for_data(X: Any, Y: sp.csr_matrix) -> Settings:
    """Settings for training features X [n, in_features] (scipy CSR or array) and labels Y [n, num_labels]."""
    instances, sparse = Y.shape[0], sp.issparse(X)
    return Settings(
        model=ModelSettings(**network_for_data(X, Y)),
        training=training_for_data(X, Y),
        data=DataSettings(tfidf=are_counts(X)),
        linear=LinearSettings(enabled=sparse and instances <= MAX_LINEAR),
        neighbors=NeighborsSettings(
            enabled=instances <= MAX_NEIGHBORS, space=TUNE if instances <= MAX_HIDDEN_NEIGHBORS else FEATURES
        ),
    )


def parts_for_loss(loss: Any) -> toml.Table:
    """Settings of the parts beside a network of this loss: off by default beside a softmax (see `require_log_odds`)."""
    if isinstance(loss, Mapping | Softmax) or (isinstance(loss, str) and loss == "softmax"):
        return {"linear": {"enabled": False}, "neighbors": {"enabled": False}}
    return {}
