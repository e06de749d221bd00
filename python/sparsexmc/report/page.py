"""The HTML of a report: one page without scripts that refers to nothing outside itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from .figure_style import DPI

GENERATOR = "sparsexmc report"
"""Content of the page's generator tag, by which an earlier report is known."""

CSS_DPI = 96  # what a pixel is in CSS; figures have more of them, for sharp screens

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem 1.5rem 4rem; background: #fff; color: #1f2429;
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .6rem; border-top: 1px solid #d5d9dd; }
p { max-width: 50rem; margin: .6rem 0; }
nav { margin: 1rem 0; font-size: .9rem; }
nav a { margin-right: 1.1rem; white-space: nowrap; }
a { color: #00588c; }
figure { margin: 1.2rem 0; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption, .note { color: #545c64; font-size: .88rem; max-width: 50rem; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .7rem; text-align: right; vertical-align: top; border-bottom: 1px solid #e6e9ec; }
th { font-weight: 600; max-width: 14rem; }
td { white-space: nowrap; }
thead tr:last-child th { border-bottom: 2px solid #aab1b8; }
th.group { text-align: center; border-bottom: 1px solid #aab1b8; }
.text { text-align: left; }
td.text { white-space: normal; max-width: 40rem; overflow-wrap: break-word; }
td.best { font-weight: 700; }
.warning { border-left: 4px solid #d55e00; padding: .1rem .9rem; background: #fdf3ec; }
details { margin: .8rem 0; }
summary { cursor: pointer; }
code { font-size: .92em; overflow-wrap: anywhere; }
""".strip()


@dataclass(frozen=True)
class Figure:
    """A picture of a report: file name, PNG, what it shows for who cannot see it, and how to read it."""

    name: str
    png: bytes
    alt: str
    caption: str

    def html(self) -> str:
        """The picture inlined, with its caption."""
        data = base64.b64encode(self.png).decode("ascii")
        width = int.from_bytes(self.png[16:20], "big") * CSS_DPI // DPI  # pixels stand at the start of a PNG
        return (
            f'<figure><img alt="{escape(self.alt)}" width="{width}" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )


@dataclass
class Section:
    """A section under its own heading; `add` what it holds, in order."""

    anchor: str
    title: str
    parts: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def text(self, text: str, kind: str = "") -> None:
        """A paragraph; kind "note" is smaller, "warning" stands out."""
        self.parts.append(f"<p{_class(kind)}>{escape(text)}</p>")

    def table(self, html: str) -> None:
        """A table made by `table`."""
        self.parts.append(html)

    def folded(self, title: str, html: str) -> None:
        """Something that the reader opens."""
        self.parts.append(f"<details><summary>{escape(title)}</summary>{html}</details>")

    def figure(self, figure: Figure) -> None:
        """A picture."""
        self.figures.append(figure)
        self.parts.append(figure.html())

    def html(self) -> str:
        """Heading and body."""
        return f'<section id="{self.anchor}"><h2>{escape(self.title)}</h2>\n' + "\n".join(self.parts) + "\n</section>"


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text_columns: Sequence[int] = (0,),
    groups: Sequence[tuple[str, int]] = (),
    best: frozenset[tuple[int, int]] = frozenset(),
) -> str:
    """An HTML table of plain text.

    Args:
        header: titles of the columns; empty: none.
        rows: the cells.
        text_columns: columns that are aligned left, others right.
        groups: (title, columns) for a line above the header.
        best: (row, column) of the cells to stress.
    """

    def cell(tag: str, value: str, column: int, kind: str = "") -> str:
        return f"<{tag}{_class('text' if column in text_columns else '', kind)}>{escape(value)}</{tag}>"

    lines = []
    if groups:
        above = "".join(f'<th{_class("group" if name else "")} colspan="{n}">{escape(name)}</th>' for name, n in groups)
        lines.append(f"<tr>{above}</tr>")
    if header:
        lines.append("<tr>" + "".join(cell("th", title, c) for c, title in enumerate(header)) + "</tr>")
    head = f"<thead>{''.join(lines)}</thead>" if lines else ""
    body = "\n".join(
        "<tr>" + "".join(cell("td", v, c, "best" if (r, c) in best else "") for c, v in enumerate(row)) + "</tr>"
        for r, row in enumerate(rows)
    )
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'


def page(title: str, subtitle: str, sections: Sequence[Section], version: str) -> str:
    """The whole page. Its security policy allows inlined pictures and style and nothing else."""
    links = "".join(f'<a href="#{section.anchor}">{escape(section.title)}</a>' for section in sections)
    body = "\n".join(section.html() for section in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{GENERATOR} {escape(version)}">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{_STYLE}
</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="note">{escape(subtitle)}</p>
<nav>{links}</nav>
{body}
</body>
</html>
"""


def _class(*names: str) -> str:
    used = " ".join(name for name in names if name)
    return f' class="{used}"' if used else ""
