"""The fused training step against the dense layer in PyTorch, side by side in one process.

``--device cuda`` measures a grid of sizes on a GPU, see ``gpu_step.py``. On the CPU it is one size, and both get the
same embeddings and labels, compute the loss and the gradient of the embeddings, and update the weights:

- sparsexmc: ``Classifier.train_step``;
- PyTorch: ``F.linear``, BCE with logits (summed over labels, averaged over instances), ``backward``, fused Adam.

Repeats alternate between the two, so that a busy or throttled machine slows both. Peak memory is taken in a process of
its own for each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

import common
import sparsexmc as sx

POSITIVES = 5  # labels per instance
CASES = [
    {"name": f"G={group}, F={fan_in}, {optimizer}", "group_size": group, "fan_in": fan_in, "optimizer": optimizer}
    for group, fan_in in ((1, 32), (16, 64))
    for optimizer in ("SGD", "Adam")
]
CPU_SIZES = {"labels": 100_000, "features": 768, "batch": 256}
Batch = tuple[np.ndarray, sp.csr_matrix]
Step = Callable[[Batch], float]


def batches(args: argparse.Namespace) -> list[Batch]:
    """Input sets: embeddings [B, H] and labels [B, L] with POSITIVES distinct labels per row."""
    made = []
    for seed in range(args.inputs):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((args.batch, args.features), dtype=np.float32)
        columns = np.concatenate([rng.choice(args.labels, POSITIVES, replace=False) for _ in range(args.batch)])
        indptr = np.arange(0, columns.size + 1, POSITIVES)
        shape = (args.batch, args.labels)
        made.append((x, sp.csr_matrix((np.ones(columns.size, np.float32), columns, indptr), shape=shape)))
    return made


def make_classifier(case: dict, args: argparse.Namespace) -> sx.Classifier:
    """Our classifier of one case."""
    optimizer = sx.SGD(lr=0.01) if case["optimizer"] == "SGD" else sx.Adam(lr=1e-3)
    return sx.Classifier(
        in_features=args.features,
        num_labels=args.labels,
        fan_in=case["fan_in"],
        group_size=case["group_size"],
        dense_labels=0,
        optimizer=optimizer,
        rewiring=None,
        device="cpu",
        batch_size=args.batch,
        num_threads=args.threads,
    )


def our_step(classifier: sx.Classifier) -> Step:
    """A function that takes one step and returns its seconds."""

    def step(batch: Batch) -> float:
        begin = time.perf_counter()
        classifier.train_step(*batch)
        return time.perf_counter() - begin

    return step


def torch_step(args: argparse.Namespace) -> Step:
    """The same for PyTorch. Filling the dense 0/1 targets, which only PyTorch needs, is not timed."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(args.labels, args.features) * args.features**-0.5)
    bias = torch.nn.Parameter(torch.zeros(args.labels))
    optimizer = torch.optim.Adam([weight, bias], lr=1e-3, fused=True)
    targets = torch.zeros(args.batch, args.labels)

    def step(batch: Batch) -> float:
        x, y = batch
        embeddings = torch.from_numpy(x).requires_grad_()
        rows, columns = (torch.from_numpy(np.asarray(index, np.int64)) for index in y.nonzero())
        targets.zero_()
        targets[rows, columns] = 1.0
        begin = time.perf_counter()
        logits = functional.linear(embeddings, weight, bias)
        loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / args.batch
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        return time.perf_counter() - begin

    return step


def measure_memory(which: str, args: argparse.Namespace) -> dict[str, object]:
    """Runs two steps in this process; returns bytes: peak RSS above the start and, for ours, plan and pool peak."""
    batch = batches(args)[0]
    figures = {}
    if which == "torch":
        import torch  # noqa: F401  (loading the library is not part of the step)

        start = common.start_memory_watch()
        step = torch_step(args)
    else:
        start = common.start_memory_watch()
        classifier = make_classifier(CASES[int(which)], args)
        step = our_step(classifier)
    for _ in range(2):
        step(batch)
    figures["peak_rss"] = common.peak_rss() - start
    if which != "torch":
        figures.update(planned=classifier.memory.planned, pool_peak=classifier.memory.peak)
    return figures


