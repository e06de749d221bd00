"""The directory of a report: written beside its place and moved there whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .._files import atomic_directory, check_output, check_writable, recover_directory
from ..errors import ArgumentError, CheckpointError, Error
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
        ArgumentError: something else is there, or it is in a model directory.
        OSError: nothing can be written there.
    """
    check_output("directory", directory, directory=True)
    place = Path(os.path.realpath(directory))
    recover_directory(place)  # what a killed process set aside is there again
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
    check_writable(place.parent)
    return place


def publish(place: Path, files: Mapping[str, bytes]) -> None:
    """Makes `place`, as `check_place` gave it, a directory of just these files.

    An error or a kill leaves what was there.

    Raises:
        OSError, Error: it cannot be written.
    """
    try:
        with atomic_directory(place, (PAGE, *FIGURES)) as directory:
            for name, content in files.items():
                (directory / name).write_bytes(content)
    except CheckpointError as error:
        raise Error(f"writing the report '{place}' failed, it is as before: {error}") from None


def _is_report(place: Path) -> bool:
    try:
        with open(place / PAGE, "rb") as file:
            return f'content="{GENERATOR} '.encode() in file.read(_START_OF_PAGE)
    except OSError:
        return False
