"""Raw texts: reading them, counting tokens, and models that are trained on them."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cli_tools import failure, run
from sparsexmc.data import TextVectorizer, load_texts, read_texts
from sparsexmc.model import toml as cfg

pytest.importorskip("sklearn")

ANIMALS = {"ant": "crawls", "cat": "meows softly", "cow": "moos in fields", "dog": "barks loudly", "owl": "hoots late"}
SMALL = ["--set", "model.hidden=32", "--set", "model.optimizer.lr=0.05", "--epochs", "12", "--no-progress"]


def sentences(instances: int, seed: int) -> list[tuple[str, list[str]]]:
    """Texts about one or two animals that do not name them, and the names as labels."""
    rng = np.random.default_rng(seed)
    entries = []
    for _ in range(instances):
        chosen = sorted(rng.choice(list(ANIMALS), rng.integers(1, 3), replace=False).tolist())
        entries.append((f"One {' AND one '.join(ANIMALS[animal] for animal in chosen)}.", chosen))
    return entries


def write_jsonl(path: Path, entries: list[tuple[str, list[str]]]) -> None:
    path.write_text("".join(json.dumps({"text": text, "labels": labels}) + "\n" for text, labels in entries))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """set: trn.jsonl and tst.jsonl; model: trained on it."""
    root = tmp_path_factory.mktemp("raw")
    (root / "set").mkdir()
    write_jsonl(root / "set" / "trn.jsonl", sentences(200, 0))
    write_jsonl(root / "set" / "tst.jsonl", sentences(40, 1))
    assert run("train", root / "set", "-o", root / "model", *SMALL) == 0
    return root


# ---- reading ----


def test_forms_of_the_same_texts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '\ufeff{"text": "one two", "labels": ["b", "a"], "id": 7}\r\n{"text": "", "labels": []}\n'
        '{"labels": ["é"], "text": "x\\ty"}\n'
    )
    (tmp_path / "a.tsv").write_text("one two\tb\ta\r\n\t\nx y\té")
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "trn_X.txt").write_text("one two\n\nx y\n")
    (tmp_path / "lines" / "Y.txt").write_text("a\nb\né\n")
    (tmp_path / "lines" / "trn_X_Y.txt").write_text("3 3\n0:1 1:1\n\n2:1\n")
    (tmp_path / "lines" / "trn_filter_labels.txt").write_text("0 2\n")
    for name in ("a.jsonl", "a.tsv", "lines"):
        data = load_texts(tmp_path / name)
        assert [text.replace("\t", " ") for text in data.texts] == ["one two", "", "x y"]
        assert data.label_names == ["a", "b", "é"]
        assert data.Y.toarray().tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert data.filter.toarray().tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert read_texts(tmp_path / "lines" / "trn_X.txt") == ["one two", "", "x y"]
    with pytest.raises(sx.ArgumentError, match=r"holds raw texts; read it with sparsexmc\.data\.load_texts"):
        sx.data.load(tmp_path / "lines")


def test_ids_follow_labels_txt_where_there_is_one(trained: Path, tmp_path: Path) -> None:
    assert load_texts(trained / "set").label_names == sorted(ANIMALS)
    write_jsonl(tmp_path / "trn.jsonl", sentences(20, 0))
    (tmp_path / "labels.txt").write_text("owl\nyak\ncow\ndog\ncat\nant\n")
    data = load_texts(tmp_path)
    assert data.label_names == ["owl", "yak", "cow", "dog", "cat", "ant"] and data.Y.getnnz(axis=0)[1] == 0
    (tmp_path / "labels.txt").write_text("owl\ncow\ndog\nant\n")
    with pytest.raises(sx.DataError, match=r"trn\.jsonl:\d+: the label 'cat' is not in labels\.txt"):
        load_texts(tmp_path)


BAD_LINES = {
    "not JSON": ('{"text": "a", "labels": ["b"}', "not JSON: .* at column 29"),
    "cut off": ('{"text": "a", "lab', "not JSON"),
    "a word": ("word", "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "list": ('["a"]', 'no "text"'),
    "no text": ('{"labels": ["a"]}', 'no "text"'),
    "text is a number": ('{"text": 3, "labels": ["a"]}', 'no "text"'),
    "no labels": ('{"text": "a"}', 'no "labels"; write "labels": \\[\\]'),
    "labels are text": ('{"text": "a", "labels": "b"}', "\"labels\" is 'b'; write a list"),
    "number": ('{"text": "a", "labels": ["b", 3]}', "a label is 3, not text"),
    "null": ('{"text": "a", "labels": [null]}', "a label is None, not text"),
    "empty": ('{"text": "a", "labels": [""]}', "a label is empty"),
    "line break": ('{"text": "a", "labels": ["b\\nc"]}', "line break or tab"),
    "tab": ('{"text": "a", "labels": ["b\\tc"]}', "line break or tab"),
    "surrogate": ('{"text": "a", "labels": ["\\udc00"]}', "not UTF-8"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_lines_are_named(case: str, tmp_path: Path) -> None:
    line, message = BAD_LINES[case]
    (tmp_path / "x.jsonl").write_text(f'{{"text": "a", "labels": ["b"]}}\n{line}\n')
    with pytest.raises(sx.DataError, match=r"x\.jsonl:2: .*" + message):
        load_texts(tmp_path / "x.jsonl")


def test_bad_files(tmp_path: Path) -> None:
    for name in ("x.jsonl", "x.tsv", "x.txt"):
        (tmp_path / name).write_bytes(b'{"text": "a", "labels": []}\n\xff\n')
        with pytest.raises(sx.DataError, match=r"x\.\w+:2: not UTF-8"):
            read_texts(tmp_path / name) if name == "x.txt" else load_texts(tmp_path / name)
    (tmp_path / "x.tsv").write_text("a\tb\na\t\tb\n")
    with pytest.raises(sx.DataError, match=r"x\.tsv:2: a label is empty"):
        load_texts(tmp_path / "x.tsv")
    (tmp_path / "x.jsonl").write_text("")
    with pytest.raises(sx.DataError, match=r"x\.jsonl:1: the file is empty"):
        load_texts(tmp_path / "x.jsonl")
    with pytest.raises(sx.ArgumentError, match="cannot read .*absent"):
        load_texts(tmp_path / "absent.jsonl")
    with pytest.raises(sx.ArgumentError, match=r"no \.jsonl, \.tsv, \.csv or fastText file"):
        load_texts(tmp_path / "x.txt")
    (tmp_path / "set").mkdir()
    with pytest.raises(sx.ArgumentError, match="holds no training texts"):
        load_texts(tmp_path / "set")
    (tmp_path / "set" / "X_trn.txt").write_text("a\nb\n")
    with pytest.raises(sx.DataError, match=r"Y_trn\.npz: not a CSR"):
        load_texts(tmp_path / "set")
    sp.save_npz(tmp_path / "set" / "Y_trn.npz", sp.csr_matrix(np.eye(3)))
    with pytest.raises(sx.DataError, match=r"X_trn\.txt: holds 2 lines for 3 rows of labels"):
        load_texts(tmp_path / "set")
    (tmp_path / "set" / "trn.tsv").write_text("a\tb\n")
    with pytest.raises(sx.ArgumentError, match=r"several files of training texts: trn\.tsv, X_trn\.txt"):
        load_texts(tmp_path / "set")


# ---- counting ----


def test_vectorizer_counts_and_is_kept_as_json() -> None:
    texts = ["The cat and the dog", "a CAT", "dog dog dog café"]
    vectorizer = TextVectorizer.fit(texts, min_df=1)
    assert vectorizer.terms == ("and", "café", "cat", "dog", "the")
    counts = vectorizer.counts([*texts, "", "unseen words"])
    assert counts.dtype == np.float32 and counts.shape == (5, 5)
    assert counts.toarray().tolist()[:3] == [[1, 0, 1, 1, 2], [0, 0, 1, 0, 0], [0, 1, 0, 3, 0]]
    assert counts[3:].nnz == 0 and vectorizer.counts([]).shape == (0, 5)
    again = TextVectorizer.from_json(vectorizer.to_json())
    assert again == vectorizer
    assert (again.counts(texts) != counts[:3]).nnz == 0
    assert TextVectorizer.fit(texts).terms == ("cat", "dog")  # in two texts at least
    assert TextVectorizer.fit(texts, max_features=1, min_df=1).terms == ("dog",)
    pairs = TextVectorizer.fit(texts, ngrams=2, min_df=1, lowercase=False)
    assert "the dog" in pairs.terms and "CAT" in pairs.terms
    assert TextVectorizer.from_json(pairs.to_json()).counts(["and the dog"]).sum() == 5
    letters = TextVectorizer.fit(texts, token_pattern=r"(?u)\b\w\b", min_df=1)
    assert letters.terms == ("a",)


def test_wrong_vectorizers() -> None:
    for options, message in (
        ({"min_df": 0}, "min_df=0"),
        ({"ngrams": 0}, "ngrams=0"),
        ({"max_features": 0}, "max_features=0"),
        ({"lowercase": "no"}, "lowercase=.no. must be True or False"),
        ({"token_pattern": "("}, "is no regular expression"),
        ({"token_pattern": "(a)(b)"}, "has 2 groups"),
        ({"min_df": 9}, "no vocabulary"),
    ):
        with pytest.raises(sx.ArgumentError, match=message):
            TextVectorizer.fit(["aa bb", "aa"], **options)
    with pytest.raises(sx.DTypeError, match=r"texts\[1\] is a NoneType"):
        TextVectorizer.fit(["aa", None])
    with pytest.raises(sx.DTypeError, match="texts is one text"):
        TextVectorizer(("aa",)).counts("aa")
    for text in (
        "",
        "[]",
        "{}",
        '{"format": 2, "terms": ["a"]}',
        '{"format": 1}',
        '{"format": 1, "terms": ["a", "a"]}',
    ):
        with pytest.raises(sx.DataError, match="not a vocabulary"):
            TextVectorizer.from_json(text)


def test_scikit_learn_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    with pytest.raises(sx.ArgumentError, match=r"not installed: pip install 'sparsexmc\[text\]'"):
        TextVectorizer(("aa",)).counts(["aa"])


# ---- the command line ----


def test_train_predict_evaluate(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = cfg.read(trained / "model" / "run.toml")["data"]
    assert stored["tfidf"] is True and stored["min_df"] == 2 and stored["ngrams"] == 1
    assert run("evaluate", trained / "model", trained / "set", "--json") == 0
    expected = json.loads(capsys.readouterr().out)
    assert expected["metrics"]["P"]["1"] == 1.0

    (tmp_path / "new.txt").write_text("it meows softly\nsomething hoots\n\nunknown words\n")
    assert run("predict", trained / "model", tmp_path / "new.txt", "-k", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0].startswith("cat:") and lines[1].startswith("owl:")
    (tmp_path / "new.jsonl").write_text('{"text": "it meows softly"}\n{"text": "something hoots", "labels": ["x"]}\n')
    assert run("predict", trained / "model", tmp_path / "new.jsonl", "-k", 1) == 0
    assert capsys.readouterr().out.splitlines() == lines[:2]

    # A file of its own whose labels have other ids: they are matched by name.
    few = [(text, labels) for text, labels in sentences(40, 1) if "cat" not in labels]
    write_jsonl(tmp_path / "few.jsonl", [*few, ("meows", ["tiger"])])
    train = trained / "set" / "trn.jsonl"
    assert run("evaluate", trained / "model", tmp_path / "few.jsonl", "--train", train, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["unknown_labels"] == 1 and "PSP" in report["metrics"]
    assert report["metrics"]["P"]["1"] == pytest.approx(len(few) / (len(few) + 1))
    assert run("info", trained / "model") == 0
    assert "TF-IDF of counts of 12 terms of raw text" in capsys.readouterr().out


def test_stored_configuration_trains_the_same_model(trained: Path, tmp_path: Path) -> None:
    command = ("train", trained / "set", "-o", tmp_path / "m", "--config", trained / "model" / "run.toml")
    assert run(*command, "--no-progress") == 0
    for name in ("model.safetensors", "vocabulary.json", "labels.txt"):
        assert (tmp_path / "m" / name).read_bytes() == (trained / "model" / name).read_bytes()


def test_text_options(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--set", "data.ngrams=2", "--set", "data.max_features=5", "--set", "data.tfidf=false", *SMALL)
    assert run("train", trained / "set", "-o", tmp_path / "m", *options) == 0
    assert not (tmp_path / "m" / "features.npz").exists()
    assert len(json.loads((tmp_path / "m" / "vocabulary.json").read_text())["terms"]) == 5
    assert run("predict", tmp_path / "m", trained / "set") == 0
    capsys.readouterr()
    command = ("train", trained / "set", "-o", tmp_path / "n")
    assert "did you mean data.min_df" in failure(capsys, *command, "--set", "data.mindf=3")
    assert "min_df=0" in failure(capsys, *command, "--set", "data.min_df=0")
    assert "no vocabulary" in failure(capsys, *command, "--set", "data.min_df=1000")
    sx.data.save(tmp_path / "npz", sx.data.Dataset(sp.csr_matrix(np.eye(5)), sp.csr_matrix(np.eye(5))))
    error = failure(capsys, "train", tmp_path / "npz", "-o", tmp_path / "n", "--set", "data.ngrams=2")
    assert "data.ngrams is for raw text" in error
    write_jsonl(tmp_path / "none.jsonl", [("some words", []), ("some words", [])])
    assert "num_labels" in failure(capsys, "train", tmp_path / "none.jsonl", "-o", tmp_path / "n")
    assert not (tmp_path / "n").exists()


def test_models_and_data_that_do_not_fit(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = sx.load(trained / "model")
    assert isinstance(model, sx.Model)
    without = sx.Model(model.classifier, tfidf=model.preparation.tfidf)
    without.save(tmp_path / "without")
    assert "was not trained on raw text" in failure(capsys, "evaluate", tmp_path / "without", trained / "set")
    assert "was not trained on raw text" in failure(
        capsys, "predict", tmp_path / "without", trained / "set" / "tst.jsonl"
    )
    with pytest.raises(sx.ArgumentError, match="vectorizer has 2 terms and the classifier reads 12"):
        sx.Model(model.classifier, vectorizer=TextVectorizer(("aa", "bb")), tfidf=model.preparation.tfidf)
    shutil.copytree(trained / "model", tmp_path / "model")
    whole = (trained / "model" / "vocabulary.json").read_bytes()
    for damaged in (whole[:50], b"\xff", whole.replace(b"barks", b"moos")):
        (tmp_path / "model" / "vocabulary.json").write_bytes(damaged)
        error = failure(capsys, "predict", tmp_path / "model", trained / "set")
        assert "vocabulary.json' " in error and "copy the checkpoint again" in error


def test_a_model_reads_texts_in_python(trained: Path) -> None:
    """From texts to names, the same from the path, a copy and a pickle."""
    model = sx.load(trained / "model")
    assert isinstance(model, sx.Model)
    for texts in (["it meows softly", "something hoots"], ("it meows softly", "something hoots")):
        best = model.predict(texts, k=1)
        assert [row[0][0] for row in best] == ["cat", "owl"]
    copy = pickle.loads(pickle.dumps(model))
    assert copy.predict(["it meows softly"], k=2) == model.predict(["it meows softly"], k=2)
    assert model.evaluate(trained / "set")["P"][1] == 1.0
    with pytest.raises(sx.DTypeError, match="one text"):
        model.predict("it meows softly")
    assert model.predict([]) == []