def measure_times(args: argparse.Namespace) -> dict[str, float]:
    """Median seconds per step: of PyTorch and of each case."""
    inputs = batches(args)
    steps = {"torch": torch_step(args)} | {case["name"]: our_step(make_classifier(case, args)) for case in CASES}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(args.repeats + 1):
        for batch in inputs:
            for name, step in steps.items():
                times = [step(batch) for _ in range(1 if name == "torch" else 3)]
                if repeat > 0:  # the first round warms caches and allocates lazily made state
                    seconds[name] += times
    return {name: common.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = common.argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="(default: %(default)s)")
    for name, letter in (("labels", "L"), ("features", "H"), ("batch", "B")):
        what = f"{letter} (default: {CPU_SIZES[name]:,} on the CPU, the grid on a GPU)"
        parser.add_argument(f"--{name}", type=int, help=what)
    cpu = parser.add_argument_group("on the CPU")
    cpu.add_argument("--repeats", type=int, default=5, help="rounds over the inputs (default: %(default)s)")
    cpu.add_argument("--inputs", type=int, default=3, help="different batches (default: %(default)s)")
    cpu.add_argument("--memory-of", help=argparse.SUPPRESS)  # the fresh process: "torch" or the number of a case
    gpu = parser.add_argument_group("on a GPU")
    gpu.add_argument("--fan-in", type=int, help="F (default: the grid)")
    gpu.add_argument("--group-size", type=int, help="G (default: the grid)")
    gpu.add_argument("--optimizer", choices=["SGD", "Adam"], help="(default: both)")
    gpu.add_argument("--goal", action="store_true", help="the goal's shape alone, also with the step in two kernels")
    gpu.add_argument("--quick", action="store_true", help="the telling part of the grid")
    gpu.add_argument("--seconds", type=float, default=1e9, help="starts no measurement after this time")
    gpu.add_argument("--resume", action="store_true", help="leaves out what the results already hold")
    gpu.add_argument("--dry-run", action="store_true", help="the GPU's benchmark on the CPU, to test it: give sizes")
    args = parser.parse_args()
    try:
        import torch
    except ImportError:
        parser.exit(
            1, "bench_step.py compares with PyTorch, which is missing: pip install torch (the CPU build is enough)\n"
        )
    if args.device == "cuda":
        import gpu_step

        if not args.dry_run and not torch.cuda.is_available():
            parser.exit(1, "PyTorch finds no CUDA device\n")
        gpu_step.main(args)
        return
    for name, size in CPU_SIZES.items():
        if getattr(args, name) is None:
            setattr(args, name, size)
    if args.memory_of is not None:
        print(json.dumps(measure_memory(args.memory_of, args)))
        return

    options = [f"--{name}={getattr(args, name)}" for name in (*CPU_SIZES, "threads")]
    memory = {
        name: common.run_self(__file__, f"--memory-of={which}", *options)
        for which, name in (("torch", "torch"), *((i, case["name"]) for i, case in enumerate(CASES)))
    }
    ceiling = common.probe(args.threads)
    seconds = measure_times(args)

    rows, memory_rows = [], []
    for case in [None, *CASES]:
        name = case["name"] if case else "torch"
        flops = 6 * args.labels * args.batch * (case["fan_in"] if case else args.features)
        gflops = flops / seconds[name] * 1e-9
        used = memory[name]
        title = name if case else "PyTorch, dense, Adam"
        rows.append(
            {
                "step": title,
                "ms": f"{seconds[name] * 1e3:.1f}",
                "GFLOP/s": f"{gflops:.0f}",
                "of FMA peak": f"{gflops / ceiling['fma_gflops']:.0%}",
                "times faster": f"{seconds['torch'] / seconds[name]:.1f}",
            }
        )
        memory_rows.append(
            {
                "step": title,
                "peak RSS above start": common.mib(used["peak_rss"]),
                "share of PyTorch's": f"{used['peak_rss'] / memory['torch']['peak_rss']:.1%}",
                "planned": common.mib(used["planned"]) if case else "",
                "pool peak": common.mib(used["pool_peak"]) if case else "",
            }
        )
    notes = [
        f"L = {args.labels:,} labels, H = {args.features} features, B = {args.batch} instances, {POSITIVES} labels "
        f"each, fp32, {args.threads} threads, PyTorch {torch.__version__}. Medians over {args.repeats} alternating "
        f"rounds of {args.inputs} batches. GFLOP/s counts 6 L F B (PyTorch: 6 L H B).",
        f"Ceilings measured in the same run: {ceiling['fma_gflops']:.0f} GFLOP/s fp32 multiply-add; reading "
        f"{ceiling['l1_gbs']:.0f} (L1), {ceiling['l2_gbs']:.0f} (L2), {ceiling['dram_gbs']:.0f} GB/s (memory).",
    ]
    sizes = {name: getattr(args, name) for name in (*CPU_SIZES, "threads", "repeats", "inputs")}
    figures = {"sizes": sizes, "ceiling": ceiling, "seconds": seconds, "memory": memory}
    common.report(
        "step", "One training step: fused sparse against dense", notes, [rows, memory_rows], figures, args.out
    )


if __name__ == "__main__":
    main()
