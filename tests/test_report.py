"""Reports: band arithmetic by hand, learning curves from metrics files, and pages of all kinds of models."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from harness import ON_DEVICE
from sparsexmc.cli import main
from sparsexmc.report import bands, connections, labels, output, scores, training_log

# The constants of test_metrics.py: four instances, eight labels.
RANKING = np.array([[0, 1, 5, 2, 3], [0, 1, 2, 3, 4], [7, 0, 3, 1, 4], [0, 1, 2, 3, 4]])


def csr(rows: list[list[int]], num_labels: int) -> sp.csr_matrix:
    indptr = np.cumsum([0, *map(len, rows)])
    return sp.csr_matrix(
        (np.ones(indptr[-1], np.float32), np.concatenate(rows).astype(int), indptr), (len(rows), num_labels)
    )


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


def write_lines(path: Path, *records: dict[str, Any], end: str = "") -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + end)
    return path


def step(number: int, loss: float = 1.0) -> dict[str, Any]:
    return {"event": "step", "epoch": 1, "step": number, "loss": loss, "base_lr": 0.1}


def epoch(number: int, at: int) -> dict[str, Any]:
    return {"event": "epoch", "epoch": number, "step": at, "loss": 1.0, "seconds": 1.0, "validation": {"P@1": 0.5}}


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


# ---- pages ----

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


class Page(HTMLParser):
    """Checks that tags are balanced, and collects what the page refers to."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe", "object", "base")
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def write(directory: Path, c: sx.Classifier, X: Any = X, Y: sp.csr_matrix = Y, **options: Any) -> Page:
    pytest.importorskip("matplotlib")
    ids = c.topk(X, min(5, c.num_labels))[1]
    path = sx.report.write(directory, c, ids, Y, **options)
    assert path == directory.resolve() / "index.html"
    return Page(path)


def test_page_with_everything(tmp_path: Path) -> None:
    c = classifier(rewiring=sx.Rewiring(method="rigl", interval=2, stop=9), dense_labels=8)
    c.label_names = [f"<b>$label_{i}$</b> & co" for i in range(LABELS)]
    c.fit(X, Y, 4, validation=0.2, metrics_file=tmp_path / "m.jsonl", progress=False)
    other = np.tile(np.arange(5), (INSTANCES, 1))
    page = write(
        tmp_path / "r",
        c,
        train_labels=Y,
        baselines={"_$other$": other},
        metrics_file=tmp_path / "m.jsonl",
        facts=[["what", "<i>fact</i>"]],
        A=0.6,
        B=2.6,
    )
    assert "PSP (A = 0.6, B = 2.6)" in page.text
    for words in (
        "popular labels",
        "_$other$",
        "<b>$label_",
        "<i>fact</i>",
        "recall@5",
        "Segment 1",
        "segments.1.indices",
    ):
        assert words in page.text
    assert "<b>" not in page.source and "<i>" not in page.source
    pictures = [reference for reference in page.references if not reference.startswith("#")]
    assert len(pictures) == 8 and all(reference.startswith("data:image/png;base64,") for reference in pictures)
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r"data:image/png;base64,[\w+/=]+", "", page.source))
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == sorted([*output.FIGURES, "index.html"])
    expected = 100 * sx.metrics.psp_at_k(c.topk(X, 5)[1], Y, 5, train_labels=Y, A=0.6, B=2.6)
    assert f"{expected:.2f}" in page.text
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_page_with_next_to_nothing(tmp_path: Path) -> None:
    """Dense only, without names, training labels, training, metrics file or rewiring."""
    page = write(tmp_path / "r", classifier(fan_in=None), metrics_file=tmp_path / "none.jsonl")
    for words in (
        "none.jsonl does not exist",
        "Every label reads every feature",
        "No PSP, no popular labels",
        "label 0",
    ):
        assert words in page.text
    assert page.source.count("<img") == 2


@pytest.mark.parametrize("num_labels", [1, 3])
def test_page_of_few_labels(num_labels: int, tmp_path: Path) -> None:
    Y = csr([[i % num_labels] if i % 2 else [] for i in range(INSTANCES)], num_labels)
    c = classifier(num_labels=num_labels, fan_in=None, hidden=8)
    page = write(tmp_path / "r", c, Y=Y, train_labels=Y[:2])
    assert "needs at least 3 training instances" in page.text
    assert "@5" not in page.text.replace("@5 ", "")


def test_page_of_sparse_features_without_any_positive(tmp_path: Path) -> None:
    c = classifier(sparse_input=True, hidden=16)
    page = write(
        tmp_path / "r", c, sp.csr_matrix(X), sp.csr_matrix((INSTANCES, LABELS), dtype=np.float32), train_labels=Y
    )
    assert "None: every test positive is among the first 5" in page.text
    assert "no rewiring" not in page.text and "trained without rewiring" in page.text


