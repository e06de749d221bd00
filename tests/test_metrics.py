"""Ranking metrics: published constants, a naive oracle on random rows, batches, and wrong arguments."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsexmc as sx
from sparsexmc import metrics
from sparsexmc.errors import ArgumentError, DTypeError

Rows = Sequence[Sequence[int]]

# Made with pyxclib on these rows; A, B = 0.55, 1.5.
L = 8
TRAIN = [[0, 1, 2], [0, 1], [0, 3], [0], [4], []]
TRUTH = [[0, 5], [1], [2, 3, 4, 6, 7], []]
RANKING = [[0, 1, 5, 2, 3], [0, 1, 2, 3, 4], [7, 0, 3, 1, 4], [0, 1, 2, 3, 4]]
CONSTANTS = {
    "P": (0.5, 0.4166667, 0.3),
    "nDCG": (0.5, 0.5636422, 0.5476490),
    "R": (0.175, 0.6, 0.65),
    "PSP": (0.6188790, 0.8155864, 0.7386131),
    "PSnDCG": (0.6188790, 0.7259201, 0.7059548),
    "coverage": (0.25, 0.625, 0.75),
    "macro-F1": (0.1875, 0.4875, 0.4625),
}
FUNCTIONS = {
    "P": metrics.precision_at_k,
    "nDCG": metrics.ndcg_at_k,
    "R": metrics.recall_at_k,
    "PSP": metrics.psp_at_k,
    "PSnDCG": metrics.psndcg_at_k,
    "coverage": metrics.coverage_at_k,
    "macro-F1": metrics.macro_f1_at_k,
}


def csr(rows: Rows, columns: int) -> sp.csr_matrix:
    """Rows of label ids as they are given: unsorted, duplicates kept."""
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.array([label for row in rows for label in row], dtype=np.int32)
    return sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), columns))


def oracle(ids: Rows, truth: Rows, q: Sequence[float], k: int) -> dict[str, float]:
    """The definitions, row by row and label by label."""
    n, labels = len(ids), range(len(q))
    p = ndcg = recall = psp_up = psp_down = psndcg_up = psndcg_down = 0.0
    positives = [set(row) for row in truth]
    predicted = [[label for label in row[:k] if label >= 0] for row in ids]
    for row, y in zip(ids, positives, strict=True):
        hits = [(place, label) for place, label in enumerate(row[:k], start=1) if label in y]
        p += len(hits) / k
        recall += len(hits) / max(1, len(y))
        best = sorted((q[label] for label in y), reverse=True)[:k]
        ideal = sum(1 / math.log2(place + 1) for place in range(1, len(best) + 1))
        psp_up += sum(q[label] for _, label in hits)
        psp_down += sum(best)
        if y:
            ndcg += sum(1 / math.log2(place + 1) for place, _ in hits) / ideal
            psndcg_up += sum(q[label] / math.log2(place + 1) for place, label in hits) / ideal
            psndcg_down += sum(w / math.log2(place + 1) for place, w in enumerate(best, start=1)) / ideal
    f1 = 0.0
    for label in labels:
        tp = sum(label in row and label in y for row, y in zip(predicted, positives, strict=True))
        fp = sum(label in row for row in predicted) - tp
        fn = sum(label in y for y in positives) - tp
        f1 += 2 * tp / (2 * tp + fp + fn) if tp else 0.0
    hit = {label for row, y in zip(predicted, positives, strict=True) for label in row if label in y}
    known = set().union(*positives)
    return {
        "P": p / n,
        "nDCG": ndcg / n,
        "R": recall / n,
        "PSP": psp_up / psp_down if psp_down else 0.0,
        "PSnDCG": psndcg_up / psndcg_down if psndcg_down else 0.0,
        "coverage": len(hit) / len(known) if known else 0.0,
        "macro-F1": f1 / len(q),
    }


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants(name: str) -> None:
    extra = {"train_labels": csr(TRAIN, L)} if name.startswith("PS") else {}
    found = FUNCTIONS[name](np.array(RANKING), csr(TRUTH, L), [1, 3, 5], **extra)
    assert isinstance(found, np.ndarray) and found.dtype == np.float64
    np.testing.assert_allclose(found, CONSTANTS[name], rtol=0, atol=1e-6)
    one = FUNCTIONS[name](np.array(RANKING), csr(TRUTH, L), 3, **extra)
    assert isinstance(one, float) and one == found[1]


def test_constants_streamed_in_single_rows_of_any_order() -> None:
    sums = metrics.RankingMetrics(L, inverse_propensities=metrics.inverse_propensities(csr(TRAIN, L)))
    for row in (2, 0, 3, 1):
        sums.update(np.array([RANKING[row]]), csr([TRUTH[row]], L))
    assert sums.num_instances == 4
    results = sums.compute()
    assert list(results)[:4] == ["P@1", "P@3", "P@5", "nDCG@1"]
    for name, values in CONSTANTS.items():
        assert [results[f"{name}@{k}"] for k in (1, 3, 5)] == pytest.approx(values, abs=1e-6)


def test_mean_of_batch_means_would_be_wrong_for_these_batches() -> None:
    sums = metrics.RankingMetrics(2, 1)
    sums.update([[0]], csr([[0]], 2))
    sums.update([[0], [0], [0]], csr([[1], [1], [1]], 2))
    assert sums.compute()["P@1"] == 0.25


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]], int, list[int]]:
    """(ids, truth, number of labels, label counts): empty rows, duplicates in the truth and missing predictions."""
    labels = draw(st.integers(1, 12))
    width = draw(st.integers(1, 7))
    n = draw(st.integers(1, 9))
    ids = []
    for _ in range(n):
        ranked = draw(st.permutations(range(labels)))[: draw(st.integers(0, width))]
        ids.append([*ranked, *[-1] * (width - len(ranked))])
    truth = [draw(st.lists(st.integers(0, labels - 1), max_size=10)) for _ in range(n)]
    counts = draw(st.lists(st.integers(0, 50), min_size=labels, max_size=labels))
    return ids, truth, labels, counts


@settings(max_examples=150, deadline=None, derandomize=True)
@given(problems(), st.integers(0, 9))
def test_follows_the_oracle_in_one_go_and_in_batches(problem: tuple, cut: int) -> None:
    ids, truth, labels, counts = problem
    q = metrics.inverse_propensities(counts, 50, A=0.6, B=2.6)
    ks = list(range(1, len(ids[0]) + 1))
    whole, parts = (metrics.RankingMetrics(labels, ks, inverse_propensities=q) for _ in range(2))
    whole.update(ids, csr(truth, labels))
    for rows in (slice(cut, None), slice(0, cut)):
        parts.update(np.reshape(ids[rows], (-1, len(ids[0]))).astype(np.int64), csr(truth[rows], labels))
    for k in ks:
        for name, expected in oracle(ids, truth, q.tolist(), k).items():
            assert whole.compute()[f"{name}@{k}"] == pytest.approx(expected, rel=1e-12, abs=1e-14), name
            assert parts.compute()[f"{name}@{k}"] == pytest.approx(expected, rel=1e-12, abs=1e-14), name


def test_propensities_follow_the_formula() -> None:
    counts = np.array([0, 1, 7, 100])
    for a, b in ((0.55, 1.5), (0.6, 2.6), (0.5, 0.4)):
        c = (math.log(100) - 1) * (b + 1) ** a
        np.testing.assert_allclose(
            metrics.inverse_propensities(counts, 100, a, b), 1 + c * (counts + b) ** -a, rtol=1e-15
        )
        np.testing.assert_array_equal(
            metrics.propensities(counts, 100, a, b), 1 / metrics.inverse_propensities(counts, 100, a, b)
        )
    probabilities = metrics.propensities(csr(TRAIN, L))
    assert ((probabilities > 0) & (probabilities <= 1)).all() and probabilities[0] == probabilities.max()
    from_matrix = metrics.inverse_propensities(csr(TRAIN, L))
    np.testing.assert_array_equal(from_matrix, metrics.inverse_propensities([4, 2, 1, 1, 1, 0, 0, 0], 6))


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
def test_kinds_of_truth_agree(index_dtype: type) -> None:
    matrix = csr(TRUTH, L)
    ids = np.array(RANKING, dtype=np.int32)
    expected = metrics.ndcg_at_k(ids, matrix, 5)
    pair = (matrix.indptr.astype(index_dtype), matrix.indices.astype(index_dtype))
    assert metrics.ndcg_at_k(ids, pair, 5) == expected
    assert metrics.macro_f1_at_k(ids, pair, 5, num_labels=L) == metrics.macro_f1_at_k(ids, matrix, 5)
    single = csr([[3], [1], [4]], L)
    assert metrics.precision_at_k(RANKING[:3], np.array([3, 1, 4]), 4) == metrics.precision_at_k(RANKING[:3], single, 4)


def test_labels_count_where_they_are_not_zero_and_once() -> None:
    matrix = sp.csr_matrix(([0.0, 2.0, 1.0, 1.0], [0, 1, 2, 2], [0, 4]), shape=(1, 3))
    before = matrix.copy()
    assert metrics.recall_at_k([[0, 1, 2]], matrix, [1, 2, 3]).tolist() == [0.0, 0.5, 1.0]
    assert matrix.nnz == before.nnz == 4  # the caller's matrix is left alone
    counts = sp.vstack([matrix] * 5).tocsr()
    np.testing.assert_array_equal(metrics.inverse_propensities(counts), metrics.inverse_propensities([0, 5, 5], 5))


def test_read_only_arrays_and_strided_ids() -> None:
    matrix, ids = csr(TRUTH, L), np.asfortranarray(RANKING)
    for array in (matrix.data, matrix.indices, matrix.indptr, ids):
        array.flags.writeable = False
    assert metrics.precision_at_k(ids, matrix, 3) == pytest.approx(5 / 12)


def test_label_ids_beyond_float32() -> None:
    big = 2**24 + 1
    assert metrics.precision_at_k([[big]], (np.array([0, 1]), np.array([big])), 1) == 1.0
    assert metrics.precision_at_k([[big]], (np.array([0, 1]), np.array([big - 1])), 1) == 0.0


def test_threads_share_an_accumulator() -> None:
    sums = metrics.RankingMetrics(L, 5)
    ids, truth = np.tile(RANKING, (200, 1)), csr(TRUTH * 200, L)
    threads = [threading.Thread(target=sums.update, args=(ids, truth)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums.num_instances == 3200
    assert sums.compute()["P@5"] == pytest.approx(0.3)


GOOD_IDS, GOOD_TRUTH = [[0, 1]], csr([[0]], 3)
WRONG = {
    "float ids": (lambda: metrics.precision_at_k([[0.0, 1.0]], GOOD_TRUTH, 1), DTypeError, "ids.*float64.*int"),
    "rank": (lambda: metrics.precision_at_k([0, 1], GOOD_TRUTH, 1), ArgumentError, r"ids has shape \(2,\)"),
    "order": (lambda: metrics.precision_at_k(GOOD_TRUTH, GOOD_IDS, 1), DTypeError, "predicted label ids .* first"),
    "rows": (lambda: metrics.precision_at_k([[0], [1]], GOOD_TRUTH, 1), ArgumentError, r"Y_true has shape \(1, 3\).*2"),
    "width": (lambda: metrics.precision_at_k(GOOD_IDS, GOOD_TRUTH, 3), ArgumentError, "2 labels per row.*k = 3"),
    "k": (lambda: metrics.precision_at_k(GOOD_IDS, GOOD_TRUTH, 0), ArgumentError, "k holds 0.*at least 1"),
    "no k": (lambda: metrics.precision_at_k(GOOD_IDS, GOOD_TRUTH, []), (ArgumentError, DTypeError), "k "),
    "float k": (lambda: metrics.precision_at_k(GOOD_IDS, GOOD_TRUTH, 1.5), DTypeError, "k has dtype float64"),
    "id": (lambda: metrics.precision_at_k([[0, 3]], GOOD_TRUTH, 2), ArgumentError, r"ids\[0\] holds label 3.*0 to 2"),
    "negative": (lambda: metrics.precision_at_k([[0, -2]], GOOD_TRUTH, 2), ArgumentError, r"ids\[0\] holds label -2"),
    "twice": (lambda: metrics.precision_at_k([[1, 1]], GOOD_TRUTH, 2), ArgumentError, r"ids\[0\] ranks label 1 twice"),
    "truth": (
        lambda: metrics.RankingMetrics(3, 1).update(GOOD_IDS, (np.array([0, 1]), np.array([3]))),
        ArgumentError,
        r"Y_true: row 0 holds label id 3",
    ),
    "indptr": (lambda: metrics.ndcg_at_k(GOOD_IDS, (np.array([0, 9]), np.array([1])), 1), ArgumentError, "indptr"),
    "truth kind": (lambda: metrics.ndcg_at_k(GOOD_IDS, [[0]], 1), DTypeError, "Y_true.*list"),
    "columns": (lambda: metrics.RankingMetrics(4).update(GOOD_IDS, GOOD_TRUTH), ArgumentError, "Y_true has shape"),
    "no labels": (lambda: metrics.RankingMetrics(0), ArgumentError, "num_labels is 0"),
    "nothing": (lambda: metrics.RankingMetrics(3).compute(), ArgumentError, "before any instance"),
    "weights": (lambda: metrics.RankingMetrics(3, inverse_propensities=[1.0]), ArgumentError, "1 numbers for 3 labels"),
    "bad weight": (
        lambda: metrics.RankingMetrics(1, inverse_propensities=[math.nan]),
        ArgumentError,
        r"inverse_propensities\[0\]",
    ),
    "no weights": (
        lambda: metrics.psp_at_k(GOOD_IDS, GOOD_TRUTH, 1),
        ArgumentError,
        "inverse_propensities or train_labels",
    ),
    "L": (
        lambda: metrics.macro_f1_at_k(GOOD_IDS, (np.array([0, 1]), np.array([1])), 1),
        ArgumentError,
        "num_labels is missing",
    ),
    "one k": (lambda: metrics.per_label_at_k(GOOD_IDS, GOOD_TRUTH, [1, 2]), ArgumentError, "at one cut-off"),
    "labels per label": (lambda: metrics.per_label_at_k(GOOD_IDS, [0, 1], 1), ArgumentError, "num_labels is missing"),
    "N": (lambda: metrics.inverse_propensities([1, 1], 2), ArgumentError, "num_train is 2"),
    "no N": (lambda: metrics.inverse_propensities([1, 1]), ArgumentError, "num_train is missing"),
    "count": (lambda: metrics.inverse_propensities([1, 9], 8), ArgumentError, r"counts\[1\] is 9"),
    "A": (lambda: metrics.inverse_propensities([1], 8, A=-1), ArgumentError, "A is -1"),
    "B": (lambda: metrics.inverse_propensities([1], 8, B=0), ArgumentError, "B is 0"),
}


def test_per_label() -> None:
    for k in (1, 3, 5):
        found = metrics.per_label_at_k(RANKING, csr(TRUTH, L), k)
        predicted = [[label in row[:k] for row in RANKING] for label in range(L)]
        true = [[label in row for row in TRUTH] for label in range(L)]
        hit = [[p and t for p, t in zip(*pair, strict=True)] for pair in zip(predicted, true, strict=True)]
        for counts, expected in ((found.predictions, predicted), (found.positives, true), (found.hits, hit)):
            assert counts.tolist() == [sum(row) for row in expected]
        assert found.f1.mean() == pytest.approx(metrics.macro_f1_at_k(RANKING, csr(TRUTH, L), k), abs=1e-12)
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(found.precision, found.hits / found.predictions)
            np.testing.assert_array_equal(found.recall, found.hits / found.positives)
    assert np.isnan(metrics.per_label_at_k(RANKING, csr(TRUTH, L), 1).precision[2])  # never predicted first
    header, first, *_ = found.rows([f"label {i}" for i in range(L)])
    assert header == ["label", "name", *found.columns()] and first == [0, "label 0", 1, 4, 1, 0.25, 1.0, 0.4]


def test_per_label_over_batches() -> None:
    sums = metrics.RankingMetrics(L, (3, 5))
    with pytest.raises(ArgumentError, match="before any instance"):
        sums.per_label(3)
    for rows in (slice(0, 1), slice(1, 4)):
        sums.update(RANKING[rows], csr(TRUTH[rows], L))
    once = metrics.per_label_at_k(RANKING, csr(TRUTH, L), 3)
    for name, column in sums.per_label(3).columns().items():
        np.testing.assert_array_equal(column, once.columns()[name])
    with pytest.raises(ArgumentError, match="k is 4, but these metrics count at 3, 5"):
        sums.per_label(4)


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case: str) -> None:
    call, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        call()


def test_a_refused_batch_changes_nothing() -> None:
    sums = metrics.RankingMetrics(3, 2)
    sums.update(GOOD_IDS, GOOD_TRUTH)
    before = sums.compute()
    with pytest.raises(ArgumentError):
        sums.update([[0, 1], [2, 2]], csr([[0], [1]], 3))  # the second row is wrong, the first is not
    assert sums.compute() == before
    assert sums.num_instances == 1


def test_torch_ids() -> None:
    torch = sys.modules.get("torch") or pytest.importorskip("torch")
    assert sx.metrics.precision_at_k(torch.tensor(RANKING), csr(TRUTH, L), 1) == 0.5
