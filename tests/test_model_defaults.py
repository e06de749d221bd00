"""Settings that follow from the size of the data."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from sparsexmc.model import defaults
from sparsexmc.training import defaults as network


@pytest.mark.parametrize(("steps", "interval"), [(600, 50), (1, 1), (60_000, 1000)])
def test_rewiring_fits_the_length_of_the_training(steps: int, interval: int) -> None:
    rewiring = sx.Rewiring(method="rigl").for_total_steps(steps)
    assert (rewiring.method, rewiring.interval, rewiring.fraction_schedule) == ("rigl", interval, "cosine")
    assert rewiring.stop == max(steps * 3 // 4, 1)


def cpp_defaults(**config: object) -> dict[str, Any]:
    """The configuration that the engine makes of what is given, with its own defaults."""
    text = json.dumps({"in_features": 128, "num_labels": 10} | config)
    return json.loads(sx._core.Classifier(text, None, None, None, None, None).config_json())


@pytest.mark.parametrize(
    ("given", "config"),
    [
        ({"fan_in": 64}, {"fan_in": 64, "rewiring": {}}),
        ({"optimizer": sx.Adam(), "fan_in": 64}, {"fan_in": 64, "optimizer": {"kind": "adam"}, "rewiring": {}}),
        ({"hidden": sx.Hidden(64), "fan_in": None}, {"hidden": {"features": 64}}),
        ({"hidden": 64, "sparse_input": True, "fan_in": None}, {"hidden": {"features": 64}, "sparse_input": True}),
        (
            {"auxiliary": sx.MetaClassifier(2, steps=5), "fan_in": None},
            {"auxiliary": {"clusters": 2, "steps": 5}},
        ),
    ],
)
def test_defaults_are_those_of_the_engine(given: dict[str, Any], config: dict[str, Any]) -> None:
    """Both languages state them. Of fan_in, dense_labels, rewiring and device those of Python are meant to differ."""
    ours = json.loads(sx.config.ClassifierConfig(in_features=128, num_labels=10, dense_labels=0, **given).to_json())
    theirs = cpp_defaults(**config)
    assert ours.pop("device") == "auto" and theirs.pop("device") == "cpu"
    assert ours == theirs


@pytest.mark.parametrize(("instances", "start"), [(39_999, 1.0), (40_000, 0.1)])
def test_hidden_weights_start_small_where_training_is_long(instances: int, start: float) -> None:
    X = sp.random(instances, 50, density=0.1, format="csr", dtype=np.float32, random_state=0)
    Y = sp.csr_matrix((np.ones(instances, np.float32), (np.arange(instances), np.arange(instances) % 3000)))
    assert defaults.for_data(X, Y).model.hidden.initial_scale == start
    assert defaults.for_data(X.toarray(), Y).model.hidden.initial_scale == 1.0


@pytest.mark.parametrize("units", [False, True])
def test_products_read_bfloat16_where_there_are_matrix_units(units: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "cpu_matrix_units", lambda: units)
    X = sp.random(100, 50, density=0.1, format="csr", dtype=np.float32, random_state=0)
    Y = sp.csr_matrix((np.ones(100, np.float32), (np.arange(100), np.arange(100) % 30)))
    assert defaults.for_data(X, Y).model.compute_dtype == ("bfloat16" if units else "auto")


@pytest.mark.parametrize("sparse", [True, False])
def test_output_layer_takes_less_than_a_tenth_of_a_dense_one(sparse: bool) -> None:
    X = sp.random(100, 384, density=0.1, format="csr", dtype=np.float32, random_state=0)
    Y = sp.csr_matrix((np.ones(100, np.float32), (np.arange(100), np.arange(100))), shape=(100, 30_000))
    model = defaults.for_data(X if sparse else X.toarray(), Y).model

    def layer_bytes(**options: object) -> int:
        plan = sx.plan(in_features=384, num_labels=30_000, hidden=network.HIDDEN, optimizer=sx.Adam(), **options)
        return sum(size for name, size in plan.items() if name.startswith(("segments.", "optimizer.segments.")))

    small = layer_bytes(**{key: getattr(model, key) for key in ("fan_in", "group_size", "dense_labels")})
    assert 0.05 < small / layer_bytes(fan_in=None) < 0.1
