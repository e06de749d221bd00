"""One baseline on one data directory, in this process, with bench/ on the path and the tools installed:

    python -m contenders.baselines METHOD DATA OUT [--seed 0] [--threads 2]

`contenders.environment` has the tools, and runs this. `contenders.contender` says what ``OUT.npz`` and ``OUT.json``
hold.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

from .contender import Contender, measure
from .environment import TOOL_OF


def make(method: str, threads: int, seed: int) -> Contender:
    """The contender of a name. Imports its tool alone, so that no other one is needed or counts in memory."""
    if method == "knn":
        from .neighbours import NearestNeighbours

        return NearestNeighbours(threads)
    if method in ("xr-linear", "xr-linear-3"):
        from .xr_linear import XRLinear

        return XRLinear(threads, seed, trees=3 if method == "xr-linear-3" else 1)
    if method == "napkinxc-plt":
        from .napkinxc_plt import ProbabilisticLabelTree

        return ProbabilisticLabelTree(threads, seed)
    if method == "omikuji":
        from .omikuji_trees import OmikujiTrees

        return OmikujiTrees(threads)
    raise ValueError(method)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=TOOL_OF)
    parser.add_argument("data", type=Path, help="directory with X_trn, Y_trn, X_tst, Y_tst")
    parser.add_argument("out", type=Path, help="OUT.npz and OUT.json are written")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    args = parser.parse_args()
    about = {
        "method": args.method,
        "tool": f"{TOOL_OF[args.method]} {version(TOOL_OF[args.method])}",
        "data": args.data.name,
        "seed": args.seed,
        "threads": args.threads,
    }
    measure(make(args.method, args.threads, args.seed), args.data, args.out, about)


if __name__ == "__main__":
    main()
