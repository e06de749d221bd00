"""Labels by name: ids for lists of names, names of predictions, and evaluation where labels come in another order."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cli_tools import failure, run
from sparsexmc.data import align_labels, from_lists, to_names

X3 = np.eye(3, dtype=np.float32)
LISTS = [["libc6", "python3"], [], ["bash", "libc6", "bash"]]


def test_ids_do_not_depend_on_the_order_of_instances() -> None:
    data = from_lists(X3, LISTS, name="packages")
    assert data.label_names == ["bash", "libc6", "python3"]
    assert data.Y.toarray().tolist() == [[0, 1, 1], [0, 0, 0], [1, 1, 0]]
    assert from_lists(X3, LISTS[::-1]).label_names == data.label_names
    # What only the test instances have comes last, and moves no id.
    tested = from_lists(X3, LISTS, X_test=X3[:2], labels_test=[["aaa", "zsh"], ["bash"]])
    assert tested.label_names == ["bash", "libc6", "python3", "aaa", "zsh"]
    assert tested.Y.toarray()[:, :3].tolist() == data.Y.toarray().tolist()
    assert tested.Y_test.toarray().tolist() == [[0, 0, 0, 1, 1], [1, 0, 0, 0, 0]]
    given = from_lists(X3, LISTS, label_names=["python3", "zsh", "libc6", "bash"])
    assert given.Y.toarray().tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]]


def test_names_that_sort_by_code_point() -> None:
    assert from_lists(X3, [["é", "z"], ["Z", "a b"], ["日本"]]).label_names == ["Z", "a b", "z", "é", "日本"]


WRONG_LISTS: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "text": (["ab", "c", "d"], {}, sx.DTypeError, r"labels\[0\] is 'ab'; pass a list of names"),
    "none": ([["a"], None, []], {}, sx.DTypeError, r"labels\[1\] is None"),
    "number": ([["a"], [7], []], {}, sx.ArgumentError, r"labels\[1\]\[0\] is 7, not text"),
    "nested": ([["a"], [["b"]], []], {}, sx.ArgumentError, r"labels\[1\]\[0\] is \['b'\], not text"),
    "empty": ([["a"], ["b", ""], []], {}, sx.ArgumentError, r"labels\[1\]\[1\] is empty"),
    "blank": ([["a"], [" "], []], {}, sx.ArgumentError, r"labels\[1\]\[0\] is empty"),
    "line break": ([["a\nb"], [], []], {}, sx.ArgumentError, r"labels\[0\]\[0\] 'a\\nb' holds a line break or tab"),
    "tab": ([["a\tb"], [], []], {}, sx.ArgumentError, r"holds a line break or tab"),
    "surrogate": ([["\ud800"], [], []], {}, sx.ArgumentError, "not UTF-8"),
    "rows": ([["a"], []], {}, sx.ArgumentError, "X has 3 rows and Y has 2"),
    "unknown": (LISTS, {"label_names": ["bash"]}, sx.ArgumentError, r"labels\[0\] holds 'libc6', which is not in"),
    "twice": (LISTS, {"label_names": ["a", "b", "a"]}, sx.ArgumentError, "label_names holds 'a' twice, as 0 and 2"),
    "bad name": (LISTS, {"label_names": ["a", ""]}, sx.ArgumentError, r"label_names\[1\] is empty"),
}


@pytest.mark.parametrize("case", WRONG_LISTS)
def test_wrong_lists(case: str) -> None:
    labels, options, error, message = WRONG_LISTS[case]
    with pytest.raises(error, match=message):
        from_lists(X3, labels, **options)


def test_names_of_predictions() -> None:
    data = from_lists(X3, LISTS)
    c = sx.Classifier(3, 3, fan_in=None, rewiring=None, batch_size=3)
    c.label_names = data.label_names
    for _ in range(200):
        c.train_step(data.X, data.Y)
    _, ids = c.topk(data.X, 2)
    names = to_names(ids, c.label_names)
    assert set(names[0]) == {"libc6", "python3"} and set(names[2]) == {"bash", "libc6"}
    assert to_names([[2, -1], [-1, -1]], data.label_names) == [["python3"], []]
    assert to_names(np.empty((0, 5), int), data.label_names) == []
    for wrong, message in (([[3]], "ids holds 3, but there are 3"), ([[-2]], "ids holds -2"), ([1], "shape")):
        with pytest.raises(sx.ArgumentError, match=message):
            to_names(wrong, data.label_names)
    with pytest.raises(sx.ArgumentError, match="label_names is None"):
        to_names(ids, None)


def test_align_labels() -> None:
    data = from_lists(X3, LISTS, X_test=X3, labels_test=LISTS)
    same, unknown = align_labels(data, ["bash", "libc6", "python3"])
    assert same is data and unknown == []
    aligned, unknown = align_labels(data, ["zsh", "python3", "bash"])
    assert unknown == ["libc6"] and aligned.label_names == ["zsh", "python3", "bash", "libc6"]
    assert aligned.Y.toarray().tolist() == [[0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 1]]
    assert (aligned.Y_test != aligned.Y).nnz == 0
    assert aligned.Y.has_sorted_indices
    doubled = sx.data.Dataset(data.X, data.Y, ["a", "a", "b"])
    assert align_labels(doubled, ["a", "a", "b"])[0] is doubled  # the same list needs no matching
    with pytest.raises(sx.ArgumentError, match=r"dataset\.label_names holds 'a' twice"):
        align_labels(doubled, ["a", "b", "c"])
    with pytest.raises(sx.ArgumentError, match="label_names holds 'x' twice"):
        align_labels(data, ["x", "x"])
    with pytest.raises(sx.ArgumentError, match="no label_names"):
        align_labels(sx.data.Dataset(data.X, data.Y), ["x"])


def test_dataset_names_must_be_text() -> None:
    data = from_lists(X3, LISTS)
    with pytest.raises(sx.ArgumentError, match=r"label_names\[1\] is 5, not text"):
        sx.data.Dataset(data.X, data.Y, ["a", 5, "c"])


def test_names_that_no_file_can_hold(tmp_path: Path) -> None:
    c = sx.Classifier(3, 2, fan_in=None, rewiring=None)
    for name in ("a\nb", "\ud800", 7):
        with pytest.raises(sx.ArgumentError, match=r"label_names\[1\]"):
            c.label_names = ["a", name]
    for name in ("a\nb", "\ud800"):
        with pytest.raises(sx.ArgumentError, match="the name .* (line break|not Unicode)"):
            sx.data.save(tmp_path / "set", sx.data.Dataset(X3, sp.csr_matrix(np.eye(3)), ["a", name, "c"]))
    assert not list(tmp_path.iterdir())


# ---- the command line ----


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """set: twelve features, each of which tells a label; model: trained on it."""
    root = tmp_path_factory.mktemp("names")
    X = np.repeat(np.eye(12, dtype=np.float32), 10, axis=0)
    names = [f"label é {i}" for i in range(12)]
    test = np.eye(12, dtype=np.float32)
    data = sx.data.Dataset(X, sp.csr_matrix(X), names, X_test=test, Y_test=sp.csr_matrix(test))
    sx.data.save(root / "set", data)
    options = ["--set", "model.optimizer.lr=0.1", "--epochs", "3", "--no-progress"]
    assert run("train", root / "set", "-o", root / "model", *options) == 0
    return root


def reordered(root: Path, target: Path, names: list[str] | None, columns: list[int], width: int = 12) -> Path:
    """The data of `root` whose label i is at columns[i], named as given."""
    data = sx.data.load(root / "set")

    def move(Y: sp.csr_matrix) -> sp.csr_matrix:
        return sp.csr_matrix((Y.data, np.asarray(columns)[Y.indices], Y.indptr), shape=(Y.shape[0], width))

    moved = sx.data.Dataset(data.X, move(data.Y), names, X_test=data.X_test, Y_test=move(data.Y_test))
    sx.data.save(target, moved)
    return target


def metrics(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert run("evaluate", *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_checkpoint_keeps_names_and_predict_writes_them(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sx.load(trained / "model").label_names == [f"label é {i}" for i in range(12)]
    assert run("predict", trained / "model", trained / "set", "-k", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(":")[0] for line in lines] == [f"label é {i}" for i in range(12)]
    assert run("predict", trained / "model", trained / "set", "-k", 1, "--ids") == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [str(i) for i in range(12)]


def test_per_label_file_has_the_names(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    assert run("evaluate", trained / "model", trained / "set", "-k", 1, "--per-label", path) == 0
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [f"label é {i}" for i in range(12)]
    assert {row["precision"] for row in rows} == {"1.0"} and [row["label"] for row in rows] == list(map(str, range(12)))
    assert run("evaluate", trained / "model", trained / "set", "--per-label", trained / "model" / "x.csv") == 2


def test_evaluation_matches_labels_by_name(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = metrics(capsys, trained / "model", trained / "set")
    assert expected["metrics"]["P"]["1"] == 1.0
    backwards = [11 - i for i in range(12)]
    names = [f"label é {11 - i}" for i in range(12)]
    other = reordered(trained, tmp_path / "other", names, backwards)
    assert metrics(capsys, trained / "model", other) == expected
    # Training labels of another order give the same propensities.
    assert metrics(capsys, trained / "model", trained / "set", "--train", other) == expected
    # A filter has the ids of its data: here it blanks what is true.
    (other / "filter_labels_test.txt").write_text("".join(f"{row} {backwards[row]}\n" for row in range(12)))
    assert metrics(capsys, trained / "model", other)["metrics"]["P"]["1"] == 0.0
    assert run("predict", trained / "model", other, "-k", 12, "--ids") == 0
    ids = [{int(item.split(":")[0]) for item in line.split(",")} for line in capsys.readouterr().out.splitlines()]
    assert ids == [set(range(12)) - {row} for row in range(12)]
    # Without names ids are compared, and here they mean something else.
    nameless = reordered(trained, tmp_path / "nameless", None, backwards)
    assert metrics(capsys, trained / "model", nameless)["metrics"]["P"]["1"] == 0.0


def test_unknown_labels_count_as_missed(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [*(f"label é {i}" for i in range(9)), "new 0", "new 1", "new 2"]
    other = reordered(trained, tmp_path / "other", names, list(range(12)))
    report = metrics(capsys, trained / "model", other)
    assert report["unknown_labels"] == 3 and report["unknown_positives"] == 3
    assert report["metrics"]["P"]["1"] == 0.75 and report["metrics"]["R"]["5"] == 0.75
    assert report["metrics"]["coverage"]["1"] == 0.75
    assert run("evaluate", trained / "model", other) == 0
    assert "3 labels (3 positives) unknown to the model count as missed" in capsys.readouterr().out
    # A filter in the data's ids, of an unknown label and of a known one.
    (other / "filter_labels_test.txt").write_text("0 0\n11 11\n")
    assert metrics(capsys, trained / "model", other)["metrics"]["P"]["1"] == pytest.approx(8 / 12)
    # Fewer labels than the model knows are no fault, whatever their order.
    few = reordered(trained, tmp_path / "few", ["label é 1", "label é 0"], [i % 2 for i in range(12)], 2)
    assert "unknown_labels" not in metrics(capsys, trained / "model", few)


def test_baseline_and_report_of_labels_in_another_order(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The baseline knows the labels backwards and lacks the first, the data has one that neither knows."""
    pytest.importorskip("matplotlib")
    backwards = [f"label é {11 - i}" for i in range(11)] + ["its own"]
    data = reordered(trained, tmp_path / "backwards", backwards, [11 - i for i in range(12)])
    options = ["--set", "model.optimizer.lr=0.1", "--epochs", "3", "--no-progress"]
    assert run("train", data, "-o", tmp_path / "baseline", *options) == 0
    names = [*(f"label é {i}" for i in range(11)), "new"]
    other = reordered(trained, tmp_path / "other", names, list(range(12)))
    (other / "filter_labels_test.txt").write_text("5 5\n")
    arguments = (trained / "model", other, "--baseline", tmp_path / "baseline", "--report", tmp_path / "report")
    report = metrics(capsys, *arguments)
    assert report["unknown_labels"] == 1 and report["filtered_pairs"] == 1
    assert report["metrics"]["P"]["1"] == pytest.approx(10 / 12)  # all but the unknown and the blanked one
    assert report["baseline"]["P"]["1"] == pytest.approx(9 / 12)  # nor the first label
    assert "new" in (tmp_path / "report" / "index.html").read_text()


