"""Labelled texts as people have them: packed, with byte-order marks, of spreadsheets, fastText and the repository."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import pytest

import sparsexmc as sx
from sparsexmc.data import TextDataset, load_texts, read_texts

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
TEXTS = ["red wine", "white, dry", 'say "fish"']
LABELS = [["wine", "red"], [], ["law, civil"]]
FORMS = {
    "x.jsonl": "".join(
        json.dumps({"text": text, "labels": labels}) + "\n\n" for text, labels in zip(TEXTS, LABELS, strict=True)
    ),
    "x.tsv": 'red wine\twine\tred\nwhite, dry\t\t\n"say ""fish"""\t"law, civil"\t\n\n',
    "x.csv": 'id,text,labels\n1,red wine,wine; red\n2,"white, dry",\n\n3,"say ""fish""","law, civil"\n',
    "semicolons.csv": 'labels;text\n"wine;red";red wine\n;white, dry\nlaw, civil;"say ""fish"""\n',
}


def written(path: Path, content: str | bytes) -> Path:
    """`content` at `path`, packed as its name says."""
    raw = content.encode() if isinstance(content, str) else content
    pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(raw))
    return path


def content_of(data: TextDataset) -> tuple[list[str], list[list[str]]]:
    """Texts, and the sorted names of their labels."""
    names = data.label_names
    assert names is not None
    return list(data.texts), [sorted(names[label] for label in row.indices) for row in data.Y]


@pytest.mark.parametrize("packed", ["", ".gz", ".xz"])
@pytest.mark.parametrize("name", FORMS)
def test_the_same_texts_in_every_form(name: str, packed: str, tmp_path: Path) -> None:
    content = FORMS[name].encode()
    for text in (content, BYTE_ORDER_MARK + content, content.replace(b"\n", b"\r\n")):
        file = written(tmp_path / (name + packed), text)
        assert content_of(load_texts(file)) == (TEXTS, [sorted(labels) for labels in LABELS])
        assert read_texts(file) == TEXTS


def test_cells_with_line_breaks(tmp_path: Path) -> None:
    file = written(tmp_path / "x.csv", 'text,labels\n"one\ntwo ""2""\n\nthree",a\nfour,b\n')
    assert content_of(load_texts(file)) == (['one\ntwo "2"\n\nthree', "four"], [["a"], ["b"]])
    data = load_texts(
        written(tmp_path / "y.csv", "Body,Tags\nred wine,wine|red\n"),
        text_column="Body",
        labels_column="Tags",
        label_separator="|",
    )
    assert content_of(data) == (["red wine"], [["red", "wine"]])
    # Quotes that are part of a text, and no quotes of a spreadsheet.
    assert read_texts(written(tmp_path / "x.tsv", '"Fish" he said\ta\n5" disk\tb\n')) == ['"Fish" he said', '5" disk']


