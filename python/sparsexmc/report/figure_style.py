"""The style of every figure, and its way to a PNG. Matplotlib is imported by the functions that draw, never before."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
INSTALL = "pip install 'sparsexmc[report]'"

# Okabe and Ito's colours, which colour-blind readers can tell apart; grey is for what is only a reference.
BLUE, ORANGE, GREEN, PINK, YELLOW = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"
GREY, DARK = "#a8adb3", "#3c4248"
MODEL_COLOURS = (BLUE, ORANGE, GREEN, PINK, YELLOW)

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.xmargin": 0.02,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": DARK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e7ea",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "text.parse_math": False,  # a name with a dollar sign is a name
    "figure.dpi": DPI,
}


def require_matplotlib() -> None:
    """Raises ImportError with the command that installs it if matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(f"a report needs matplotlib, which is not installed: {INSTALL}", name="matplotlib") from error


def draw(width: float, height: float, paint: Callable[[Figure], None]) -> bytes:
    """A figure of width x height inches that `paint` fills, as PNG."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # what the user's own configuration says has no place here
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        target = io.BytesIO()
        figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


def percent_axis(axes: Axes) -> None:
    """A vertical axis of shares, from 0, with ticks in percent."""
    from matplotlib.ticker import FuncFormatter

    from_zero(axes)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))


def from_zero(axes: Axes) -> None:
    """Lets the vertical axis begin at 0 and end a little above what is drawn."""
    top = axes.dataLim.y1
    axes.set_ylim(0, 1.06 * top if top > 0 else 1.0)


def thousands_axis(axes: Axes, axis: str = "y") -> None:
    """Ticks of an axis that holds counts: 12,000."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    chosen = axes.yaxis if axis == "y" else axes.xaxis
    chosen.set_major_locator(MaxNLocator(6, integer=True))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def legend_title(name: str) -> str:
    """`name` as a legend shows it: matplotlib hides what starts with an underscore."""
    shown = name if len(name) <= 40 else name[:39] + "\N{HORIZONTAL ELLIPSIS}"
    return f" {shown}" if shown.startswith("_") else shown


def short_count(number: float) -> str:
    """1234567 -> "1.2M", for labels of ticks."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}" if number < 1000 * size else f"{number / size:,.0f}{unit}"
    return f"{number:.0f}"
