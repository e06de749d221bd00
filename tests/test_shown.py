"""Objects as they show themselves: short text, and tables in notebooks, whatever the names hold."""

from __future__ import annotations

import json
import pickle
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from sparsexmc.report.scores import Scores

EVIL = "<script>alert('&\"')</script></td></table>"
TAGS = {"table", "caption", "thead", "tbody", "tr", "th", "td"}


class Cells(HTMLParser):
    """The cells of tables; fails where anything but a table stands, or one that is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        assert tag in TAGS and all(name == "style" for name, _ in attributes)
        self.open.append(tag)
        if tag in ("tr", "caption"):
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] == "caption":
            self.rows[-1].append(data)
        else:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """Every object that shows itself, from one small training with names that hold markup."""
    rng = np.random.default_rng(2)
    X = sp.random(300, 40, 0.2, "csr", np.float32, rng)
    Y = sp.csr_matrix((np.ones(300, np.float32), (np.arange(300), rng.integers(0, 6, 300))), (300, 6))
    Y = Y.tolil()
    Y[:, 0] = 1
    Y = Y.tocsr()
    names = [EVIL, *"bcdef"]
    data = sx.data.Dataset(X, Y, names, X_test=X[:50], Y_test=Y[:50], name=EVIL)
    texts = sx.data.TextDataset([EVIL] * 300, Y, names, name=EVIL)
    settings = {"model": {"hidden": 8, "fan_in": 4, "group_size": 2, "dense_labels": 2, "num_threads": 1}}
    settings["training"] = {"validation": 0.2}
    model = sx.train(data, settings=settings, epochs=2, progress=False)
    return {
        "Dataset": data,
        "TextDataset": texts,
        "Model": model,
        "Classifier": model.classifier,
        "History": model.history,
        "Scores": model.evaluate(data, cutoffs=(1, 3)),
        "MemoryPlan": model.classifier.memory.plan,
        "Memory": model.classifier.memory,
    }


NAMES = ("Dataset", "TextDataset", "Model", "Classifier", "History", "Scores", "MemoryPlan", "Memory")


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_well_formed(name: str, shown: dict[str, Any]) -> None:
    cells = Cells(shown[name]._repr_html_())
    assert cells.rows[0][0].startswith(name)
    assert len(cells.rows) > 2
    assert any(EVIL in cell for row in cells.rows for cell in row) == (name in ("Dataset", "TextDataset"))


@pytest.mark.parametrize("name", NAMES)
def test_text_is_short(name: str, shown: dict[str, Any]) -> None:
    lines = repr(shown[name]).splitlines()
    assert len(lines) <= 8 and max(map(len, lines)) <= 400
    if name != "Scores":
        assert len(lines) == 1 and lines[0].startswith(name + "(")


def test_what_they_say(shown: dict[str, Any]) -> None:
    history, scores = shown["History"], shown["Scores"]
    assert (
        repr(history)
        == f"History(2 epochs, the best is {history.best_epoch} with P@1 {100 * history.best_value:.2f} %)"
    )
    best = next(row for row in Cells(history._repr_html_()).rows if "(best)" in row[0])
    assert best[0] == f"{history.best_epoch} (best)" and f"{100 * history.best_value:.2f}" in best
    assert repr(scores).splitlines()[:2] == [
        "percent        @1      @3",
        f"P        {100 * scores['P'][1]:8.2f}{100 * scores['P'][3]:8.2f}",
    ]
    assert ["labels", "6, of which 2 read all features"] in Cells(shown["Classifier"]._repr_html_()).rows
    assert [EVIL, "300 training instances"] in Cells(shown["Dataset"]._repr_html_()).rows
    plan = shown["MemoryPlan"]
    assert [row[0] for row in Cells(plan._repr_html_()).rows[2:]] == list(plan)


def test_nothing_to_show() -> None:
    assert repr(Scores()) == "percent  "
    assert repr(sx.History(None)) == "History(0 epochs)"
    assert len(Cells(sx.History(None)._repr_html_()).rows) == 2
    empty = sx.data.Dataset(np.zeros((0, 2), np.float32), sp.csr_matrix((0, 3)))
    assert ["labels", "3, 0.0 per instance"] in Cells(empty._repr_html_()).rows


def test_scores_are_still_a_dictionary(shown: dict[str, Any]) -> None:
    scores = shown["Scores"]
    assert json.loads(json.dumps(scores))["P"] == {str(k): v for k, v in scores["P"].items()}
    assert pickle.loads(pickle.dumps(scores)) == scores == dict(scores)
