"""The figures about predictions and memory: bands, prediction counts, bytes by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..memory import format_bytes
from .bands import Bands, precision_parts, predicted, psp_parts, recall_inside
from .figure_style import BLUE, DARK, GREY, MODEL_COLOURS, draw, legend_title, percent_axis, short_count
from .labels import cell_title
from .scores import POPULAR, Predictions, Truth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEMORY_BARS = 16
LONG_TITLE = 6
LEGEND_WIDTH, SWATCH = 120, 10  # in letters
DASH = "\N{EN DASH}"


def band_parts(models: Sequence[Predictions], bands: Bands, truth: Truth, cutoffs: Sequence[int]) -> bytes:
    """Grouped bars: the parts of P@k, and of PSP@k where there are propensities, by band."""
    columns = 2 if truth.weights is not None else 1
    names, colours = [model.title for model in models], _colours(models)
    # Long titles would run into each other in half the width.
    titles = [t.replace(DASH, f"{DASH}\n") if len(t) > LONG_TITLE else t for t in bands.titles]

    def paint(figure: Figure) -> None:
        grid = figure.subplots(len(cutoffs), columns, squeeze=False)
        for row, k in enumerate(cutoffs):
            parts = [precision_parts(model, bands, k) for model in models]
            _bars(grid[row, 0], parts, names, colours, titles)
            grid[row, 0].set_title(f"P@{k}, by band")
            if truth.weights is not None:
                parts = [psp_parts(model, bands, truth, k) for model in models]
                _bars(grid[row, 1], parts, names, colours, titles)
                grid[row, 1].set_title(f"PSP@{k}, by band")
        for axes in grid.flat:
            axes.tick_params(axis="x", labelsize=8)
        for axes in grid[-1]:
            axes.set_xlabel("training instances of the label")
        _shared_legend(figure, grid[0, 0])

    return draw(10, 0.7 + 2.5 * len(cutoffs), paint)


def band_recall(models: Sequence[Predictions], bands: Bands, k: int) -> bytes:
    """Grouped bars: recall@k inside every band, with the sizes of the bands below them."""
    titles = [
        f"{title}\n{short_count(labels)} labels\n{short_count(positives) if positives else 'no'} positives"
        for title, labels, positives in zip(bands.titles, bands.labels, bands.positives, strict=True)
    ]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        recalls = [recall_inside(model, bands, k) for model in models]
        _bars(axes, recalls, [model.title for model in models], _colours(models), titles)
        axes.set_title(f"Recall@{k} inside every band")
        axes.set_xlabel("training instances of the label; labels and test positives of the band")
        _shared_legend(figure, axes)

    return draw(10, 3.6, paint)


def band_balance(models: Sequence[Predictions], bands: Bands, k: int) -> bytes:
    """Grouped bars: how the test positives and the predictions are spread over the bands."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        shares = [bands.positives / max(1, bands.positives.sum())]
        for model in models:
            counts = predicted(model, bands, k)
            shares.append(counts / max(1, counts.sum()))
        names = [model.title for model in models]
        _bars(axes, shares, ["test positives", *names], [DARK, *_colours(models)], bands.titles)
        axes.set_title("Share of all test positives, and of all predictions of a model")
        axes.set_xlabel("training instances of the label")
        _shared_legend(figure, axes)

    return draw(10, 3.2, paint)


def count_map(cells: npt.NDArray[np.int64], k: int) -> bytes:
    """Heat map of `labels.count_cells`: times predicted against times true, with the number of labels in each cell."""

    def paint(figure: Figure) -> None:
        from matplotlib.colors import LogNorm
        from matplotlib.patches import Rectangle

        axes = figure.subplots()
        size = len(cells)
        shown = np.ma.masked_equal(cells, 0)
        axes.imshow(shown, origin="lower", cmap="Blues", norm=LogNorm(1, max(10, cells.max())), aspect="auto")
        for cell in range(size):
            axes.add_patch(Rectangle((cell - 0.5, cell - 0.5), 1, 1, fill=False, edgecolor=GREY))
        dark = np.sqrt(max(10, cells.max()))
        for y, x in np.argwhere(cells):
            colour = "white" if cells[y, x] > dark else DARK
            axes.text(x, y, short_count(cells[y, x]), ha="center", va="center", fontsize=7, color=colour)
        titles = [cell_title(cell) for cell in range(size)]
        axes.set_xticks(range(size), titles, rotation=45 if size > 8 else 0, ha="right" if size > 8 else "center")
        axes.set_yticks(range(size), titles)
        axes.set_xlabel("times true in the test set")
        axes.set_ylabel(f"times among the first {k} predictions")
        axes.set_title("Number of labels by how often they are true and predicted")
        axes.grid(False)

    return draw(7.5, 5.2, paint)


def memory_bars(plan: Mapping[str, int]) -> bytes:
    """Horizontal bars: the largest planned allocations by name, the rest as one."""
    largest = sorted(plan.items(), key=lambda item: -item[1])
    shown, rest = largest[:MEMORY_BARS], largest[MEMORY_BARS:]
    if rest:
        shown.append((f"{len(rest)} smaller ones", sum(size for _, size in rest)))
    unit, divisor = _unit(max((size for _, size in shown), default=0))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        sizes = [size / divisor for _, size in shown]
        colours = [BLUE if not name.startswith("optimizer.") else "#7fb8d8" for name, _ in shown]
        bars = axes.barh(range(len(shown)), sizes, color=colours, height=0.7)
        axes.bar_label(bars, [format_bytes(size) for _, size in shown], padding=3, fontsize=8)
        axes.set_yticks(range(len(shown)), [name for name, _ in shown])
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.grid(False, axis="y")
        axes.set_xlabel(unit)
        axes.set_title("Planned memory by name (light: optimizer state)")

    return draw(10, 0.9 + 0.24 * max(len(shown), 2), paint)


def _bars(
    axes: Axes,
    heights: Sequence[npt.NDArray[np.float64]],
    names: Sequence[str],
    colours: Sequence[str],
    titles: Sequence[str],
) -> None:
    """One group of bars per title, and in it one bar per name."""
    width = 0.8 / len(heights)
    for i, (values, name, colour) in enumerate(zip(heights, names, colours, strict=True)):
        place = np.arange(len(titles)) + (i - (len(heights) - 1) / 2) * width
        axes.bar(place, np.nan_to_num(values), width * 0.94, color=colour, label=legend_title(name))
    axes.set_xticks(range(len(titles)), titles)
    axes.tick_params(axis="x", length=0)
    axes.grid(False, axis="x")
    percent_axis(axes)


def _colours(models: Sequence[Predictions]) -> list[str]:
    """A colour per model; grey for the popular labels, which are only a reference."""
    own = cycle(MODEL_COLOURS)
    return [GREY if model.title == POPULAR else next(own) for model in models]


def _shared_legend(figure: Figure, axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    fits = sum(map(len, names)) + SWATCH * len(names) <= LEGEND_WIDTH
    figure.legend(handles, names, loc="outside upper left", ncols=len(names) if fits else 3)


def _unit(largest: int) -> tuple[str, int]:
    """The unit of an axis up to `largest` bytes, and its size."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if largest >= size:
            return unit, size
    return "bytes", 1
