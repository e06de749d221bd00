"""Shared parts of the benchmarks: the command line, a description of the machine, its measured ceilings, the report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent


def argument_parser(description: str) -> argparse.ArgumentParser:
    """The command line of every benchmark: ``--out`` and ``--threads``; add what is special to one."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--out", type=Path, help="folder for <machine>.json and <machine>.md; bench/results in this tree"
    )
    parser.add_argument("--threads", type=int, default=usable_cpus(), help="worker threads (default: %(default)s)")
    return parser


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0))


def machine() -> dict[str, object]:
    """Processor, CPUs, memory and software, without the host's name."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    flags = set((re.search(r"^flags\s*:\s*(.*)$", cpuinfo, re.MULTILINE) or [" ", ""])[1].split())
    memory_kib = int(re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)[1])
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return {
        "processor": model[1] if model else platform.machine(),
        "isa": "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else platform.machine(),
        "cpus": usable_cpus(),
        "memory_gib": round(memory_kib / 2**20, 1),
        "system": f"{system}, Python {platform.python_version()}",
    }


def probe(threads: int) -> dict[str, float]:
    """Compiles and runs ``probe.cpp``: fp32 FMA GFLOP/s and read bandwidth in GB/s, summed over ``threads``.

    Raises:
        SystemExit: there is no C++ compiler.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        sys.exit("the probe needs a C++ compiler: install g++ or set CXX")
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/probe"
        flags = ["-O3", "-march=native", "-std=c++20", "-pthread"]
        subprocess.run([compiler, *flags, str(HERE / "probe.cpp"), "-o", program], check=True)
        return json.loads(subprocess.run([program, str(threads)], check=True, capture_output=True, text=True).stdout)


def start_memory_watch() -> int:
    """Resets this process's peak RSS and returns the RSS now, in bytes.

    ``ru_maxrss`` would not do: a new process inherits its parent's peak.
    """
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def peak_rss() -> int:
    """Largest RSS since ``start_memory_watch``, in bytes."""
    return status_bytes("VmHWM")


def status_bytes(field: str) -> int:
    """A ``kB`` field of ``/proc/self/status`` in bytes."""
    return int(re.search(rf"^{field}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[1]) * 1024


def run_self(script: str, *arguments: object) -> dict[str, object]:
    """Runs a benchmark script in a fresh process and returns the JSON object on its last line of output."""
    command = [sys.executable, script, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def median(values: Sequence[float]) -> float:
    """Median of the measured values."""
    return statistics.median(values)


def mib(size: float) -> str:
    """Bytes as MiB with thousands separators."""
    return f"{size / 2**20:,.1f} MiB"


def markdown_table(rows: Sequence[dict[str, object]]) -> str:
    """A table with one line per row; the keys of the first row are the header."""
    header = list(rows[0])
    lines = [header, ["---"] * len(header), *([str(row[key]) for key in header] for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def report(
    name: str,
    title: str,
    notes: Sequence[str],
    tables: Sequence[Sequence[dict[str, object]]],
    figures: dict[str, object],
    out: Path | None,
    about: dict[str, object] | None = None,
) -> None:
    """Prints the result as markdown; with ``out`` also keeps it in ``<machine>.json`` and renders ``<machine>.md``.

    Args:
        name: key of this benchmark in the JSON file; an earlier result under it is replaced.
        notes: sentences below the title, how it was measured.
        figures: the numbers of the tables.
        about: the machine; None: this one's processor.
    """
    about = about or machine()
    body = "\n\n".join([f"## {title}", *notes, *map(markdown_table, tables)])
    print(body)
    if out is None:
        return
    keep(name, body, figures, out, about)
    print(f"\nwritten: {results_file(out, about, '.md')} and .json")


def keep(name: str, body: str, figures: dict[str, object], out: Path, about: dict[str, object]) -> None:
    """Puts one benchmark's result into ``<machine>.json`` and renders ``<machine>.md`` from all in there."""
    out.mkdir(parents=True, exist_ok=True)
    results = kept_results(out, about)
    results[name] = {"date": date.today().isoformat(), "markdown": body, "figures": figures}
    kept = results_file(out, about, ".json")
    fresh = kept.with_suffix(".new")  # a benchmark may be killed while it writes
    fresh.write_text(json.dumps({"machine": about, "results": results}, indent=2) + "\n")
    fresh.replace(kept)
    unit = about["gpu"] if "gpu" in about else f"{about['processor']}, {about['cpus']} CPUs ({about['isa']})"
    heading = f"# {unit}, {about['memory_gib']} GiB, {about['system']}"
    sections = (results[key]["markdown"] for key in sorted(results))
    results_file(out, about, ".md").write_text("\n\n".join([heading, *sections]) + "\n")


def kept_results(out: Path, about: dict[str, object]) -> dict[str, dict]:
    """Results that earlier runs on this machine kept in ``out``, by name of the benchmark."""
    kept = results_file(out, about, ".json")
    return json.loads(kept.read_text())["results"] if kept.exists() else {}


def results_file(out: Path, about: dict[str, object], suffix: str) -> Path:
    """``<machine>.json`` or ``.md``."""
    name = about["gpu"] if "gpu" in about else f"{about['processor']} {about['isa']} {about['cpus']} cpus"
    return out / (re.sub(r"[^a-z0-9]+", "-", str(name).lower()).strip("-") + suffix)
