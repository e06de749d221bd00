"""Shared parts of the tests of reports: label matrices, a small problem, lines of metrics files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import sparsexmc as sx
from harness import ON_DEVICE


def csr(rows: list[list[int]], num_labels: int) -> sp.csr_matrix:
    indptr = np.cumsum([0, *map(len, rows)])
    return sp.csr_matrix(
        (np.ones(indptr[-1], np.float32), np.concatenate(rows).astype(int), indptr), (len(rows), num_labels)
    )


FEATURES, LABELS, INSTANCES = 16, 40, 60
RNG = np.random.default_rng(3)
X = RNG.standard_normal((INSTANCES, FEATURES)).astype(np.float32)
Y = csr([sorted(set(RNG.geometric(0.1, 3).clip(1, LABELS) - 1)) for _ in range(INSTANCES)], LABELS)


def classifier(**options: Any) -> sx.Classifier:
    settings = {
        "num_labels": LABELS,
        "fan_in": 4,
        "group_size": 4,
        "dense_labels": 0,
        "rewiring": None,
        "batch_size": 20,
    }
    return sx.Classifier(FEATURES, **(settings | ON_DEVICE | options))


def write_lines(path: Path, *records: dict[str, Any], end: str = "") -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + end)
    return path


def step(number: int, loss: float = 1.0) -> dict[str, Any]:
    return {"event": "step", "epoch": 1, "step": number, "loss": loss, "base_lr": 0.1}


def epoch(number: int, at: int) -> dict[str, Any]:
    return {"event": "epoch", "epoch": number, "step": at, "loss": 1.0, "seconds": 1.0, "validation": {"P@1": 0.5}}
