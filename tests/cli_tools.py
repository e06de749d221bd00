"""Running the command line inside a test, and data that it learns in a second."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.sparse as sp

from sparsexmc.cli import main

NUM_FEATURES, NUM_LABELS = 60, 40
SMALL = ["--set", "model.hidden=64", "--set", "model.hidden.dropout=0.1", "--set", "model.optimizer.lr=0.03"]
SMALL += ["--epochs", "12", "--no-progress", "--threads", "2"]


def make_split(instances: int, seed: int) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Counts of 60 words and 40 labels: label l is on an instance that holds word l, so that a model can learn it."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.choice(NUM_LABELS, 2, replace=False) for _ in range(instances)])
    rows = np.repeat(np.arange(instances), 2)
    Y = sp.csr_matrix((np.ones(2 * instances, np.float32), (rows, labels.ravel())), shape=(instances, NUM_LABELS))
    noise = sp.random(instances, NUM_FEATURES - NUM_LABELS, 0.2, "csr", np.float32, rng)
    noise.data[:] = 1
    X = sp.hstack([Y * 2, noise]).tocsr().astype(np.float32)
    for matrix in (X, Y):
        matrix.sort_indices()
    return X, Y


def run(*arguments: object) -> int:
    """The exit code of the command."""
    return main([str(argument) for argument in arguments])


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Runs a command that must fail with exit code 2 and one line on stderr, which is returned."""
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("sparsexmc: error: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


def subprocess_command(*arguments: object) -> list[str]:
    """The command line as a process of its own."""
    return [sys.executable, "-m", "sparsexmc", *map(str, arguments)]