def test_metrics_file_of_another_training_is_noticed(tmp_path: Path) -> None:
    c = classifier(rewiring=sx.Rewiring(interval=1000))
    c.fit(X, Y, 1, validation=None, progress=False)
    page = write(tmp_path / "r", c, metrics_file=write_lines(tmp_path / "m", step(100), epoch(1, 170)))
    assert "may belong to another training" in page.text
    assert "no rewiring has been due yet" in page.text
    page = write(tmp_path / "r", c, metrics_file=write_lines(tmp_path / "m"))
    assert "has no line of a step or an epoch" in page.text


def test_only_a_report_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r").mkdir()
    c = classifier(fan_in=None)  # two figures, so it is quick
    write(tmp_path / "r", c, model_name="first")
    write(tmp_path / "r", c, model_name="second")
    assert "second" in (tmp_path / "r" / "index.html").read_text()

    def failing(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", failing)
        with pytest.raises(OSError, match="disk full"):
            write(tmp_path / "r", c, model_name="third")
    assert "second" in (tmp_path / "r" / "index.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["r"]
    (tmp_path / "r" / "thesis.tex").write_text("precious")
    with pytest.raises(sx.ArgumentError, match=r"holds 'thesis.tex' and is not an earlier report"):
        write(tmp_path / "r", c)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<p>hello</p>")
    with pytest.raises(sx.ArgumentError, match=r"holds 'index.html' and is not an earlier report"):
        write(tmp_path / "site", c)
    with pytest.raises(sx.ArgumentError, match="is a file"):
        write(tmp_path / "r" / "thesis.tex", c)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"train_labels": TRAIN}, r"train_labels has 8 columns, but the classifier has 40"),
        ({"baselines": {"popular labels": X}}, "'popular labels', which is taken"),
        ({"baselines": {"other": np.full((INSTANCES, 5), 40)}}, "40"),
        ({"cutoffs": [50]}, r"cutoffs=\[50\] holds none up to num_labels=40"),
        ({"label_names": ["a"]}, "label_names has 1 names"),
    ],
)
def test_wrong_arguments_write_nothing(options: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(sx.ArgumentError, match=match):
        write(tmp_path / "r", classifier(), **options)
    assert list(tmp_path.iterdir()) == []


# ---- command line ----


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory "data" of dense features and a model "model" of it."""
    root = tmp_path_factory.mktemp("trained")
    (root / "data").mkdir()
    for split in ("trn", "tst"):
        np.save(root / "data" / f"X_{split}.npy", X)
        sp.save_npz(root / "data" / f"Y_{split}.npz", Y)
    options = ["--epochs", "2", "--no-progress", "--set", "model.batch_size=8"]
    assert main(["train", str(root / "data"), "-o", str(root / "model"), *options]) == 0
    return root


def evaluate(trained: Path, *options: object) -> int:
    return main(["evaluate", str(trained / "model"), str(trained / "data"), *map(str, options)])


def test_command(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert evaluate(trained, "--report", tmp_path / "r") == 0
    printed = capsys.readouterr()
    assert "PSP" in printed.out and "macro-F1" in printed.out and str(tmp_path / "r" / "index.html") in printed.err
    page = Page(tmp_path / "r" / "index.html")
    assert "model on data" in page.text and "model.metrics.jsonl: 16 steps; 2 epochs" in page.text
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        assert main(["train", "data", "-o", "other", "--epochs", "1", "--no-progress"]) == 0
    assert evaluate(trained, "--report", tmp_path / "r", "--baseline", trained / "other", "--json") == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["baseline"].keys() == report["metrics"].keys()
    assert "other" in Page(tmp_path / "r" / "index.html").text


def test_command_errors(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def failure(*options: object) -> str:
        assert evaluate(trained, *options) == 2
        return capsys.readouterr().err

    assert "give --report DIR" in failure("--metrics-file", "x")
    assert "is the model itself" in failure("--baseline", trained / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        assert "pip install 'sparsexmc[report]'" in failure("--report", tmp_path / "r")
    pytest.importorskip("matplotlib")
    assert "nowhere: no such metrics file" in failure("--report", tmp_path / "r", "--metrics-file", "nowhere")
    assert "is not an earlier report" in failure("--report", trained / "data")
    assert list(tmp_path.iterdir()) == []


def test_few_labels_need_no_cutoffs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    c = classifier(num_labels=3, fan_in=None)
    c.save(tmp_path / "m")
    (tmp_path / "d").mkdir()
    for split in ("trn", "tst"):
        np.save(tmp_path / "d" / f"X_{split}.npy", X)
        sp.save_npz(tmp_path / "d" / f"Y_{split}.npz", Y[:, :3])
    assert main(["evaluate", str(tmp_path / "m"), str(tmp_path / "d"), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["metrics"]["P"]) == ["1", "3"]
