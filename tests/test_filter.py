"""Filters blank pairs before the best k are taken: against a full ranking, at any k, and through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cli_tools import failure, run
from harness import ON_DEVICE
from small_problem import FEATURES, LABELS, ROWS, X, Y, classifier

# Row 0 blanks nothing, 1 its best label, 2 all but two labels, 3 all, 4 a few.
BLANKED = sp.csr_matrix(
    np.array(
        [
            np.zeros(LABELS),
            np.zeros(LABELS),
            np.arange(LABELS) >= 2,
            np.ones(LABELS),
            np.arange(LABELS) % 3 == 0,
        ],
        np.float32,
    )
)


def brute_force(scores: np.ndarray, blanked: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The definition: blank, then rank; ties to the smaller id."""
    left = np.where(blanked, -np.inf, scores)
    order = np.argsort(-left, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(left, order, axis=1)
    return best, np.where(np.isinf(best), -1, order)


def all_scores(c: sx.Classifier, embeddings: Any) -> np.ndarray:
    scores, ids = c.topk(embeddings, LABELS)
    full = np.empty_like(scores)
    np.put_along_axis(full, ids, scores, axis=1)
    return full


@pytest.mark.parametrize("k", [1, 2, 5, 39, LABELS])
def test_blanked_before_the_best_are_taken(k: int) -> None:
    c = classifier()
    for _ in range(5):
        c.train_step(X, Y)
    blanked = BLANKED.toarray() > 0
    blanked[1, c.topk(X, 1)[1][1, 0]] = True
    expected = brute_force(all_scores(c, X), blanked, k)
    found = c.topk(X, k, filter=sp.csr_matrix(blanked))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].dtype == np.float32 and found[1].dtype == np.int64
    assert (found[1][3] == -1).all()


def test_ties_and_more_rows_than_a_batch() -> None:
    """Sparse input in many batches, with scores that are all equal: ids decide."""
    c = sx.Classifier(
        FEATURES, LABELS, fan_in=None, hidden=8, sparse_input=True, rewiring=None, batch_size=4, topk=2, **ON_DEVICE
    )
    rows = sp.csr_matrix((11, FEATURES), dtype=np.float32)  # empty rows: every label scores its bias, 0
    blanked = sp.random(11, LABELS, 0.4, "csr", np.float32, np.random.default_rng(1))
    expected = brute_force(np.zeros((11, LABELS)), blanked.toarray() > 0, 7)
    np.testing.assert_array_equal(c.topk(rows, 7, filter=blanked)[1], expected[1])
    assert c.topk(rows[:0], 7, filter=blanked[:0])[1].shape == (0, 7)


