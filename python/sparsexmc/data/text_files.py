"""Files of raw texts, line by line: JSON lines, tab-separated values, a text per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from os import PathLike, fspath
from pathlib import Path
from reprlib import repr as short

from .._files import open_regular
from ..errors import ArgumentError, DataError
from .names import name_problem

LABELLED = (".jsonl", ".tsv")
"""Files that hold texts and the names of their labels."""

_FORM = '{"text": "...", "labels": ["..."]}'


def read_texts(path: str | PathLike[str]) -> list[str]:
    """The texts of a file without regard to labels: `.jsonl` or `.tsv` as `load_texts`, otherwise one text per line.

    Raises:
        DataError: not UTF-8, or a malformed line.
        ArgumentError: the file cannot be read.
    """
    file = Path(path)
    if file.suffix in LABELLED:
        return [text for _, text, _ in _entries(file)]
    return [line for _, line in _lines(file)]


def read_labelled(path: Path) -> tuple[list[str], list[list[str]]]:
    """(texts, label names) of a labelled file; names are checked. Raises as `read_texts`."""
    if path.suffix not in LABELLED:
        raise ArgumentError(f"path: '{path}' is no {' or '.join(LABELLED)} file, which hold texts with their labels")
    texts, lists = [], []
    good: set[str] = set()
    for number, text, labels in _entries(path):
        if labels is None:
            raise DataError(f'{path}:{number}: no "labels"; write "labels": [] for a text without any')
        for label in labels:
            if isinstance(label, str) and label in good:
                continue
            if problem := name_problem(label):
                raise DataError(f"{path}:{number}: a label {problem}")
            good.add(label)
        texts.append(text)
        lists.append(labels)
    if not texts:
        raise DataError(f"{path}:1: the file is empty; it needs a line for every text")
    return texts, lists


def _entries(path: Path) -> Iterator[tuple[int, str, list[str] | None]]:
    """(number, text, labels) of every line of a labelled file."""
    parse = _parse_json if path.suffix == ".jsonl" else _parse_tabs
    for number, line in _lines(path):
        try:
            text, labels = parse(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        yield number, text, labels


def _parse_json(line: str) -> tuple[str, list[str] | None]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise ValueError(f"not JSON: {reason}; write {_FORM} on every line") from None
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
        raise ValueError(f'no "text"; write {_FORM} on every line')
    labels = entry.get("labels")
    if labels is not None and not isinstance(labels, list):
        raise ValueError(f'"labels" is {short(labels)}; write a list of names, such as ["a", "b"] or []')
    return entry["text"], labels


def _parse_tabs(line: str) -> tuple[str, list[str] | None]:
    text, *labels = line.split("\t")
    return text, [] if labels == [""] else labels


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of every line of a UTF-8 file, without its ending."""
    try:
        with open_regular(path) as file:
            for number, raw in enumerate(file, 1):
                try:
                    line = raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
                except UnicodeDecodeError:
                    raise DataError(f"{path}:{number}: not UTF-8; convert the file, e.g. with iconv") from None
                yield number, line.removeprefix("\ufeff") if number == 1 else line
    except OSError as error:
        raise ArgumentError(f"path: cannot read '{fspath(path)}': {error.strerror}") from None
