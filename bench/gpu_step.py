"""``bench_step.py --device cuda``: the fused step over a grid of sizes, against three ways to write it in PyTorch.

Every measurement is kept as soon as it is there, under a key of its own. So a run that is out of time, or killed,
leaves what it has; ``--resume`` goes on after it, and a kernel that breaks the CUDA context costs one measurement:
the rest runs in a fresh process.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict
from typing import Any

import torch

import common
import sparsexmc as sx
from gpu_baselines import BASELINES, Batch, Sizes, make_batches
from gpu_clock import GpuClock, clocks
from gpu_grid import GOAL, OURS, SPLIT, Measurement, schedule
from sparsexmc import _core

NAME = "step on a GPU"
POSITIVES = 5  # labels per instance
INPUTS = 4  # input sets
SECONDS = 0.4  # of repeats for one measurement


class Ours:
    """Our step; bf16 weights with SGD, fp32 weights with Adam."""

    def __init__(self, sizes: Sizes, clock: GpuClock) -> None:
        before = clock.taken_memory()
        on_gpu = not clock.dry_run or _core.cuda_backend() == "shim"
        self.classifier = sx.Classifier(
            in_features=sizes.features,
            num_labels=sizes.labels,
            fan_in=sizes.fan_in,
            group_size=sizes.group_size,
            dense_labels=0,
            optimizer=sx.SGD(lr=0.01) if sizes.optimizer == "SGD" else sx.Adam(lr=1e-3),
            weight_dtype="bfloat16" if sizes.optimizer == "SGD" and on_gpu else "float32",
            rewiring=None,
            device="cuda" if on_gpu else "cpu",
            batch_size=sizes.batch,
            labels_per_instance=POSITIVES,
            topk=POSITIVES,
        )
        self.taken = clock.taken_memory() - before
        self._dry_run = clock.dry_run

    def prepare(self, batch: Batch) -> None:
        """Nothing."""

    def run(self, batch: Batch) -> object:
        x = batch.x.float().numpy() if self._dry_run else batch.x  # the host shim's GPU takes what NumPy has
        return self.classifier.train_step(x, (batch.indptr, batch.indices))

    def memory(self, sizes: Sizes) -> dict[str, int]:
        """Bytes at the peak: all, and what is neither weights, indices, bias and state nor X and dX."""
        memory = self.classifier.memory
        model = sum(size for name, size in memory.entries.items() if name.startswith(("segments.", "optimizer.")))
        inputs = sizes.batch * sizes.features * (4 if self.classifier.device == "cpu" else 2)
        gradients = sizes.batch * sizes.features * 4
        return {
            "planned": memory.planned,
            "peak": memory.peak,
            "beyond": memory.peak - model - inputs - gradients,
            "taken_from_driver": self.taken,
        }


def floor_ms(sizes: Sizes, ceiling: dict[str, float], multiprocessors: int) -> dict[str, float]:
    """The least milliseconds that the step's traffic takes; the larger of the two is the floor.

    memory: weights and optimizer state read and written once and indices read once, at the measured copy bandwidth,
    which counts both directions.
    shared: for every group, its F rows of X^T gathered in bf16 (2 bytes) and its F rows of the fp32 dX read and written
    (8 bytes), for all B instances, at the 128 bytes that a multiprocessor's shared memory moves per clock.
    """
    rows = sizes.groups * sizes.group_size
    weight_bytes, state_bytes = (2, 0) if sizes.optimizer == "SGD" else (4, 8)
    moved = 2 * rows * (sizes.fan_in * (weight_bytes + state_bytes) + 4 + state_bytes)
    moved += sizes.groups * sizes.fan_in * 2
    moved += sizes.batch * sizes.features * (2 + 2)  # X in, its gradient out, both bf16
    gathered = sizes.groups * sizes.fan_in * sizes.batch * (2 + 8)
    per_ms = 128 * multiprocessors * ceiling["clock_mhz"] * 1e3
    return {"memory": moved / ceiling["copy_gbs"] * 1e-6, "shared": gathered / per_ms}


def measure(measurement: Measurement, clock: GpuClock) -> dict[str, Any]:
    """Figures of one measurement."""
    sizes = measurement.sizes
    clock.free_memory()
    batches = make_batches(sizes, clock.device, INPUTS, POSITIVES)
    if measurement.contender in (OURS, SPLIT):
        os.environ["SPARSEXMC_CUDA_STEP"] = "split" if measurement.contender == SPLIT else "fused"
        ours = Ours(sizes, clock)
        figures: dict[str, Any] = clock.median_ms(ours.run, batches, SECONDS)
        figures["wall_ms"] = clock.wall_ms(ours.run, batches, repeats=2 * INPUTS)
        return figures | ours.memory(sizes)
    model = BASELINES[measurement.contender](sizes, clock.device)
    figures = clock.median_ms(model.run, batches, SECONDS, model.prepare)
    return figures | {"peak": clock.peak_memory(), "note": getattr(model, "note", "")}


def tables(planned: list[Measurement], measured: dict[str, Any], ceiling: dict, about: dict) -> list[list[dict]]:
    """One row per configuration of ours that was tried, in the order of the schedule."""

    def ms(contender: str, sizes: Sizes) -> float | None:
        return measured.get(Measurement(contender, sizes).key, {}).get("ms")

    def show(value: float | None, form: str = "{:.2f}") -> str:
        return "" if value is None else form.format(value)

    rows = []
    for m in planned:
        result = measured.get(m.key)
        if m.contender != OURS or result is None:
            continue
        s, mine, chunked = m.sizes, result.get("ms"), ms("chunked", m.sizes)
        floor = max(floor_ms(s, ceiling, about["multiprocessors"]).values())
        rows.append(
            {
                "L": f"{s.labels:,}",
                "H": s.features,
                "B": s.batch,
                "F": s.fan_in,
                "G": s.group_size,
                "optimizer": s.optimizer,
                "ms": show(mine, "{:.3f}") or result.get("error", "did not finish")[:60],
                "split": show(ms(SPLIT, s), "{:.3f}"),
                "ms, host": show(result.get("wall_ms"), "{:.3f}"),
                "of floor": show(mine and floor / mine, "{:.0%}"),
                "(a) dense": show(ms("dense", s)),
                "(b) chunks": show(chunked),
                "(c) gather": show(ms("gather", s)),
                "(b) / ours": show(mine and chunked and chunked / mine, "{:.1f}"),
                "beyond, MiB": show(result.get("beyond") and result["beyond"] / 2**20, "{:.1f}"),
            }
        )
    problems = [
        {
            "not measured": key,
            "why": str(result.get("error", "did not finish"))[:160].replace("|", "/").replace("\n", " "),
        }
        for key, result in measured.items()
        if "ms" not in result
    ]
    return [table for table in (rows, problems) if table]


def notes(ceiling: dict[str, float], about: dict[str, Any], clocks_seen: list[str], measured: dict) -> list[str]:
    eager = sorted({result["note"] for result in measured.values() if result.get("note")})
    return [
        f"Device milliseconds by CUDA events, medians over {INPUTS} input sets, the L2 cache flushed before each step; "
        "'split' is the step as two kernels; 'host' is the time per call of a loop, back to back, with a warm cache. "
        f"{POSITIVES} labels per instance, embeddings in bf16. SGD trains bf16 weights (ours rounds stochastically), "
        "Adam fp32 weights.",
        "(a) linear, BCE, backward, fused optimizer. (b) the same in chunks of labels under torch.compile with the "
        "logit gradient written directly, without a loss value, and SGD inside the product that makes dW. (c) gathered "
        "inputs and batched products. " + (f"(b) ran {', '.join(eager)}." if eager else ""),
        "'of floor': the larger of two times, over ours: weights, state and indices at the copy bandwidth; the gathers "
        "of X^T and the read-modify-write of the fp32 dX at 128 bytes per clock and multiprocessor. 'beyond': peak of "
        "our pool without weights, state, X and dX; it should stay below 64 MiB.",
        f"Ceilings of the same run: copy {ceiling['copy_gbs']:,.0f} GB/s, bf16 matrix product "
        f"{ceiling['matrix_tflops']:.0f} TFLOP/s, {about['multiprocessors']} multiprocessors at "
        f"{ceiling['clock_mhz']:,.0f} MHz. "
        + ("nvidia-smi: " + " then ".join(clocks_seen) if any(clocks_seen) else ""),
    ]


def main(args: argparse.Namespace) -> None:
    """Measures what the command line asks for; keeps it in ``args.out``, or in bench/results."""
    begin = time.monotonic()
    clock = GpuClock(args.dry_run)
    about, ceiling, clocks_seen = clock.machine(), clock.ceilings(), [clocks()]
    out = args.out or common.HERE / "results"
    measured: dict[str, Any] = {}
    if args.resume:
        measured = common.kept_results(out, about).get(NAME, {}).get("figures", {}).get("measured", {})
    planned = schedule(args)

    def keep() -> str:
        body = ["## One training step on a GPU", *notes(ceiling, about, clocks_seen, measured)]
        text = "\n\n".join([*body, *map(common.markdown_table, tables(planned, measured, ceiling, about))])
        figures = {"ceiling": ceiling, "clocks": clocks_seen, "goal": asdict(GOAL), "measured": measured}
        common.keep(NAME, text, figures, out, about)
        return text

    left = 0
    for number, measurement in enumerate(planned):
        if measurement.key in measured:
            continue
        if time.monotonic() - begin > args.seconds:
            left += 1
            continue
        measured[measurement.key] = {"sizes": asdict(measurement.sizes)}  # stays like this if the process dies
        keep()
        try:
            measured[measurement.key] |= measure(measurement, clock)
        except (torch.cuda.OutOfMemoryError, MemoryError) as error:
            measured[measurement.key]["error"] = f"out of memory: {str(error).splitlines()[0]}"
        except Exception as error:  # the next one may well work
            measured[measurement.key]["error"] = f"{type(error).__name__}: {error}"
            if not clock.usable():
                keep()
                restart(args, begin)
        result = measured[measurement.key]
        print(f"{number + 1}/{len(planned)} {measurement.key}: {result.get('ms', result.get('error'))}", flush=True)
    clocks_seen.append(clocks())
    print(keep())
    print(f"\n{left} of {len(planned)} measurements left; written: {common.results_file(out, about, '.md')} and .json")


def restart(args: argparse.Namespace, begin: float) -> None:
    """Goes on in a fresh process with the time that is left."""
    print("the CUDA context is lost; going on in a fresh process", flush=True)
    seconds = args.seconds - (time.monotonic() - begin)
    os.execv(sys.executable, [sys.executable, *sys.argv, "--resume", f"--seconds={seconds:.0f}"])
