#!/usr/bin/env python3
"""Check registers and spills of every CUDA kernel against recorded limits; needs no GPU.

    cmake -G Ninja -S . -B build/cuda -DSPARSEXMC_CUDA=ON
    NVCC_APPEND_FLAGS="--threads=1 -Xptxas=-v" cmake --build build/cuda --clean-first >build/cuda/build.log 2>&1
    scripts/check_registers.py build/cuda/build.log [--update]

The log of the build holds what ptxas says about each kernel. `registers.json` holds, for each kernel and architecture,
the most that any of its instances may use: registers (when recorded, rounded up to the unit in which the hardware hands
them out), bytes of stack and bytes of spills. Spills other than 0 want a good reason. The record is of CUDA 13.0.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

RECORD = Path(__file__).resolve().parent / "registers.json"
UNIT = 8  # registers are given to warps in steps of this many per thread
MOST = 255  # per thread
Record = dict[str, dict[str, list[int]]]  # kernel -> architecture -> registers, bytes of stack, bytes of spills
COMPILING = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\w+)'")
PROPERTIES = re.compile(r"Function properties for (\w+)")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")


@dataclass
class Kernel:
    """One instance of a kernel on one architecture; bytes are per thread."""

    symbol: str
    architecture: str
    registers: int = 0
    stack: int = 0
    spills: int = 0
    name: str = ""

    @property
    def family(self) -> str:
        """The kernel without namespace and template arguments."""
        return re.sub(r"<.*", "", self.name)


def parse(log: str) -> list[Kernel]:
    """The kernels of a build log, in its order."""
    kernels: list[Kernel] = []
    described = ""
    for line in log.splitlines():
        if match := COMPILING.search(line):
            kernels.append(Kernel(*match.groups()))
        elif match := PROPERTIES.search(line):
            described = match[1]  # a function that was not inlined is described between kernels
        elif kernels and (match := STACK.search(line)):
            stack, stores, loads = map(int, match.groups())
            kernels[-1].spills += stores + loads  # of the functions that it calls, too
            if described == kernels[-1].symbol:
                kernels[-1].stack = stack
        elif kernels and (match := USED.search(line)):
            kernels[-1].registers = int(match[1])
    for kernel, name in zip(kernels, demangled([kernel.symbol for kernel in kernels]), strict=True):
        kernel.name = name
    return kernels


def demangled(symbols: list[str]) -> list[str]:
    """Readable names without return type, parameters and our namespaces: group_step_kernel<float, 32, true>."""
    text = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True).stdout
    names = []
    for name in text.splitlines():
        name = re.sub(r"\((?:[\w ]+)\)(?=[\w-])", "", name)  # casts of template arguments: (int)32
        name = re.sub(r"\bsparsexmc::|\bcuda::|\bkernels::|\(anonymous namespace\)::", "", name)
        names.append(re.sub(r"^void ", "", name.rsplit("(", 1)[0]))
    return names


def most_used(kernels: list[Kernel]) -> Record:
    """The most that the instances of each kernel use."""
    most: Record = {}
    for kernel in sorted(kernels, key=lambda kernel: (kernel.family, int(kernel.architecture))):
        used = most.setdefault(kernel.family, {}).setdefault(kernel.architecture, [0, 0, 0])
        used[:] = map(max, used, (kernel.registers, kernel.stack, kernel.spills))
    return most


def limits(kernels: list[Kernel]) -> Record:
    """The limits that the present build just keeps."""
    return {
        family: {name: [min(MOST, -(-used[0] // UNIT) * UNIT), *used[1:]] for name, used in by_architecture.items()}
        for family, by_architecture in most_used(kernels).items()
    }


def violations(kernels: list[Kernel], record: Record) -> list[list[str]]:
    """Rows of a table: kernel, architecture, what, used, allowed."""
    rows = []
    for family in sorted({kernel.family for kernel in kernels} - record.keys()):
        rows.append([family, "", "not in the record", "", ""])
    for kernel in kernels:
        if kernel.family not in record:
            continue
        limit = record[kernel.family].get(kernel.architecture, [0, 0, 0])
        used = (kernel.registers, kernel.stack, kernel.spills)
        for what, mine, allowed in zip(("registers", "bytes of stack", "bytes of spills"), used, limit, strict=True):
            if mine > allowed:
                rows.append([kernel.name, kernel.architecture, what, str(mine), str(allowed)])
    seen = {(kernel.family, kernel.architecture) for kernel in kernels}
    for family, by_architecture in record.items():
        for architecture in by_architecture:
            if (family, architecture) not in seen:
                rows.append([family, architecture, "not in the log: was everything compiled anew?", "", ""])
    return rows


def table(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", type=Path, help="output of a whole build with -Xptxas=-v")
    parser.add_argument("--update", action="store_true", help=f"write {RECORD.name} anew from this build")
    args = parser.parse_args()
    kernels = parse(args.log.read_text(errors="replace"))
    if not kernels:
        print(f"{args.log} names no kernel: was it built with -Xptxas=-v, and not found in ccache?", file=sys.stderr)
        return 1
    if args.update:
        lines = (f"  {json.dumps(family)}: {json.dumps(limit)}" for family, limit in limits(kernels).items())
        RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        print(f"written: {RECORD.name}")
    most = most_used(kernels)
    architectures = sorted({kernel.architecture for kernel in kernels}, key=int)
    rows = [["most registers on", *(f"sm_{name}" for name in architectures)]]
    for family, used in most.items():
        rows.append([family, *(str(used[name][0]) if name in used else "" for name in architectures)])
    print(f"{len(kernels)} kernels\n{table(rows)}")
    wrong = violations(kernels, json.loads(RECORD.read_text()))
    if wrong:
        print(
            f"\nAbove the limits of {RECORD.name}; after a change that is worth it, run this with --update",
            file=sys.stderr,
        )
        print(table([["kernel", "sm", "what", "used", "allowed"], *wrong]), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
