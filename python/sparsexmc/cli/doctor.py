"""Report versions, CPU and CUDA, and train a tiny classifier as a self-test on the CPU and, where there is one that can
be used, on a GPU. Exit code 0 if these work."""

from __future__ import annotations

import argparse
import os
import platform
from importlib import metadata
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from .. import _core
from ..classifier import Classifier
from ..config import Adam
from ..interop.cuda import cublas_folder
from . import cards
from .tables import table

# What may stand around the engine. Versions are read from package metadata: importing torch would take seconds.
REQUIRED = ("numpy", "scipy", "tqdm", "tomli-w")
OPTIONAL = ("torch", "cupy", "jax")
# Instruction sets that each x86-64 level adds, by their names in /proc/cpuinfo.
LEVELS = {
    "v2": {"sse4_2", "popcnt"},
    "v3": {"avx2", "fma", "bmi2"},
    "v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "amx": {"amx_tile", "amx_bf16", "amx_int8", "avx512_bf16"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    rows = [["Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"]]
    rows += [[name, _version(name) or "MISSING"] for name in REQUIRED]
    rows += [[name, version] for name in OPTIONAL if (version := _version(name))]
    rows.insert(0, ["sparsexmc", f"{_core.version()} ({Path(__file__).parents[1]})"])
    forced = os.environ.get("SPARSEXMC_CPU_ISA")
    without_cuda = _core.cuda_unavailable_reason()
    rows += [
        ["CPU", _cpu_model()],
        ["CPU level", _core.cpu_level() + (f", forced by SPARSEXMC_CPU_ISA={forced}" if forced else "")],
        ["available", _available_levels()],
        ["threads", f"{_core.default_num_threads()} of {os.cpu_count()} CPUs"],
        *_cuda_rows(),
        ["CUDA", without_cuda or "usable"],
    ]
    print(table(rows, align="ll") + "\n")
    problems = {device: self_test(device) for device in (["cpu"] if without_cuda else ["cpu", "cuda"])}
    good = "passed: a small classifier trains and predicts"
    verdicts = [[f"self-test on {device}", f"FAILED: {why}" if why else good] for device, why in problems.items()]
    print(table(verdicts, align="ll"))
    return int(any(problems.values()))


def self_test(device: str) -> str:
    """Trains a small classifier with dense and fan-in labels. Returns the fault, or an empty string."""
    instances = 64
    labels = np.arange(instances) % 40
    embeddings = np.random.default_rng(0).standard_normal((40, 32)).astype(np.float32)[labels]
    positives = sp.csr_matrix((np.ones(instances, np.float32), (np.arange(instances), labels)), shape=(instances, 40))
    try:
        classifier = Classifier(
            32,
            40,
            fan_in=16,
            group_size=4,
            dense_labels=8,
            optimizer=Adam(lr=0.05),
            batch_size=instances,
            device=device,
        )
        losses = [classifier.train_step(embeddings, positives).loss for _ in range(100)]
        _, top = classifier.topk(embeddings, 1)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if not np.isfinite(losses).all() or losses[-1] > losses[0] / 4:
        return f"the loss went from {losses[0]:.3g} to {losses[-1]:.3g}"
    hits = (top[:, 0] == labels).mean()
    return "" if hits > 0.9 else f"only {hits:.0%} of the training labels are predicted"


def _cuda_rows() -> list[list[str]]:
    kernels = {"none": "not built: there was no CUDA compiler, or SPARSEXMC_CUDA=OFF", "shim": "on the CPU, for tests"}
    found = cards.driver()
    rows = [["CUDA kernels", kernels.get(_core.cuda_backend(), "built")]]
    rows.append(["CUDA driver", "none (libcuda.so.1)" if found is None else found[0]])
    rows += [[f"cuda:{number}", card + _image(number)] for number, card in enumerate(found[1] if found else [])]
    if _core.cuda_backend() == "cuda":
        folder = os.environ.get("SPARSEXMC_CUBLAS_DIR") or cublas_folder()
        rows.append(["cuBLAS", folder or "of the system or of PyTorch, if any (pip install nvidia-cublas)"])
    return rows


def _image(card: int) -> str:
    """Which of the compiled kernels a card runs, as the end of its line."""
    image = _core.cuda_kernel_image(card)
    if image.startswith("compute"):
        return f", PTX of {image}: the driver compiles it at first use, which takes minutes and is kept"
    return f", kernels of {image}" if image else ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_info(key: str) -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next((line.partition(":")[2].strip() for line in file if line.partition(":")[0].strip() == key), "")
    except OSError:
        return ""


def _cpu_model() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _available_levels() -> str:
    """The levels of the kernels that this CPU can run, as SPARSEXMC_CPU_ISA names them."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return "one level for this architecture"
    flags, levels = set(_cpu_info("flags").split()), []
    for level, needed in LEVELS.items():
        if not needed <= flags:
            break
        levels.append(level)
    return ", ".join(levels) + " (choose with SPARSEXMC_CPU_ISA)" if levels else "not known"
