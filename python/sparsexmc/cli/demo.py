"""`sparsexmc train --demo`: the built-in data set, its hyper-parameters, and a look at what the model has learned."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Dataset

# On top of the defaults for the size of the data.
SETTINGS: dict[str, Any] = {
    "model": {
        "hidden": {"features": 1024, "dropout": 0.4, "input_scale": 6.0},
        "fan_in": 64,
        "group_size": 16,
        "dense_labels": 0.1,
        "initial_bias": -8.0,
        "optimizer": {"name": "adam", "lr": 5e-3, "betas": [0.9, 0.99]},
        "schedule": {"kind": "linear"},
        "batch_size": 256,
    },
    "training": {"epochs": 6, "validation": "none"},
    "linear": {"enabled": True, "cost": 0.6, "weight": 0.8},
    # Packages of one source are alike: held-out instances promise more of neighbors than the test split holds.
    "neighbors": {"enabled": False},
}

SHOWN = 10
LEAST_LABELS = 3
MOST_TRUE_SHOWN = 8
WIDTH = 100
SEED = 12


def packages(dataset: Dataset, ids: npt.NDArray[np.int64]) -> str:
    """Some test packages, drawn at random, with their predicted (`ids` [n, k]) and true dependencies by name."""
    names, labels, Y = dataset.test_instance_names, dataset.label_names, dataset.Y_test
    assert names is not None and labels is not None and Y is not None
    counts = dataset.label_counts
    enough = np.flatnonzero(np.diff(Y.indptr) >= LEAST_LABELS)
    chosen = np.sort(np.random.default_rng(SEED).choice(enough, min(SHOWN, len(enough)), replace=False))
    lines = [
        f"{len(chosen)} of {Y.shape[0]:,} test packages, drawn at random from those with {LEAST_LABELS} or more "
        "dependencies; * marks a hit"
    ]
    for row in chosen:
        true, predicted = set(Y[row].indices.tolist()), ids[row].tolist()
        # Hits first, in the order of the line above; then the most frequent.
        found = [label for label in predicted if label in true]
        missed = sorted(true.difference(found), key=lambda label: -counts[label])
        shown = [f"*{labels[label]}" for label in found] + [labels[label] for label in missed]
        more = f", and {len(shown) - MOST_TRUE_SHOWN} more" if len(shown) > MOST_TRUE_SHOWN else ""
        lines += [
            f"\n  {names[row]}",
            _wrapped("predicted", ", ".join(("*" if label in true else "") + labels[label] for label in predicted)),
            _wrapped("true", ", ".join(shown[:MOST_TRUE_SHOWN]) + more),
        ]
    return "\n".join(lines)


def _wrapped(title: str, text: str) -> str:
    first = f"    {title:9}  "
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_on_hyphens=False,
        break_long_words=False,
    )
