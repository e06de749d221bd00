"""Tables for notebooks. Everything is text: a label name may hold markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_LEFT = ' style="text-align: left"'


def table(title: str, rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """A table with a title; the first column is aligned left, as all are where there is no header."""

    def line(tag: str, cells: Sequence[object]) -> str:
        styles = [_LEFT if not header or column == 0 else "" for column in range(len(cells))]
        return "".join(f"<{tag}{style}>{escape(str(c))}</{tag}>" for style, c in zip(styles, cells, strict=True))

    head = f"<thead><tr>{line('th', header)}</tr></thead>" if header else ""
    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f"<table><caption{_LEFT}>{escape(title)}</caption>{head}<tbody>{body}</tbody></table>"
