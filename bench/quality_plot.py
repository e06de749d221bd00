"""Draw quality against the memory of the output layer, sparse and all dense, from what ``quality.py`` kept.

python bench/quality_plot.py bench/results/<machine>.json docs/quality.svg
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

NAMES = {  # and where the name stands beside the dense end, in points
    "citeulike": ("citeulike-t-tags, 45,972", (-218, -13)),
    "gowalla": ("gowalla-next, 37,128", (9, 0)),
    "wordnet": ("wordnet-hypernyms, 19,000", (9, 2)),
    "debian": ("debian-depends, 43,427 labels", (9, 0)),
    "tib-yall-dense": ("tib-gnd, all 221,335", (9, 0)),
    "tib": ("tib-gnd, 35,116", (9, 0)),
    "finna": ("finna-yso, 24,737", (9, 0)),
}  # of smaller data all labels are dense
BLUE, GREY, DARK = "#0072b2", "#a8adb3", "#3c4248"


def point(figures: dict, contender: str) -> tuple[float, float]:
    """(MiB of the output layer in training, P@1 in percent), means over the seeds."""
    kept = figures[contender]
    runs = [scores["P@1"] for scores in (kept["scores"] if isinstance(kept["scores"], list) else [kept["scores"]])]
    return kept["runs"][0]["settings"]["output_layer_bytes"] / 2**20, statistics.mean(runs)


def draw(results: dict, target: Path) -> None:
    """One arrow a data set, from the dense output layer to ours; the labels stand at the dense end."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "sparsexmc"})
    figure, axes = plt.subplots(figsize=(8.4, 4.3), layout="constrained")
    for key, (name, place) in NAMES.items():
        figures = results[f"quality, {key}"]["figures"]
        ours, dense = point(figures, "ours"), point(figures, "dense-twin")
        axes.annotate("", xy=ours, xytext=dense, arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1.5})
        axes.plot(*dense, "o", color="white", markeredgecolor=DARK, markersize=8)
        axes.plot(*ours, "o", color=BLUE, markersize=8)
        axes.annotate(name, dense, xytext=place, textcoords="offset points", verticalalignment="center", color=DARK)
    axes.plot([], [], "o", color=BLUE, markersize=8, label="sparsexmc, default settings")
    axes.plot([], [], "o", color="white", markeredgecolor=DARK, markersize=8, label="the same with every label dense")
    axes.set_xscale("log")
    axes.set_xlim(10, 2e4)
    axes.set_ylim(0, 85)
    axes.set_xticks([10, 100, 1024], ["10 MiB", "100 MiB", "1 GiB"])
    axes.set_xlabel("memory of the output layer in training: weights, indices, optimizer state")
    axes.set_ylabel("P@1, percent")
    axes.set_title("A tenth of the memory, the same precision", loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e7ea")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(target, metadata={"Date": None, "Creator": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    draw(json.loads(args.results.read_text())["results"], args.target)


if __name__ == "__main__":
    main()
