"""Draw one training step, dense in PyTorch and sparse here, from what ``bench_step.py`` kept.

python bench/step_plot.py bench/results/<machine>.json docs/step.svg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

NAMES = {
    "torch": "PyTorch, every label dense",
    "G=1, F=32, Adam": "sparsexmc, 32 features a label",
    "G=16, F=64, Adam": "sparsexmc, 64 features, groups of 16",
}
BLUE, GREY = "#0072b2", "#a8adb3"


def draw(figures: dict, target: Path) -> None:
    """Two panels of bars: milliseconds and peak memory of a step with Adam."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "sparsexmc"})
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 2.1), layout="constrained", sharey=True)
    milliseconds = [1000 * figures["seconds"][key] for key in NAMES]
    mebibytes = [figures["memory"][key]["peak_rss"] / 2**20 for key in NAMES]
    for axes, title, values, unit in zip(
        panels, ("time of a step", "memory"), (milliseconds, mebibytes), ("ms", "MiB"), strict=True
    ):
        bars = axes.barh(list(NAMES.values()), values, color=[GREY, BLUE, BLUE])
        axes.bar_label(bars, [f"{value:,.0f} {unit}" for value in values], padding=4)
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlim(0, 1.3 * max(values))
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    panels[0].invert_yaxis()
    figure.savefig(target, metadata={"Date": None, "Creator": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    draw(json.loads(args.results.read_text())["results"]["step"]["figures"], args.target)


if __name__ == "__main__":
    main()
