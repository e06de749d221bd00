"""The figures about training: learning curves, use of the input features, churn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .connections import Churn, Usage
from .figure_style import (
    BLUE,
    DARK,
    GREEN,
    GREY,
    MODEL_COLOURS,
    ORANGE,
    PINK,
    draw,
    from_zero,
    percent_axis,
    thousands_axis,
)
from .training_log import TrainingLog, learning_rates

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 400  # of the learning rate's curve
FEWEST_BINS, MOST_BINS = 10, 60
USUAL = 0.98  # share of the features that a histogram shows without its last, open bar
FAMILIES = {"P": BLUE, "nDCG": "#56b4e9", "R": PINK, "PSP": ORANGE, "PSnDCG": "#e69f00", "macro-F1": GREEN}
DASHES = ("-", "--", ":", "-.")
LOG_FROM = 30.0  # a loss that falls by this factor is drawn on a logarithmic axis


def learning_curves(log: TrainingLog, schedule: dict[str, Any], base_lr: float, saved_step: int) -> bytes:
    """Loss, learning rate and, where there are any, validation metrics over the steps."""

    def paint(figure: Figure) -> None:
        grid = figure.subplots(1, 3 if log.metrics else 2)
        _loss(grid[0], log)
        _learning_rate(grid[1], log, schedule, base_lr)
        if log.metrics:
            _validation(grid[2], log)
        for axes in grid:
            axes.set_xlabel("training step")
            axes.set_xlim(0, 1.03 * log.last_step)
            thousands_axis(axes, "x")
            if 0 < saved_step < log.last_step:
                axes.axvline(saved_step, color=GREY, linewidth=1, linestyle="--")

    return draw(11 if log.metrics else 8, 3.3, paint)


def feature_usage(usages: Sequence[Usage]) -> bytes:
    """Histograms of how many groups read an input feature, with the expectation for random connections."""

    def paint(figure: Figure) -> None:
        grid = figure.subplots(1, len(usages), squeeze=False)[0]
        for axes, entry in zip(grid, usages, strict=True):
            edges = histogram_edges(entry)
            heights, expected = np.histogram(np.minimum(entry.counts, edges[-1] - 1), edges)[0], _expected(entry, edges)
            # A bar from edge to edge; counts are whole, so it is centred on them.
            axes.stairs(heights, edges - 0.5, fill=True, color=BLUE, label="this model")
            axes.plot((edges[:-1] + edges[1:] - 1) / 2, expected, color=ORANGE, label="random connections (expected)")
            more = f" (last bar: {edges[-2]:,} or more)" if entry.counts.max() >= edges[-1] else ""
            axes.set_xlabel(f"groups of labels that read the feature{more}")
            axes.set_ylabel("input features")
            axes.set_title("Use of the input features" + (f", segment {entry.segment}" if len(usages) > 1 else ""))
            thousands_axis(axes, "x")
            thousands_axis(axes)
            axes.legend(loc="upper right")

    return draw(8 if len(usages) == 1 else 11, 3.3, paint)


def churn(entries: Sequence[Churn], method: str) -> bytes:
    """Share of connections that every rewiring replaced, and the scores by which it chose."""
    segments = sorted({entry.segment for entry in entries})
    has_growth_score = method == "rigl"

    def paint(figure: Figure) -> None:
        grid = figure.subplots(1, 3 if has_growth_score else 2)
        curves = [(grid[0], "share"), (grid[1], "score_dropped")]
        if has_growth_score:
            curves.append((grid[2], "score_grown"))
        for axes, field in curves:
            for segment, colour in zip(segments, MODEL_COLOURS, strict=False):
                own = [entry for entry in entries if entry.segment == segment]
                values = [getattr(entry, field) for entry in own]
                axes.plot(
                    [entry.step for entry in own], values, color=colour, label=f"segment {segment}", **_marks(own)
                )
            axes.set_xlabel("training step")
            from_zero(axes)
            thousands_axis(axes, "x")
        grid[0].set_title("Connections replaced")
        percent_axis(grid[0])
        grid[1].set_title("Mean |weight| of the dropped")
        if has_growth_score:
            grid[2].set_title("Mean gradient norm of the grown")
        if len(segments) > 1:
            grid[0].legend()

    return draw(11 if has_growth_score else 8, 2.9, paint)


def histogram_edges(entry: Usage) -> npt.NDArray[np.int64]:
    """Whole-numbered edges of equally wide bins, about two times the root of the number of features.

    Few features can be used many times as often as all others. The last bin is open, so that they do not squeeze them.
    """
    counts = entry.counts
    bins = min(max(FEWEST_BINS, 2 * math.isqrt(len(counts))), MOST_BINS)
    usual = max(np.quantile(counts, USUAL), counts.mean() + 5 * entry.random_deviation)
    low, high = int(counts.min()), min(int(counts.max()), math.ceil(usual))
    width = max(1, -(-(high - low + 1) // bins))
    return np.arange(low, high + width + 1, width)


def _expected(entry: Usage, edges: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Expected heights of the histogram's bars, the last one open."""
    return entry.random_histogram(np.append(edges[:-1], entry.groups + 1))


def _loss(axes: Axes, log: TrainingLog) -> None:
    if log.steps:
        x, y = ([record[name] for record in log.steps] for name in ("step", "loss"))
        axes.plot(x, y, color=GREY, linewidth=1, label="single batches", **_marks(x))
    if log.epochs:
        x, y = ([record[name] for record in log.epochs] for name in ("step", "loss"))
        axes.plot(x, y, color=BLUE, label="mean of the epoch", **_marks(x))
    losses = np.array([record["loss"] for record in [*log.steps, *log.epochs]])
    losses = losses[np.isfinite(losses) & (losses > 0)]
    if len(losses) and losses.max() > LOG_FROM * losses.min():
        axes.set_yscale("log")
    else:
        from_zero(axes)
    axes.set_title("Training loss per instance")
    axes.legend()


def _learning_rate(axes: Axes, log: TrainingLog, schedule: dict[str, Any], base_lr: float) -> None:
    x = np.unique(np.linspace(1, max(log.last_step, 1), POINTS).astype(np.int64))
    base = np.full(len(x), base_lr)
    if log.steps:
        # A base rate holds from the line after which it is seen; the first one for what came before.
        known = np.array([record["step"] for record in log.steps])
        values = np.array([record["base_lr"] for record in log.steps])
        base = values[np.clip(np.searchsorted(known, x), 0, len(known) - 1)]
    axes.plot(x, learning_rates(schedule, x, base), color=DARK)
    from_zero(axes)
    axes.set_title("Learning rate")


def _validation(axes: Axes, log: TrainingLog) -> None:
    drawn: dict[str, int] = {}
    for name in log.metrics:
        family = name.partition("@")[0]
        own = [record for record in log.epochs if name in record["validation"]]
        x = [record["step"] for record in own]
        y = [record["validation"][name] for record in own]
        dashes = DASHES[min(drawn.get(family, 0), len(DASHES) - 1)]
        drawn[family] = drawn.get(family, 0) + 1
        axes.plot(x, y, dashes, color=FAMILIES.get(family, DARK), label=name, **_marks(x))
    axes.set_title("Validation metrics")
    percent_axis(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


def _marks(points: Sequence[Any]) -> dict[str, Any]:
    """Markers for short curves, which would not show as lines."""
    return {"marker": "o", "markersize": 3} if len(points) <= 40 else {}
