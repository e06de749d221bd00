"""Plain-text tables and figures for terminals: aligned columns, no colours, no box characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..report.scores import LEAST_TRAINING_INSTANCES, has_propensities

GAP = "  "


def table(rows: Sequence[Sequence[str]], header: Sequence[str] | None = None, align: str = "") -> str:
    """Lines of `rows` with aligned columns.

    `align` holds one letter a column, "l" or "r"; columns beyond it are aligned right. With a `header` a rule of dashes
    follows it. Trailing blanks are cut.
    """
    lines = ([list(header)] if header is not None else []) + [list(row) for row in rows]
    columns = max((len(line) for line in lines), default=0)
    align = align.ljust(columns, "r")
    for line in lines:
        line.extend([""] * (columns - len(line)))
    widths = [max((len(line[c]) for line in lines), default=0) for c in range(columns)]
    if header is not None:
        lines.insert(1, ["-" * width for width in widths])

    def pad(cell: str, column: int) -> str:
        return cell.ljust(widths[column]) if align[column] == "l" else cell.rjust(widths[column])

    return "\n".join(GAP.join(pad(cell, c) for c, cell in enumerate(line)).rstrip() for line in lines)


def indent(text: str, by: int = 2) -> str:
    """`text` with every line moved right by `by` blanks."""
    return "\n".join(" " * by + line if line else line for line in text.splitlines())


def metric_table(reports: Mapping[str, Mapping[str, Mapping[int, float]]]) -> str:
    """Metrics in percent, one row a metric, and for every report one column a cut-off.

    `reports` maps a title ("model", "popular labels") to {metric: {k: share}}; all reports hold the same metrics.
    """
    first = next(iter(reports.values()))
    cutoffs = list(next(iter(first.values())))
    rows = [
        [metric] + [f"{100 * report[metric][k]:.2f}" for report in reports.values() for k in cutoffs]
        for metric in first
    ]
    heads = ["percent"] + [f"@{k}" for _ in reports for k in cutoffs]
    body = table(rows, heads, "l")
    if len(reports) == 1:
        return body
    # A line above with each report's title over its own columns.
    rule = body.splitlines()[1].split(GAP)
    titles, column = [" " * len(rule[0])], 1
    for title in reports:
        width = len(GAP.join(rule[column : column + len(cutoffs)]))
        titles.append(title[:width].rjust(width))
        column += len(cutoffs)
    return GAP.join(titles).rstrip() + "\n" + body


def human_seconds(seconds: float) -> str:
    """83.4 -> "1 min 23 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def count(number: int, noun: str) -> str:
    """1234, "label" -> "1,234 labels"; 1, "label" -> "1 label"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def propensity_note(train_labels: Any, a: float, b: float) -> str:
    """The line that belongs below every PSP."""
    if train_labels is None:
        return "no PSP: it needs training labels; name them with --train DATA"
    if not has_propensities(train_labels):
        return f"no PSP: it needs at least {LEAST_TRAINING_INSTANCES} training instances"
    return f"propensities: A = {a:g}, B = {b:g}, from {count(train_labels.shape[0], 'training instance')}"


def filter_note(blanked: Any) -> str:
    """The line that belongs below metrics of filtered predictions; nothing without a filter."""
    return "" if blanked is None else f"{count(blanked.nnz, 'pair')} of the filter blanked before ranking\n"
