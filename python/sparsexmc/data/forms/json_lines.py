"""JSON lines: {"text", "labels"}, or {"title", "content", "target_ind"} of the extreme-classification repository.

Blank lines are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from reprlib import repr as short
from typing import Any

from ..streams import Lines
from .entry import Entry, TextColumns

FORM = '{"text": "...", "labels": ["..."]}'


def entries(lines: Lines, columns: TextColumns) -> Iterator[Entry]:
    """An object per line; other keys are passed over."""
    del columns
    for line in lines:
        if line and not line.isspace():
            yield _entry(lines.number, parse_object(line))


def is_entry(line: bytes) -> bool:
    """Whether a line, without blanks around it, is an object with a text."""
    if not line.startswith(b"{"):
        return False
    try:
        _entry(1, parse_object(line.decode("utf-8")))
    except ValueError:
        return False
    return True


def parse_object(line: str, form: str = FORM) -> dict[str, Any]:
    """A line of JSON; ValueError if it is no object."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise ValueError(f"not JSON: {reason}; write {form} on every line") from None
    if not isinstance(found, dict):
        raise ValueError(f'no "text"; write {form} on every line')
    return found


def title_and_content(found: dict[str, Any]) -> str | None:
    """The text of an object of the repository: its title, and its content if there is one; None if it has neither."""
    parts = [found[key] for key in ("title", "content") if isinstance(found.get(key), str)]
    return " ".join(part for part in parts if part) if parts else None


def _entry(number: int, found: dict[str, Any]) -> Entry:
    text, labels, targets = found.get("text"), found.get("labels"), found.get("target_ind")
    if text is None:
        text = title_and_content(found)
    if not isinstance(text, str):
        raise ValueError(f'no "text"; write {FORM} on every line')
    if labels is not None and not isinstance(labels, list):
        raise ValueError(f'"labels" is {short(labels)}; write a list of names, such as ["a", "b"] or []')
    if targets is not None and not (
        isinstance(targets, list)
        and all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in targets)
    ):
        raise ValueError(f'"target_ind" is {short(targets)}; write a list of numbers of labels, counted from 0')
    return Entry(number, text, labels, targets)
