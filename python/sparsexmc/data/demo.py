"""The data set that comes with the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .dataset import Dataset
from .directory import load
from .prepare import tfidf

DEMO_DIRECTORY = Path(__file__).parents[1] / "datasets" / "debian_depends"


def load_demo(*, counts: bool = False) -> Dataset:
    """Package dependencies of Debian 12: what a package says of itself -> what it depends on, recommends or suggests.

    46,518 training and 11,056 test packages, 131,072 features, 43,427 labels, with the names of labels and packages.
    Features are TF-IDF rows of unit length, or token counts if `counts`. `datasets/debian_depends/ORIGIN.md` tells how
    the set was made.
    """
    dataset = replace(load(DEMO_DIRECTORY), name="debian-depends")
    if counts:
        return dataset
    X, X_test = tfidf(dataset.X, dataset.X_test)
    return replace(dataset, X=X, X_test=X_test)
