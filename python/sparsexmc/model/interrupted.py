"""The remains of an interrupted training beside its output, and how another one takes it up."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from ..classifier import Classifier
from ..core.directory import ModelReader
from ..data import Dataset, TextDataset
from ..errors import ArgumentError, CheckpointError
from . import defaults, storage, toml
from .preparation import Preparation
from .settings import Settings
from .storage import MANIFEST_FILE
from .wanted import differing, differing_tables, without_sizes

_ELSEWHERE = ("device", "num_threads")  # settings of a model: a training may go on elsewhere


def best_place(output: Path) -> Path:
    """Where the best epoch so far stands until the output is written."""
    return output.with_name(f"{output.name}.training")


class BestEpoch:
    """Where the model stands that is better than those before."""

    def __init__(self, place: Path, *, resumed: bool = False) -> None:
        self.place = place
        self._found = None if resumed else self._written()

    def is_saved(self) -> bool:
        """Whether this training has saved a model. An interrupt may come before `save` returns."""
        return self._written() not in (None, self._found)

    def _written(self) -> tuple[int, int] | None:
        try:
            status = (self.place / MANIFEST_FILE).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def remove(self) -> None:
        """Remove what was saved: the output has it now."""
        shutil.rmtree(self.place, ignore_errors=True)


@dataclass(frozen=True)
class Before:
    """An interrupted training: everything of it that is not of its epochs."""

    settings: Settings
    preparation: Preparation
    classifier: Classifier
    dataset: Dataset


def take_up(state: Path, opened: Dataset | TextDataset, wanted: toml.Table, *, of_a_model: bool) -> Before:
    """The interrupted training whose state is in a directory. Raises ArgumentError for other settings or data.

    Args:
        opened: the data.
        wanted: settings, which may be left out; those `of_a_model` may be of other data.
    """
    with ModelReader(state) as reader:
        before = storage.read_settings(reader)
        if before is None:
            raise CheckpointError(
                f"{reader.path}: holds no settings of a training ({storage.SETTINGS_FILE}); go on with the call of fit "
                "that saved it, or start anew"
            )
        had = before.to_table()
        now = Settings.from_table(toml.merge(had, without_sizes(wanted) if of_a_model else wanted))
        if now.data.tfidf == "auto":
            now = replace(now, data=replace(now.data, tfidf=before.data.tfidf))
        table = now.to_table()
        elsewhere = {name: table["model"][name] for name in _ELSEWHERE}
        if changed := differing_tables(table, toml.merge(had, {"model": elsewhere})):
            raise ArgumentError(
                f"resume: the interrupted training had other settings: {'; '.join(changed)}. Leave them out, or "
                "start anew without resume"
            )
        parts = storage.read(reader, now.model.device, now.model.num_threads or 0)
    dataset = parts.preparation.dataset(opened)
    of_data = defaults.for_data(dataset.X, dataset.Y).to_table()["model"]
    if wrong := differing(had["model"], of_data):
        said = ", ".join(f"{name}={of_data[name]!r}, not {had['model'][name]!r}" for name in wrong)
        raise ArgumentError(f"resume: the data is not that of the interrupted training: it has {said}")
    return Before(now, parts.preparation, parts.classifier, dataset)
