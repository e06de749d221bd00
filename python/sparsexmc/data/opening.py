"""Data in any form that training and evaluation take: a data set, raw texts, or a path to either."""

from __future__ import annotations

import os
from typing import Any

from ..errors import ArgumentError
from .dataset import Dataset
from .directory import load
from .texts import TextDataset, is_raw_text, load_texts


def open_data(data: Any) -> Dataset | TextDataset:
    """`data` itself if it is a data set; otherwise what stands at the path `data`, raw texts or features.

    Raises:
        ArgumentError: neither a data set nor a path to one.
        DataError: the files are malformed.
        FileNotFoundError: there is nothing at the path.
    """
    if isinstance(data, Dataset | TextDataset):
        return data
    if not isinstance(data, str | os.PathLike):
        raise ArgumentError(
            f"data is a {type(data).__name__}; pass a sparsexmc.data.Dataset (made of X and Y), a TextDataset, or the "
            "path of a data set"
        )
    if not os.path.exists(data):
        raise FileNotFoundError(2, "no such file or directory", os.fspath(data))
    return load_texts(data) if is_raw_text(data) else load(data)
