"""Decisions before a device is touched: which one `auto` means, where cuBLAS lies, which stream was meant."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import sparsexmc as sx
from sparsexmc.cli import cards
from sparsexmc.interop import cuda as _cuda
from sparsexmc.interop import streams as _streams

SMALL = {"in_features": 8, "num_labels": 20, "fan_in": 4, "group_size": 4, "rewiring": None}


@pytest.mark.parametrize(("has_card", "level"), [(True, logging.WARNING), (False, logging.INFO)])
def test_auto_says_once_why_it_is_the_cpu(
    has_card: bool, level: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if sx._core.cuda_backend() != "none" and not sx._core.cuda_unavailable_reason():
        pytest.skip("this machine has a usable GPU")
    monkeypatch.setattr(_cuda, "_CARDS", tmp_path if has_card else tmp_path / "absent")
    _cuda.report_fallback.cache_clear()
    with caplog.at_level(logging.INFO, "sparsexmc"):
        assert [sx.Classifier(**SMALL, device="auto").device for _ in range(3)] == ["cpu"] * 3
    (record,) = caplog.records
    assert record.levelno == level
    assert record.getMessage().startswith('device="auto" is the CPU: ')


def test_a_named_device_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    _cuda.report_fallback.cache_clear()
    with caplog.at_level(logging.DEBUG, "sparsexmc"):
        sx.Classifier(**SMALL, device="cpu")
    assert not caplog.records


@pytest.mark.parametrize(
    "library", ["cu13/lib/libcublas.so.13", "cublas/lib/libcublas.so.12", "cublas/lib/libcublas.so.11", None]
)
def test_cublas_of_a_package(library: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "nvidia" / Path(library or "cufft/lib/libcufft.so.12").parent
    folder.mkdir(parents=True)
    if library is not None:
        (tmp_path / "nvidia" / library).touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    found = library is not None and not library.endswith("11")
    assert _cuda.cublas_folder() == (str(folder) if found else None)
    assert "nvidia" not in sys.modules


def test_folder_of_cublas_is_set_for_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cuda, "cublas_folder", lambda: "/found")
    monkeypatch.setattr(sx._core, "cuda_backend", lambda: "cuda")
    environment: dict[str, str] = {}
    monkeypatch.setattr(_cuda, "os", SimpleNamespace(environ=environment))
    _cuda.prepare("cpu")
    assert environment == {}
    _cuda.prepare("cuda")
    assert environment == {"SPARSEXMC_CUBLAS_DIR": "/found"}
    environment["SPARSEXMC_CUBLAS_DIR"] = "/chosen"
    _cuda.prepare(None)
    assert environment == {"SPARSEXMC_CUBLAS_DIR": "/chosen"}


@pytest.mark.parametrize(
    ("stream", "handle"),
    [
        (0, 0),
        (2**48, 2**48),
        (SimpleNamespace(cuda_stream=7), 7),
        (SimpleNamespace(ptr=8), 8),
        (SimpleNamespace(__cuda_stream__=lambda: (0, 9)), 9),
    ],
)
def test_handles_of_streams(stream: Any, handle: int) -> None:
    assert _streams.stream_handle(stream) == handle


@pytest.mark.parametrize("stream", [-1, 1.5, True, "7", SimpleNamespace(), object])
def test_what_is_no_stream(stream: Any) -> None:
    with pytest.raises(sx.DTypeError, match=r"stream is a.*torch\.cuda\.Stream"):
        _streams.stream_handle(stream)


def test_import_and_cpu_models_leave_cuda_alone() -> None:
    """A process that has initialised CUDA cannot fork for GPU work any more."""
    code = f"""
import sparsexmc as sx
sx.Classifier(**{SMALL}, device="cpu"), sx.plan(**{SMALL}, device="cpu")
maps = open("/proc/self/maps").read()
assert "libcuda." not in maps and "libcublas" not in maps
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cards_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(cards.ctypes, "CDLL", missing)
    assert cards.driver() is None