BAD = {
    "no column": ("x.csv", "body,tags\na,b\n", r"x\.csv:1: no column 'text' in the header, but 'body', 'tags'"),
    "no labels": ("x.csv", "text,tags\na,b\n", r"x\.csv:2: no column 'labels'"),
    "few cells": ("x.csv", "text,labels\na\n", r"x\.csv:2: the row has 1 cells and the header 2"),
    "many cells": ("x.csv", "text,labels\na,b,c\n", r"x\.csv:2: the row has 3 cells"),
    "open quote": ("x.csv", 'text,labels\na,b\n"c,d\ne,f\n', r"x\.csv:4: the file ends inside .* line 3"),
    "behind a quote": ("x.csv", 'text,labels\n"a\nb"c,d\n', r"x\.csv:3: a cell goes on behind the quote"),
    "tabs, open quote": ("x.tsv", 'a\tb\n"c\nd"\te\n', r"x\.tsv:2: a cell begins with a quote that the line does not"),
    "tabs, empty label": ("x.tsv", "a\tb\na\t\tb\n", r"x\.tsv:2: a label is empty"),
    "fastText, empty label": ("x.txt", "__label__a b\n__label__ c\n", r"x\.txt:2: a label is empty"),
    "numbers and names": (
        "x.jsonl",
        '{"text": "a", "labels": []}\n{"title": "a", "target_ind": [1]}\n',
        r'x\.jsonl:2: no "labels"',
    ),
    "bad target": ("x.json", '{"title": "a", "target_ind": [-1]}\n', r'x\.json:1: "target_ind" is \[-1\]'),
    "huge target": ("x.json", '{"title": "a", "target_ind": [99999999999]}\n', r"x\.json: holds label 99999999999"),
    "no text": ("x.json", '{"uid": "a", "target_ind": [1]}\n', r'x\.json:1: no "text"'),
    "not packed": ("x.jsonl.gz", None, r"x\.jsonl\.gz: cannot be read"),
    "no xz": ("x.jsonl.xz", None, r"x\.jsonl\.xz: cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named(case: str, tmp_path: Path) -> None:
    name, content, message = BAD[case]
    file = tmp_path / name
    if content is None:
        file.write_bytes(b'{"text": "a", "labels": []}\n')
    else:
        written(file, content)
    with pytest.raises(sx.DataError, match=message):
        load_texts(file)


def test_a_packed_file_that_is_cut_short_or_unpacks_to_gigabytes(tmp_path: Path) -> None:
    whole = written(tmp_path / "x.tsv.gz", "red wine\twine\n" * 1000).read_bytes()
    (tmp_path / "x.tsv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(sx.DataError, match=r"x\.tsv\.gz: cannot be read"):
        load_texts(tmp_path / "x.tsv.gz")
    packer = lzma.LZMACompressor(preset=0)
    zeros = bytes(1 << 24)
    bomb = b"".join([*(packer.compress(zeros) for _ in range(20)), packer.flush()])
    assert len(bomb) < 1 << 20
    for name in ("x.jsonl.xz", "train.txt.xz", "labels.txt.xz"):
        (tmp_path / name).write_bytes(bomb)
    for name in ("x.jsonl.xz", "train.txt.xz"):
        with pytest.raises(sx.DataError, match=r"unpacks to more than 200 times its size"):
            sx.data.DataPath(tmp_path / name).open()


def test_fasttext(tmp_path: Path) -> None:
    """Known by its first line, in a file of any name and in a directory; labels may stand anywhere."""
    lines = "\n__label__sauce __label__cheese How does potato starch affect cheese sauce\nplain __label__food-safety\n"
    expected = (
        ["How does potato starch affect cheese sauce", "plain"],
        [["cheese", "sauce"], ["food-safety"]],
    )
    (tmp_path / "set").mkdir()
    written(tmp_path / "set" / "test.txt", lines)
    for file in ("cooking.train", "x.txt.gz", "set/train.txt"):
        assert content_of(load_texts(written(tmp_path / file, lines))) == expected
    data = sx.data.DataPath(tmp_path / "set").open()
    assert isinstance(data, TextDataset) and data.texts_test == expected[0]
    with pytest.raises(sx.ArgumentError, match=r"holds raw texts"):
        sx.data.load(tmp_path / "set")


def test_raw_texts_of_the_repository(tmp_path: Path) -> None:
    """As LF-AmazonTitles-131K is laid out: labels by number, their titles in a file beside."""

    def pack(name: str, *rows: dict[str, object]) -> None:
        written(tmp_path / name, "".join(json.dumps(row) + "\n" for row in rows))

    train = {
        "uid": "0000031909",
        "title": "Girls Ballet Tutu",
        "content": "",
        "target_ind": [2, 0],
        "target_rel": [1.0, 1.0],
    }
    pack(
        "trn.json.gz", train, {"uid": "b", "title": "Book", "content": "A long one", "target_ind": [], "target_rel": []}
    )
    pack("tst.json.gz", {"uid": "c", "title": "Skirt", "target_ind": [1], "target_rel": [1.0]})
    with_titles = [{"uid": "u0", "title": "Tutu"}, {"uid": "u1", "title": "Tutu"}, {"uid": "u2", "title": "A \t b"}]
    data = load_texts(tmp_path)
    assert data.label_names is None and data.Y.toarray().tolist() == [[1, 0, 1], [0, 0, 0]]
    pack("lbl.json.gz", *with_titles, {"uid": "u3", "title": ""})
    data = load_texts(tmp_path)
    assert data.texts == ["Girls Ballet Tutu", "Book A long one"] and data.texts_test == ["Skirt"]
    assert data.label_names == ["Tutu", "Tutu (u1)", "A b", "(u3)"]
    assert data.Y.shape == (2, 4) and data.Y_test is not None and data.Y_test.toarray().tolist() == [[0, 1, 0, 0]]
    assert content_of(load_texts(tmp_path / "trn.json.gz"))[1] == [["A b", "Tutu"], []]
    pack("lbl.json.gz", *with_titles[:2])
    with pytest.raises(sx.DataError, match=r"trn\.json\.gz:1: label 2 has no name: there are 2"):
        load_texts(tmp_path)


def test_parts_without_texts(tmp_path: Path) -> None:
    written(tmp_path / "trn.jsonl", FORMS["x.jsonl"])
    written(tmp_path / "tst.jsonl", "\n")
    data = load_texts(tmp_path)
    assert data.texts_test == [] and data.Y_test is not None and data.Y_test.shape == (0, 3)
    written(tmp_path / "trn.jsonl", " \n")
    with pytest.raises(sx.DataError, match=r"trn\.jsonl:1: the file is empty"):
        load_texts(tmp_path)


def test_lists_of_any_kind() -> None:
    """Generators, as from a column of a table, are lists of labels and texts too."""
    X = sx.data.load_demo().X[:3]
    names = [["b", "a"], [], ["c"]]
    made = sx.data.from_lists(X, (iter(row) for row in names), label_names=(name for name in "abc"))
    assert made.Y.toarray().tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    with pytest.raises(sx.DTypeError, match=r"labels is 'abc'; pass a list of names for every instance"):
        sx.data.from_lists(X, "abc")
    pytest.importorskip("sklearn")
    texts = ["red wine", "red fish", "wine fish"]
    vectorizer = sx.data.TextVectorizer.fit(text for text in texts)
    assert vectorizer.terms == ("fish", "red", "wine")
    assert (vectorizer.counts(iter(texts)) != vectorizer.counts(texts)).nnz == 0
