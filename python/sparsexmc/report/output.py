"""The directory of a report: written beside its place and moved there whole."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ..errors import ArgumentError
from .page import GENERATOR

PAGE = "index.html"
FIGURES = (
    "learning-curves.png",
    "bands.png",
    "band-recall.png",
    "band-balance.png",
    "prediction-counts.png",
    "feature-usage.png",
    "churn.png",
    "memory.png",
)
"""Every name that a figure may have; whatever else lies in a directory, no report wrote it."""

_START_OF_PAGE = 2048  # bytes, which hold the generator tag


def check_place(directory: str | os.PathLike[str]) -> Path:
    """The absolute path of `directory`, where a report can go: nothing, an empty directory, or an earlier report.

    Missing parent directories are made.

    Raises:
        ArgumentError: something else is there.
        OSError: nothing can be written there.
    """
    place = Path(os.path.realpath(directory))
    if place.exists() and not place.is_dir():
        raise ArgumentError(f"report directory {os.fspath(directory)!r} is a file; name another place")
    if place.is_dir():
        names = sorted(path.name for path in place.iterdir())
        foreign = [name for name in names if name not in (PAGE, *FIGURES)]
        if names and (foreign or not _is_report(place)):
            raise ArgumentError(
                f"report directory {os.fspath(directory)!r} holds {(foreign or names)[0]!r} and is not an earlier "
                "report, so it is not overwritten; name another place"
            )
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}."):
        pass
    return place


def publish(place: Path, files: Mapping[str, bytes]) -> None:
    """Makes `place`, as `check_place` gave it, a directory of just these files.

    An error leaves what was there. A kill between two renames can leave an earlier report under a hidden name beside
    its place, whole as it was.
    """
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    aside = temporary.with_name(temporary.name + ".old")
    temporary.mkdir()
    try:
        for name, content in files.items():
            with open(temporary / name, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if place.exists():
            place.rename(aside)
        try:
            temporary.rename(place)
        except OSError:
            if aside.exists():
                aside.rename(place)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)


def _is_report(place: Path) -> bool:
    try:
        with open(place / PAGE, "rb") as file:
            return f'content="{GENERATOR} '.encode() in file.read(_START_OF_PAGE)
    except OSError:
        return False