def test_labels_that_cannot_be_matched(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    identity = list(range(12))
    strange = reordered(trained, tmp_path / "strange", [f"x{i}" for i in range(12)], identity)
    assert "the model knows none of its labels, such as 'x0'" in failure(capsys, "evaluate", trained / "model", strange)
    twice = reordered(trained, tmp_path / "twice", ["same"] * 12, identity)
    assert "holds 'same' twice" in failure(capsys, "evaluate", trained / "model", twice)
    nameless = reordered(trained, tmp_path / "nameless", None, identity, 13)
    assert "has 13 labels and the model 12" in failure(capsys, "evaluate", trained / "model", nameless)
    # Predicting needs no labels at all.
    assert run("predict", trained / "model", strange, "-k", 1) == 0


def test_names_with_tabs_are_refused_on_a_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = sx.load(trained / "model")
    model.label_names = [f"a\tb{i}" for i in range(12)]
    model.save(tmp_path / "tabs")
    assert "holds a tab" in failure(capsys, "predict", tmp_path / "tabs", trained / "set")
    assert run("predict", tmp_path / "tabs", trained / "set", "--ids") == 0


def test_a_baseline_without_names_has_the_order_of_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its labels are not those of the first model, which orders the same names the other way round."""
    from cli_tools import SMALL, make_split

    (X, Y), (X_test, Y_test) = make_split(300, 1), make_split(80, 2)
    names = [f"label {i}" for i in range(Y.shape[1])]
    back = np.arange(Y.shape[1])[::-1]
    sx.data.save(tmp_path / "named", sx.data.Dataset(X, Y, names, X_test=X_test, Y_test=Y_test))
    sx.data.save(tmp_path / "plain", sx.data.Dataset(X, Y, X_test=X_test, Y_test=Y_test))
    turned = sx.data.Dataset(X, Y[:, back], names[::-1], X_test=X_test, Y_test=Y_test[:, back])
    sx.data.save(tmp_path / "turned", turned)
    for data, model in (("plain", "a"), ("turned", "b")):
        assert run("train", tmp_path / data, "-o", tmp_path / model, *SMALL) == 0
    capsys.readouterr()
    assert run("evaluate", tmp_path / "a", tmp_path / "named", "--json") == 0
    alone = json.loads(capsys.readouterr().out)["metrics"]["P"]
    command = ("evaluate", tmp_path / "b", tmp_path / "named", "--baseline", tmp_path / "a", "--json")
    assert run(*command) == 0
    assert json.loads(capsys.readouterr().out)["baseline"]["P"] == alone


def test_an_empty_test_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cli_tools import SMALL, make_split

    X, Y = make_split(100, 1)
    sx.data.save(tmp_path / "data", sx.data.Dataset(X, Y, X_test=X[:0], Y_test=Y[:0]))
    assert run("train", tmp_path / "data", "-o", tmp_path / "m", *SMALL) == 0
    assert "no test instances" in capsys.readouterr().out
    assert "at least one row" in failure(capsys, "evaluate", tmp_path / "m", tmp_path / "data")
    with pytest.raises(sx.ArgumentError, match="no training instances"):
        sx.train(sx.data.Dataset(X[:0], Y[:0]))
