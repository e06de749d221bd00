"""The numbers of reports: band arithmetic by hand, worst labels, connections, learning curves from metrics files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from report_tools import classifier, csr, epoch, step, write_lines
from sparsexmc.report import bands, connections, labels, scores, training_figures, training_log

# The constants of test_metrics.py: four instances, eight labels.
RANKING = np.array([[0, 1, 5, 2, 3], [0, 1, 2, 3, 4], [7, 0, 3, 1, 4], [0, 1, 2, 3, 4]])


TRUTH = csr([[0, 5], [1], [2, 3, 4, 6, 7], []], 8)
TRAIN = csr([[0, 1, 2], [0, 1], [0, 3], [0], [4], []], 8)


@pytest.fixture
def known() -> scores.Truth:
    return scores.truth(TRUTH, TRAIN, 0.55, 1.5)


@pytest.fixture
def predictions(known: scores.Truth) -> scores.Predictions:
    return scores.predictions("m", RANKING, known, [1, 3, 5])


# ---- arithmetic ----


def test_bands_by_hand(known: scores.Truth, predictions: scores.Predictions) -> None:
    found = bands.frequency_bands(known)
    assert found.titles == ["0", "1", "2+"]
    assert found.labels.tolist() == [3, 3, 2]
    assert found.positives.tolist() == [3, 3, 2]
    # Hits at 5: labels 0, 5 / 1 / 7, 3, 4 / none. At 1: label 0 / none / 7 / none.
    np.testing.assert_allclose(bands.precision_parts(predictions, found, 5), [0.1, 0.1, 0.1])
    np.testing.assert_allclose(bands.precision_parts(predictions, found, 1), [0.25, 0, 0.25])
    np.testing.assert_allclose(bands.recall_inside(predictions, found, 5), [2 / 3, 2 / 3, 1])
    assert bands.predicted(predictions, found, 5).tolist() == [2, 10, 8]
    q = known.weights
    assert q is not None
    # The best at 1: q5 (0 is frequent), q1, the largest of row 2.
    expected = np.array([q[7], 0, q[0]]) / (q[5] + q[1] + max(q[2], q[6]))
    np.testing.assert_allclose(bands.psp_parts(predictions, found, known, 1), expected)


def test_parts_add_up() -> None:
    rng = np.random.default_rng(1)
    n, num_labels = 300, 200
    Y = sp.random(n, num_labels, 0.03, "csr", rng=rng)
    # Label l is on about 1.5 l of 500 training instances, label 0 on none.
    train = csr(
        [np.flatnonzero(rng.random(num_labels) < 0.003 * np.arange(num_labels)).tolist() for _ in range(500)], 200
    )
    known = scores.truth(sx.data.Dataset(Y, Y).Y, train, 0.6, 2.6)
    ids = np.argsort(rng.random((n, num_labels)), axis=1)[:, :5]
    ids[::7, 3:] = -1  # nothing predicted
    predicted = scores.predictions("m", ids, known, [1, 5])
    found = bands.frequency_bands(known)
    assert len(found) > 2 and found.labels.sum() == num_labels
    for k in (1, 5):
        assert bands.precision_parts(predicted, found, k).sum() == pytest.approx(predicted.scores["P"][k])
        assert bands.psp_parts(predicted, found, known, k).sum() == pytest.approx(predicted.scores["PSP"][k])
    naive = [[label >= 0 and Y[i, label] != 0 for label in row] for i, row in enumerate(ids)]
    np.testing.assert_array_equal(predicted.hits, naive)


def test_band_titles() -> None:
    counts = [0, 1, 2, 4, 5, 9, 10, 49, 50, 99, 100, 999, 1000, 123_456]
    known = scores.Truth(csr([[0]], len(counts)), np.array(counts), 10**6, None, 0.55, 1.5)
    found = bands.frequency_bands(known)
    assert [title.replace("\N{EN DASH}", "-") for title in found.titles] == [
        *("0", "1", "2-4", "5-9", "10-49", "50-99", "100-999", "1,000-9,999", "100,000+")
    ]
    assert found.labels.tolist() == [1, 1, 2, 2, 2, 2, 2, 1, 1]
    nothing = scores.predictions("m", np.array([[1]]), known, [1])
    assert np.isnan(bands.recall_inside(nothing, found, 1)).tolist() == [False] + 8 * [True]


def test_worst_labels_by_hand(known: scores.Truth, predictions: scores.Predictions) -> None:
    worst = labels.worst_labels(predictions, known)
    # Row 2 loses 2 and 6; of its predictions 7, 0, 3, 1, 4 the labels 0 and 1 are wrong.
    assert worst == [labels.WorstLabel(2, 1, 0, [(0, 1), (1, 1)]), labels.WorstLabel(6, 1, 0, [(0, 1), (1, 1)])]
    assert labels.worst_labels(predictions, known, limit=1) == worst[:1]


def test_more_lost_positives_are_worse() -> None:
    Y = csr([[0, 1], [0, 1], [0], [0], [2]], 4)
    known = scores.truth(Y, None, 0.55, 1.5)
    ids = np.array([[3], [3], [0], [2], [3]])
    worst = labels.worst_labels(scores.predictions("m", ids, known, [1]), known)
    # Label 0 is lost three times of four, label 1 twice of twice, label 2 once.
    assert [(w.label, w.lost, w.found) for w in worst] == [(0, 3, 1), (1, 2, 0), (2, 1, 0)]
    assert worst[0].instead == [(3, 2), (2, 1)]


def test_count_cells(known: scores.Truth, predictions: scores.Predictions) -> None:
    cells = labels.count_cells(predictions, known)
    # Every label is true once; predicted 4, 4, 3, 4, 3, 1, 0, 1 times.
    assert cells.tolist() == [[0, 1, 0, 0], [0, 2, 0, 0], [0, 2, 0, 0], [0, 3, 0, 0]]
    assert [labels.cell_title(c).replace("\N{EN DASH}", "-") for c in range(5)] == ["0", "1", "2-3", "4-7", "8-15"]


def test_histogram_of_usage_has_an_open_end() -> None:
    counts = np.full(100, 7)
    counts[:3] = 5, 9, 900
    edges = training_figures.histogram_edges(connections.Usage(0, 1000, 1, counts))
    assert edges[0] == 5 and edges[-2] > 9 and edges[-1] < 40 and len(set(np.diff(edges))) == 1
    edges = training_figures.histogram_edges(connections.Usage(0, 1000, 1, counts[3:]))
    assert edges.tolist() == [7, 8]


def test_usage_of_random_connections() -> None:
    c = classifier(fan_in=8, num_labels=4000)
    (usage,) = connections.usage(c)
    assert usage.counts.sum() == usage.connections == usage.groups * 8
    assert usage.groups == 1000 and usage.share == 0.5
    assert abs(usage.counts - 500).max() < 6 * usage.random_deviation
    edges = np.arange(0, 1002)
    assert usage.random_histogram(edges).sum() == pytest.approx(16)
    assert edges[usage.random_histogram(edges).argmax()] == 500
    assert usage.random_histogram(np.array([0, 500, 1001])) == pytest.approx([8, 8], rel=0.03)


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
def test_learning_rates_are_those_of_the_engine(kind: str) -> None:
    """With plain SGD and a constant gradient, the bias of the output layer moves by the learning rate."""
    total = None if kind == "constant" else 9
    schedule = sx.Schedule(kind, warmup_steps=3, total_steps=total, final_share=0.1)
    c = classifier(num_labels=4, loss="squared_hinge", optimizer=sx.SGD(1e-3), schedule=schedule, batch_size=1)
    X, Y, moved = np.zeros((1, 16), np.float32), csr([[]], 4), []
    for _ in range(12):
        before = c.state_dict()["segments.0.bias"][0].astype(float)
        c.train_step(X, Y)
        after = c.state_dict()["segments.0.bias"][0].astype(float)
        moved.append((before - after) / (2 * (1 + before)))  # gradient of max(0, 1 + z)^2
    rates = training_log.learning_rates(c.config["schedule"], np.arange(1, 13), np.full(12, 1e-3))
    np.testing.assert_allclose(rates, moved, rtol=1e-3)


# ---- metrics files ----


def test_last_training_of_a_metrics_file(tmp_path: Path) -> None:
    first = [{"event": "start", "step": 0}, step(100), epoch(1, 150), step(200), epoch(2, 300)]
    path = write_lines(tmp_path / "m", *first, {"event": "start", "step": 0}, epoch(1, 40), end='{"event": "st')
    log = training_log.read(path)
    assert (log.steps, [record["step"] for record in log.epochs], log.last_step) == ([], [40], 40)
    assert log.knows(40) and not log.knows(150)
    resumed = training_log.read(write_lines(tmp_path / "m", *first, {"event": "start", "step": 150}, step(200, 9.0)))
    assert [record["loss"] for record in resumed.steps] == [1.0, 9.0]
    assert [record["step"] for record in resumed.epochs] == [150]
    without_starts = training_log.read(write_lines(tmp_path / "m", *first[1:], step(100), epoch(1, 150)))
    assert [record["step"] for record in without_starts.steps + without_starts.epochs] == [100, 150]


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"event": "step"}', '{"event": "epoch", "step": 3}', '{"step": 3}', "hello"]
)
def test_no_metrics_file(line: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "m", step(100))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(sx.DataError, match=r"m:2: not a line of a metrics file"):
        training_log.read(path)
