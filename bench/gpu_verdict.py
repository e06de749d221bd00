"""Decisions after ``bench_step.py --device cuda`` has measured the goal's shape, a line for each question."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gpu_grid import GOAL, OURS, SPLIT, Measurement
from gpu_step import NAME, floor_ms

GOAL_MS = 0.5  # of the step with SGD and bf16 weights, on an H100 or H200
SMALL = 0.02  # below this share of a difference, two times are the same


def verdicts(figures: dict[str, Any], multiprocessors: int) -> list[tuple[str, str]]:
    """(question, answer) for each question that the measurements can answer."""
    measured = figures["measured"]

    def ms(contender: str, optimizer: str) -> float | None:
        sizes = type(GOAL)(**{**vars(GOAL), "optimizer": optimizer, **given})
        return measured.get(Measurement(contender, sizes).key, {}).get("ms")

    # A dry run measures another shape: that of its first result.
    first = next(iter(measured.values()), {}).get("sizes", {})
    given = {name: first.get(name, value) for name, value in vars(GOAL).items() if name != "optimizer"}
    rows = []
    for optimizer in ("SGD", "Adam"):
        fused, split = ms(OURS, optimizer), ms(SPLIT, optimizer)
        if fused and split:
            faster, slower = sorted([("fused", fused), ("split", split)], key=lambda pair: pair[1])
            same = slower[1] / faster[1] - 1 < SMALL
            decide = "no difference: keep fused" if same else f"{faster[0]} is the default to have"
            rows.append((f"{optimizer}: one kernel or two?", f"fused {fused:.3f} ms, split {split:.3f} ms: {decide}"))
        for baseline in ("chunked", "dense", "gather"):
            theirs = ms(baseline, optimizer)
            if fused and theirs:
                best = min(fused, split or fused)
                word = f"{theirs / best:.1f} times faster" if best < theirs else f"{best / theirs:.1f} times SLOWER"
                rows.append((f"{optimizer}: against PyTorch, {baseline}?", f"{theirs:.3f} ms: ours is {word}"))
    best = min((t for t in (ms(OURS, "SGD"), ms(SPLIT, "SGD")) if t), default=None)
    if best:
        floor = floor_ms(type(GOAL)(**given, optimizer="SGD"), figures["ceiling"], multiprocessors)
        met = "met" if best <= GOAL_MS else f"missed by {best / GOAL_MS:.1f} times: read the stall reasons"
        binding = max(floor, key=lambda name: floor[name])
        rows.append(("The goal of 0.5 ms?", met))
        rows.append(("How far from the traffic's floor?", f"{floor[binding] / best:.0%} of it ({binding})"))
    failed = [f"{key}: {value.get('error', 'did not finish')}" for key, value in measured.items() if "ms" not in value]
    rows += [("Not measured", text[:150]) for text in failed]
    return rows or [("Nothing was measured", "see the log")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where bench_step.py wrote its results")
    args = parser.parse_args()
    for file in sorted(args.folder.glob("*.json")):
        kept = json.loads(file.read_text())
        if NAME not in kept["results"]:
            continue
        print(f"{kept['machine']['gpu']}:")
        rows = verdicts(kept["results"][NAME]["figures"], kept["machine"]["multiprocessors"])
        width = max(len(question) for question, _ in rows)
        for question, answer in rows:
            print(f"  {question:{width}}  {answer}")


if __name__ == "__main__":
    main()
