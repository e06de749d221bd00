"""Quality of predicted ids, the same for every contender; the only part that needs sparsexmc."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import sparsexmc as sx

KS = (1, 3, 5)
A, B = 0.55, 1.5  # of the propensities


def scores(ids: np.ndarray, train_labels: object, true_labels: object) -> dict[str, float]:
    """Percent P@1, P@3, P@5, PSP@1, PSP@3, PSP@5 and macro-F1@5 of ids [n, >= 5]."""
    precision = sx.metrics.precision_at_k(ids, true_labels, KS)
    propensity_scored = sx.metrics.psp_at_k(ids, true_labels, KS, train_labels=train_labels, A=A, B=B)
    return {
        **{f"P@{k}": 100 * float(value) for k, value in zip(KS, precision, strict=True)},
        **{f"PSP@{k}": 100 * float(value) for k, value in zip(KS, propensity_scored, strict=True)},
        f"macro-F1@{KS[-1]}": 100 * float(sx.metrics.macro_f1_at_k(ids, true_labels, KS[-1])),
    }


def scores_of_run(out: Path, data: Path) -> dict[str, float]:
    """Scores of the ids in ``OUT.npz`` on the test part of a data directory."""
    dataset = sx.data.load(data)
    with np.load(out.with_name(out.name + ".npz")) as saved:
        return scores(saved["ids"], dataset.Y, dataset.Y_test)
