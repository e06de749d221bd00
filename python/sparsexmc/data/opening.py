"""Data in any form that training and evaluation take: a data set, raw texts, or a path to either."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import Any

from ..errors import ArgumentError
from .dataset import Dataset
from .directory import Source, load
from .forms import TextColumns
from .texts import TextDataset, is_raw_text, load_texts


@dataclass(frozen=True)
class DataPath:
    """Where a data set lies and how it is to be read, where its path alone does not say that.

    Everything that takes the path of a data set takes this too: `sparsexmc.train`, `Model.evaluate` and the like.

    Attributes:
        path: as in `load` and `load_texts`.
        test: a file with the test instances, when `path` is a file.
        text_column, labels_column, label_separator: of a `.csv` file, as in `load_texts`.
        index_base, num_features, num_labels: of a file without a header, as in `load`.
    """

    path: Source
    test: Source | None = None
    text_column: str = TextColumns.text
    labels_column: str = TextColumns.labels
    label_separator: str = TextColumns.separator
    index_base: int = 0
    num_features: int | None = None
    num_labels: int | None = None

    def open(self) -> Dataset | TextDataset:
        """Reads it. Raises as `open_data`."""
        path = self.path
        if isinstance(path, str | os.PathLike):
            if not os.path.exists(path):
                raise FileNotFoundError(2, "no such file or directory", os.fspath(path))
            if is_raw_text(path):
                if self.test is not None and not isinstance(self.test, str | os.PathLike):
                    raise ArgumentError(f"test={self.test!r} is no path of a file of texts; name one")
                return load_texts(path, self.test, **self._options("text_column", "labels_column", "label_separator"))
        return load(path, test=self.test, **self._options("index_base", "num_features", "num_labels"))

    def _options(self, *names: str) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in names}


def open_data(data: Any, *, num_features: int | None = None, num_labels: int | None = None) -> Dataset | TextDataset:
    """`data` itself if it is a data set; otherwise what stands at the path `data`, raw texts or features.

    Args:
        data: a data set, a path, or a `DataPath`.
        num_features, num_labels: of files that do not say it, if `data` does not say it either.

    Raises:
        ArgumentError: neither a data set nor a path to one.
        DataError: the files are malformed.
        FileNotFoundError: there is nothing at the path.
    """
    if isinstance(data, Dataset | TextDataset):
        return data
    if isinstance(data, str | os.PathLike):
        data = DataPath(data)
    if not isinstance(data, DataPath):
        raise ArgumentError(
            f"data is a {type(data).__name__}; pass a sparsexmc.data.Dataset (made of X and Y), a TextDataset, or the "
            "path of a data set"
        )
    return replace(
        data,
        num_features=num_features if data.num_features is None else data.num_features,
        num_labels=num_labels if data.num_labels is None else data.num_labels,
    ).open()
