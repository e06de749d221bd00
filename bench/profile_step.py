"""Where the time of one training step goes on a GPU: its kernels, by PyTorch's profiler.

``--bare`` only takes the steps, for an outer profiler such as ``ncu``. The default is the goal's configuration.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from torch.profiler import ProfilerActivity, profile

from gpu_baselines import Sizes, make_batches
from gpu_clock import GpuClock
from gpu_grid import GOAL
from gpu_step import INPUTS, POSITIVES, Ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in asdict(GOAL).items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(value), default=value, help="(default: %(default)s)"
        )
    parser.add_argument("--steps", type=int, default=8, help="steps after the warm-up (default: %(default)s)")
    parser.add_argument("--bare", action="store_true", help="without a profiler")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, to test this program")
    args = parser.parse_args()
    sizes = Sizes(**{name: getattr(args, name) for name in asdict(GOAL)})
    clock = GpuClock(args.dry_run)
    batches = make_batches(sizes, clock.device, INPUTS, POSITIVES)
    ours = Ours(sizes, clock)
    print(ours.classifier.memory.table())
    for batch in batches:
        ours.run(batch)
    clock.synchronize()
    if args.bare:
        for i in range(args.steps):
            ours.run(batches[i % INPUTS])
        clock.synchronize()
        return
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA][: 1 if args.dry_run else 2]) as seen:
        for i in range(args.steps):
            ours.run(batches[i % INPUTS])
        clock.synchronize()
    order = "self_cpu_time_total" if args.dry_run else "self_device_time_total"
    print(seen.key_averages().table(sort_by=order, row_limit=20, max_name_column_width=100))


if __name__ == "__main__":
    main()
