"""Time on a GPU, and what the card can do at most: events, a cold L2 cache, copy bandwidth, matrix rate, clocks.

With ``dry_run`` the same code runs on the CPU, to test a benchmark where there is no GPU; its figures mean nothing.
"""

from __future__ import annotations

import gc
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

import common

WARM_UP_ROUNDS = 2  # over the input sets
MOST_REPEATS = 40
MOST_HEAD_START_MS = 5.0


class GpuClock:
    """Measures steps on one device."""

    def __init__(self, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.device = torch.device("cpu" if dry_run else "cuda:0")
        # Written before every timed step: the L2 cache holds this, and not the answer of the step before.
        self._flush = torch.empty((1 if dry_run else 256) << 20, dtype=torch.uint8, device=self.device)
        self._cycles_per_ms = 1e6
        self._head_start_ms = 0.5  # the device waits before a timed step: queueing its kernels does not count

    def synchronize(self) -> None:
        """Waits for the device; raises if its work failed."""
        if not self.dry_run:
            torch.cuda.synchronize()

    def usable(self) -> bool:
        """False once a kernel has broken the process's CUDA context."""
        try:
            self.synchronize()
            torch.zeros(1, device=self.device).item()
        except RuntimeError:
            return False
        return True

    def free_memory(self) -> None:
        """Gives what PyTorch keeps back to the device."""
        gc.collect()
        if not self.dry_run:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_memory(self) -> int:
        """Most bytes in PyTorch's tensors since ``free_memory``."""
        return 0 if self.dry_run else torch.cuda.max_memory_allocated() - self._flush.numel()

    def taken_memory(self) -> int:
        """Bytes of the device that are in use, by anybody."""
        if self.dry_run:
            return 0
        free, total = torch.cuda.mem_get_info()
        return total - free

    def median_ms(
        self,
        run: Callable[[Any], object],
        inputs: Sequence[Any],
        seconds: float,
        prepare: Callable[[Any], object] = lambda _: None,
    ) -> dict[str, float]:
        """Median, smallest and largest milliseconds of ``run(input)`` on the device; ``prepare`` is not timed.

        Args:
            seconds: about how long to repeat.
        """
        for _ in range(WARM_UP_ROUNDS):
            for one in inputs:
                begin = time.perf_counter()
                prepare(one)
                queue = time.perf_counter()
                run(one)
                queued = time.perf_counter() - queue
                self.synchronize()
                estimate = time.perf_counter() - begin
        self._head_start_ms = min(MOST_HEAD_START_MS, 0.2 + 1.5e3 * queued)
        rounds = int(min(MOST_REPEATS, seconds / max(estimate, 1e-4)) / len(inputs))
        timed = [self._timed(run, one, prepare) for _ in range(max(1, rounds)) for one in inputs]
        self.synchronize()
        values = [elapsed() for elapsed in timed]
        return {"ms": common.median(values), "least_ms": min(values), "most_ms": max(values), "repeats": len(values)}

    def wall_ms(self, run: Callable[[Any], object], inputs: Sequence[Any], repeats: int) -> float:
        """Milliseconds per call on the host's clock, back to back: what a training loop sees."""
        self.synchronize()
        begin = time.perf_counter()
        for i in range(repeats):
            run(inputs[i % len(inputs)])
        self.synchronize()
        return (time.perf_counter() - begin) * 1e3 / repeats

    def _timed(
        self, run: Callable[[Any], object], one: object, prepare: Callable[[Any], object]
    ) -> Callable[[], float]:
        """Queues one step; the result gives its milliseconds once the device has finished."""
        prepare(one)
        self._flush.zero_()
        if self.dry_run:
            begin = time.perf_counter()
            run(one)
            elapsed = (time.perf_counter() - begin) * 1e3
            return lambda: elapsed
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(int(self._head_start_ms * self._cycles_per_ms))
        start.record()
        run(one)
        stop.record()
        return lambda: start.elapsed_time(stop)

    def ceilings(self) -> dict[str, float]:
        """Copy GB/s (bytes read plus written), bf16 matrix TFLOP/s on random data, clock in MHz under that load."""
        size, side = (1 << 20, 128) if self.dry_run else (1 << 30, 8192)
        source = torch.empty(size, dtype=torch.uint8, device=self.device).random_()
        target = torch.empty_like(source)
        copy = self.median_ms(lambda _: target.copy_(source), [None], seconds=0.3)["ms"]
        a, b = (torch.randn(side, side, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        product = torch.empty_like(a)
        matrix = self.median_ms(lambda _: torch.mm(a, b, out=product), [None], seconds=0.3)["ms"]
        if not self.dry_run:
            cycles = 20_000_000
            spin = self.median_ms(lambda _: torch.cuda._sleep(cycles), [None], seconds=0.1)["ms"]
            self._cycles_per_ms = cycles / spin
        return {
            "copy_gbs": 2 * size / copy * 1e-6,
            "matrix_tflops": 2 * side**3 / matrix * 1e-9,
            "clock_mhz": self._cycles_per_ms * 1e-3,
        }

    def machine(self) -> dict[str, Any]:
        """The card and its software, for the name and the heading of the results."""
        about = common.machine()
        if self.dry_run:
            return about | {"gpu": "dry run", "multiprocessors": 1, "l2_mib": 1}
        card = torch.cuda.get_device_properties(0)
        driver = query_gpu("driver_version") or "not known"
        return {
            "gpu": card.name,
            "memory_gib": round(card.total_memory / 2**30, 1),
            "multiprocessors": card.multi_processor_count,
            "l2_mib": getattr(card, "L2_cache_size", 0) >> 20,
            "system": f"{about['system']}, PyTorch {torch.__version__}, driver {driver}",
            "processor": about["processor"],
            "cpus": about["cpus"],
        }


def query_gpu(fields: str) -> str:
    """Fields of the first card as nvidia-smi prints them; empty where there is none. Reads only."""
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.splitlines()[0].strip() if done.stdout else ""


def clocks() -> str:
    """Clocks, temperature and power now."""
    return query_gpu("clocks.sm,clocks.mem,temperature.gpu,power.draw")
