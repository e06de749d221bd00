"""Preparations and messages before a classifier goes to a GPU. Nothing here imports a package of CUDA."""

from __future__ import annotations

import logging
import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .. import _core

_log = logging.getLogger("sparsexmc")
_CARDS = Path("/dev/nvidiactl")
_CUBLAS = (("cu13/lib", "libcublas.so.13"), ("cublas/lib", "libcublas.so.12"))  # in the packages of NVIDIA


def prepare(device: str | None) -> None:
    """Before a classifier is made on `device`; None: a device that is not known yet.

    cuBLAS, which the engine looks for when it first needs it, may lie in an installed package: SPARSEXMC_CUBLAS_DIR
    then names its folder, unless the user has set it.
    """
    if device == "cpu" or _core.cuda_backend() == "none" or "SPARSEXMC_CUBLAS_DIR" in os.environ:
        return
    folder = cublas_folder()
    if folder is not None:
        os.environ["SPARSEXMC_CUBLAS_DIR"] = folder


def cublas_folder() -> str | None:
    """The folder of the cuBLAS that an installed package holds."""
    spec = find_spec("nvidia")  # a namespace, which is looked for but not imported
    for place in spec.submodule_search_locations or () if spec is not None else ():
        for folder, library in _CUBLAS:
            if (Path(place) / folder / library).exists():
                return str(Path(place) / folder)
    return None


@cache  # once per process
def report_fallback() -> None:
    """Log why `device="auto"` means the CPU: a warning on a machine that has a card of NVIDIA."""
    # Without kernels the driver has not been asked, and it shall not be: forked children could not use it any more.
    without_kernels = "this build of sparsexmc has no CUDA kernels"
    reason = without_kernels if _core.cuda_backend() == "none" else _core.cuda_unavailable_reason()
    _log.log(logging.WARNING if _CARDS.exists() else logging.INFO, 'device="auto" is the CPU: %s', reason)