def test_explicit_zeros_blank_nothing() -> None:
    c, nothing = classifier(), BLANKED.copy()
    nothing.data[:] = 0
    np.testing.assert_array_equal(c.topk(X, 5, filter=nothing)[1], c.topk(X, 5)[1])


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "rows": (BLANKED[:4], sx.ArgumentError, r"filter has shape \(4, 40\)"),
    "columns": (BLANKED[:, :39], sx.ArgumentError, r"filter has shape \(5, 39\)"),
    "dense": (BLANKED.toarray(), sx.ArgumentError, r"filter is an array of shape \(5, 40\); pass scipy"),
    "list": ([[1]], sx.DTypeError, "filter is a list"),
    "range": ((np.arange(6), np.array([0, 1, 2, 3, 40])), sx.ArgumentError, "filter holds label id 40"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_filters(case: str) -> None:
    filter, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        classifier().topk(X, 2, filter=filter)
    with pytest.raises(error, match=message):
        classifier().fit(X, Y, 1, filter=filter, progress=False)


def test_validation_of_fit_blanks_too() -> None:
    """All positives blanked: nothing can be hit; the others are ranked as they would be without them."""
    options: dict[str, Any] = {"validation": (X, Y), "progress": False}
    plain, blind = classifier(), classifier()
    assert plain.fit(X, Y, 60, **options).best_value > 0
    assert blind.fit(X, Y, 60, filter=Y, **options).best_value == 0
    np.testing.assert_array_equal(blind.topk(X, 3)[1], plain.topk(X, 3)[1])  # training is not touched
    held_out = classifier().fit(X, Y, 1, validation=0.4, filter=Y, progress=False)
    assert held_out.best_value == 0


# ---- data sets and the command line ----


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Instances that read one feature each, which is their first label: a model predicts it for sure."""
    eye = np.eye(12, dtype=np.float32)
    X, labels = np.repeat(eye, 10, axis=0), sp.csr_matrix(eye + np.roll(eye, 1, axis=1))
    many = sp.csr_matrix(np.repeat(labels.toarray(), 10, axis=0))
    sx.data.save(tmp_path / "set", sx.data.Dataset(X, many, X_test=eye, Y_test=labels))
    (tmp_path / "set" / "tst_filter_labels.txt").write_text("".join(f"{row} {row}\n" for row in range(12)))
    (tmp_path / "set" / "filter_labels_train.txt").write_text("0 0\n0 5\n\n3 1\n")
    options = ["--set", "model.optimizer.lr=0.1", "--epochs", "5", "--no-progress"]
    assert run("train", tmp_path / "set", "-o", tmp_path / "model", *options) == 0
    return tmp_path


def test_filter_files_of_a_directory(directory: Path) -> None:
    data = sx.data.load(directory / "set")
    assert data.filter.nnz == 3 and data.filter.shape == data.Y.shape
    np.testing.assert_array_equal(data.filter_test.toarray(), np.eye(12))
    (directory / "set" / "filter_labels_test.txt").write_text("0 0\n")
    with pytest.raises(sx.ArgumentError, match="several filter files: filter_labels_test.txt, tst_filter_labels.txt"):
        sx.data.load(directory / "set")
    (directory / "set" / "tst_filter_labels.txt").unlink()
    (directory / "set" / "filter_labels_test.txt").write_text("0 0\n1 12\n")
    with pytest.raises(sx.DataError, match=r"filter_labels_test\.txt:2: label 12 is out of range"):
        sx.data.load(directory / "set")


def test_evaluate_and_predict_blank_the_filter(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    (directory / "none.txt").write_text("")
    precision = {}
    for name, options in {"own": (), "none": ("--filter", directory / "none.txt")}.items():
        assert run("evaluate", directory / "model", directory / "set", "-k", 1, 2, "--json", *options) == 0
        report = json.loads(capsys.readouterr().out)
        precision[name] = report["metrics"]["P"]
        assert report["filtered_pairs"] == (12 if name == "own" else 0)
    # Two positives a row, one of them blanked: with room for two labels only one hit is left.
    assert precision == {"own": {"1": 1.0, "2": 0.5}, "none": {"1": 1.0, "2": 1.0}}

    assert run("predict", directory / "model", directory / "set", "-k", 12) == 0
    lines = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert all(len(line) == 11 for line in lines)
    assert all(str(row) not in {item.split(":")[0] for item in line} for row, line in enumerate(lines))
    matrix = directory / "set" / "X_tst.npy"
    own = directory / "set" / "tst_filter_labels.txt"
    assert run("predict", directory / "model", matrix, "--filter", own, "-k", 12, "-o", directory / "p.npz") == 0
    found = sp.load_npz(directory / "p.npz")
    assert found.nnz == 12 * 11 and found.diagonal().sum() == 0
    (directory / "bad.txt").write_text("0 0\n12 0\n")
    assert "bad.txt:2: row 12 is out of range" in failure(
        capsys, "predict", directory / "model", matrix, "--filter", directory / "bad.txt"
    )
    assert len(json.loads((directory / "model.metrics.jsonl").read_text().splitlines()[0])) > 1


def test_filter_of_the_dataset_is_checked() -> None:
    with pytest.raises(sx.ArgumentError, match="filter_test is for the rows of Y_test, which is None"):
        sx.data.Dataset(X, Y, filter_test=Y)
    with pytest.raises(sx.ArgumentError, match="filter has 4 rows and Y has 5"):
        sx.data.Dataset(X, Y, filter=Y[:4])
    with pytest.raises(sx.ArgumentError, match=rf"filter has 39 columns \(labels\) and Y has {LABELS}"):
        sx.data.Dataset(X, Y, filter=Y[:, :39])
    assert ROWS == 5
