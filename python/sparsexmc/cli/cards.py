"""The graphics cards of this machine, as the NVIDIA driver tells: it needs no CUDA package to be asked."""

from __future__ import annotations

import ctypes

# CUdevice_attribute
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76


def driver() -> tuple[str, list[str]] | None:
    """("CUDA 13.0", a line for every card) of the driver; None if there is none. A broken one has no cards."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))  # 1000 * major + 10 * minor
    name = f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
    count = ctypes.c_int()
    if library.cuInit(0) != 0 or library.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return name, []
    return name, [_describe(library, number) for number in range(count.value)]


def _describe(library: ctypes.CDLL, number: int) -> str:
    device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
    library.cuDeviceGet(ctypes.byref(device), number)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in (COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR):
        value = ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability.append(str(value.value))
    gib = memory.value / 2**30
    return f"{name.value.decode(errors='replace')}, {gib:.0f} GiB, compute capability {'.'.join(capability)}"
