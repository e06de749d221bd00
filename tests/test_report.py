"""Reports as pages: of all kinds of models, self-contained, written whole or not at all, and the command line."""

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
from report_tools import INSTANCES, LABELS, X, Y, classifier, csr, epoch, step, write_lines
from sparsexmc.cli import main
from sparsexmc.report import output


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
        "predicted instead",
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
        patch.setattr(Path, "write_bytes", failing)
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
        ({"train_labels": Y[:, :8]}, r"train_labels has 8 columns, but the classifier has 40"),
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
