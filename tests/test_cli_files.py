"""Files and numbers on the command line: standard input, predictions as JSON lines and tables, 1e6 and 10KB."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cli_tools import failure, make_split, run
from sparsexmc._checks import parse_bytes
from sparsexmc.model import toml

pytest.importorskip("sklearn")
TRAIN = ["--set", "model.hidden=16", "--set", "model.optimizer.lr=0.05", "--no-progress"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads texts."""
    root = tmp_path_factory.mktemp("texts")
    rows = ["red wine", "white wine", "old fish", "new fish"] * 20
    table = "".join(f"{i};{text};{'|'.join(text.split())}\n" for i, text in enumerate(rows))
    (root / "train.csv").write_text("id;body;tags\n" + table)
    options = ["--text-column", "body", "--labels-column", "tags", "--label-separator", "|", "--epochs", "2.5e1"]
    assert run("train", root / "train.csv", "-o", root / "m", *options, *TRAIN) == 0
    assert run("evaluate", root / "m", root / "train.csv", *options[:6]) == 0
    with pytest.raises(sx.DataError, match="no column 'text'"):
        sx.data.load_texts(root / "train.csv")
    return root / "m"


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_standard_input(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["red wine", "", "old fish"]
    forms = {
        "lines": "red wine\n\nold fish",
        "json": "".join(json.dumps({"text": text}) + "\n" for text in texts),
    }
    found = {}
    for form, content in forms.items():
        stdin(monkeypatch, content)
        assert run("predict", model, "-", "-k", 2, "-o", "-") == 0
        found[form] = capsys.readouterr().out.splitlines()
    assert found["lines"] == found["json"] and len(found["lines"]) == 3
    assert {item.split(":")[0] for item in found["lines"][0].split("\t")} == {"red", "wine"}
    stdin(monkeypatch, "")
    assert run("predict", model, "-") == 0
    assert capsys.readouterr().out == ""
    assert "-: no such file" in failure(capsys, "evaluate", model, "-")


def test_json_lines_and_tables(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new.txt").write_text("red wine\nold fish\n")
    files = [tmp_path / f"x.{ending}" for ending in ("txt", "jsonl", "csv")]
    for file in files:
        assert run("predict", model, tmp_path / "new.txt", "-k", 2, "-o", file) == 0
    lines = [[item.split(":") for item in line.split("\t")] for line in files[0].read_text().splitlines()]
    objects = [json.loads(line) for line in files[1].read_text().splitlines()]
    assert [entry["instance"] for entry in objects] == [0, 1]
    assert [
        [[label, f"{score:g}"] for label, score in zip(entry["labels"], entry["scores"], strict=True)]
        for entry in objects
    ] == lines
    with open(files[2], newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["instance"], row["rank"], row["label"], row["score"]) for row in rows] == [
        (str(instance), str(rank), *item) for instance, line in enumerate(lines) for rank, item in enumerate(line, 1)
    ]
    assert run("predict", model, tmp_path / "new.txt", "-k", 1, "--ids", "--format", "jsonl") == 0
    assert isinstance(json.loads(capsys.readouterr().out.splitlines()[0])["labels"][0], int)
    assert "--format npz is for files" in failure(capsys, "predict", model, tmp_path / "new.txt", "--format", "npz")


def test_names_of_instances_and_quotes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A label with a tab cannot stand in a line of text; JSON and tables hold it."""
    X, Y = make_split(100, 0)
    labels = [f'a "{i}", b' for i in range(Y.shape[1])]
    names = [f"doc {i}" for i in range(100)]
    sx.data.save(tmp_path / "set", sx.data.Dataset(X, Y, labels, instance_names=names))
    assert run("train", tmp_path / "set", "-o", tmp_path / "m", "--epochs", 1, *TRAIN) == 0
    for form in ("jsonl", "csv"):
        assert run("predict", tmp_path / "m", tmp_path / "set", "-k", 1, "-o", tmp_path / f"x.{form}") == 0
    entries = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    with open(tmp_path / "x.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [entry["name"] for entry in entries] == [row["name"] for row in rows] == names
    assert [entry["labels"][0] for entry in entries] == [row["label"] for row in rows]
    assert all(row["label"] in labels for row in rows)


def test_features_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    X, Y = make_split(100, 0)
    sx.data.save(tmp_path / "set", sx.data.Dataset(X, Y))
    assert run("train", tmp_path / "set", "-o", tmp_path / "m", "--epochs", 1, *TRAIN) == 0
    assert run("predict", tmp_path / "m", tmp_path / "set", "-k", 2) == 0
    expected = capsys.readouterr().out.splitlines()[-100:]
    rows = [" " + " ".join(f"{c}:{v:g}" for c, v in zip(x.indices, x.data, strict=True)) for x in X[:3]]
    stdin(monkeypatch, "\n".join(rows))
    assert run("predict", tmp_path / "m", "-", "-k", 2) == 0
    assert capsys.readouterr().out.splitlines() == expected[:3]


@pytest.mark.parametrize(
    ("text", "size"),
    [("10KB", 10_000), ("1e6", 10**6), ("1_000_000", 10**6), ("1.5e3 KiB", 1_536_000), ("4GB", 4 * 10**9)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes("memory_limit", text) == size


def test_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    plan = ("plan", "--in-features", "768", "--json")
    plans = []
    for number in ("1000000", "1e6", "1_000_000"):
        assert run(*plan, "--num-labels", number) == 0
        plans.append(json.loads(capsys.readouterr().out)["total"])
    assert len(set(plans)) == 1
    for number in ("1.5", "1e99", "x", "nan"):
        with pytest.raises(SystemExit):
            run(*plan, "--num-labels", number)
        assert "is no whole number; write 250000, 250_000 or 2.5e5" in capsys.readouterr().err
    assert "memory_limit" in failure(capsys, *plan, "--num-labels", "1e6", "--memory-limit", "10_KB")
    assert toml.parse_override("model.num_labels=1e6") == {"model": {"num_labels": 1_000_000}}
    assert isinstance(toml.parse_override("model.num_labels=1e6")["model"]["num_labels"], int)
    assert isinstance(toml.parse_override("model.dense_labels=1.0")["model"]["dense_labels"], float)
    assert toml.parse_override("model.memory_limit=10KB") == {"model": {"memory_limit": "10KB"}}


def test_a_test_part_without_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = make_split(60, 0)
    sx.data.save(tmp_path / "set", sx.data.Dataset(X, Y, X_test=X[:0], Y_test=Y[:0]))
    assert run("train", tmp_path / "set", "-o", tmp_path / "m", "--epochs", 1, *TRAIN) == 0
    assert "no test instances, so no metrics" in capsys.readouterr().out
    assert "no instances to measure on" in failure(capsys, "evaluate", tmp_path / "m", tmp_path / "set")
    sx.data.save(tmp_path / "none", sx.data.Dataset(X[:0], Y[:0]))
    assert "no training instances" in failure(capsys, "train", tmp_path / "none", "-o", tmp_path / "n")
    assert not (tmp_path / "n").exists()
    with pytest.raises(sx.ArgumentError, match="have no rows, of which there is no mean"):
        sx.metrics.precision_at_k(np.zeros((0, 5), np.int64), sp.csr_matrix((0, 9)), 1)


def test_settings_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_bytes(b"\xef\xbb\xbf[training]\nepochs = 3\n")
    assert toml.read(tmp_path / "run.toml") == {"training": {"epochs": 3}}
