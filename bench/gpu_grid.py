"""Sizes that ``bench_step.py --device cuda`` measures: a grid, the most telling part first."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from typing import Any

from gpu_baselines import Sizes

LABELS, FEATURES, BATCHES = (131_073, 670_091, 2_812_281), (768, 384), (256, 64, 1024)
FAN_INS, GROUP_SIZES, OPTIMIZERS = (64, 32, 128), (32, 1, 16), ("SGD", "Adam")
GOAL = Sizes(labels=670_091, features=768, batch=256, fan_in=64, group_size=32, optimizer="SGD")
ROUND_LABELS = (131_072, 670_080, 2_812_288)  # nothing to pad: odd sizes must not cost more
OURS = "sparsexmc"
SPLIT = "sparsexmc, split"  # the step as two kernels, of which the card may run more blocks at once


@dataclass(frozen=True)
class Measurement:
    """One contender at one configuration."""

    contender: str
    sizes: Sizes

    @property
    def key(self) -> str:
        s = self.sizes
        dense = "" if self.contender in ("dense", "chunked") else f" F={s.fan_in} G={s.group_size}"
        return f"{self.contender} L={s.labels} H={s.features} B={s.batch}{dense} {s.optimizer}"


def schedule(args: argparse.Namespace) -> list[Measurement]:
    """Sizes to measure, the most telling first, each once; ``--labels`` and others pick from the grid or extend it."""

    def only(name: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
        given = getattr(args, name)
        return values if given is None else (given,)

    def grid(**fixed: tuple[Any, ...]) -> list[Sizes]:
        axes = {
            "labels": LABELS,
            "features": FEATURES,
            "batch": BATCHES,
            "fan_in": FAN_INS,
            "group_size": GROUP_SIZES,
            "optimizer": OPTIMIZERS,
        }
        axes = {name: fixed.get(name, values) for name, values in axes.items()}
        product = itertools.product(*(only(name, values) for name, values in axes.items()))
        return [Sizes(*values) for values in product]

    shape = {"fan_in": (GOAL.fan_in,), "group_size": (GOAL.group_size,)}
    sgd, adam, middle = {"optimizer": ("SGD",)}, {"optimizer": ("Adam",)}, {"batch": (GOAL.batch,)}
    goals = grid(**shape, **sgd, **middle, labels=LABELS[1:], features=(GOAL.features,))
    of_goal = {"labels": (GOAL.labels,), "features": (GOAL.features,)}
    everything = [OURS, "chunked", "dense", "gather"]
    goal = grid(**of_goal, **shape, **middle)
    if args.goal:
        return listed([([OURS, SPLIT], goal), (["chunked", "dense"], goal), (["gather"], goal)])
    parts = [
        (everything, goals),
        ([OURS, "chunked", "dense"], grid(**shape, **sgd)),
        ([OURS, "gather"], grid(**sgd, **middle, **of_goal)),
        ([OURS, "chunked", "dense"], grid(**shape, **adam, **middle)),
        ([OURS], grid(**shape, **sgd, **middle, labels=ROUND_LABELS, features=(GOAL.features,))),
        ([OURS], grid(**sgd, **middle)),
        ([OURS, "chunked", "dense"], grid(**shape, **adam)),
    ]
    if not args.quick:
        parts += [([OURS], grid()), (["gather"], grid(**sgd))]
    return listed(parts)


def listed(parts: list[tuple[list[str], list[Sizes]]]) -> list[Measurement]:
    """Every contender at every size of each part, each once."""
    planned = [
        Measurement(contender, sizes) for contenders, some in parts for contender in contenders for sizes in some
    ]
    return list({measurement.key: measurement for measurement in planned}.values())
