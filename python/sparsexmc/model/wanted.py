"""Settings that the user of a training asks for, and whether it can be meant for the data."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from ..data import Dataset, TextDataset, TextVectorizer
from ..data.settings import DataSettings
from ..errors import ArgumentError
from . import toml
from .settings import Settings, check, read_table

# What follows from the data alone, and what is reserved for it.
SIZES = ("in_features", "num_labels", "num_instances", "sparse_input")
RESERVES = ("labels_per_instance", "features_per_instance")

Wanted = Settings | Mapping[str, Any] | str | PathLike[str] | None


def wanted_table(settings: Wanted) -> toml.Table:
    """Settings in any form as nested tables, checked for unknown keys."""
    if settings is None:
        return {}
    if isinstance(settings, Settings):
        return settings.to_table()
    if not isinstance(settings, Mapping | str | PathLike):
        raise ArgumentError(
            f"settings is {settings!r}; pass nested tables such as {{'model': {{'hidden': 512}}}}, the path of a TOML "
            "file, or sparsexmc.Settings"
        )
    if not isinstance(settings, Mapping):
        return read_table(settings)
    table = toml.normalise(settings)
    check(table)
    return table


def counted(data: Dataset | TextDataset, wanted: Mapping[str, Any]) -> tuple[Dataset, TextVectorizer | None]:
    """The data set, and for raw text the vectorizer that counts its tokens."""
    options = dict(wanted.get("data", {}))
    if isinstance(data, Dataset):
        foreign = [key for key in options if key != "tfidf" and not _is_default(key, options[key])]
        if foreign:
            raise ArgumentError(f"data.{foreign[0]} is for raw text, which this data is not; leave it out")
        return data, None
    settings = DataSettings(**{key: toml.given(value) for key, value in options.items()})
    vectorizer = TextVectorizer.fit(data.texts, **settings.text_options())
    return data.counts(vectorizer), vectorizer


def _is_default(key: str, value: Any) -> bool:
    value, default = toml.given(value), getattr(DataSettings, key)
    return type(value) is type(default) and bool(value == default)


def differing(wanted: Mapping[str, Any], of_data: Mapping[str, Any]) -> list[str]:
    """The sizes in a table [model] that are not those of the data."""
    return [name for name in SIZES if name in wanted and not _is_same(wanted[name], of_data[name])]


def _is_same(value: Any, size: int) -> bool:
    return isinstance(value, int) and value == size


def check_sizes(wanted: Mapping[str, Any], of_data: Mapping[str, Any]) -> None:
    """Raise ArgumentError unless the sizes in a table [model] are those of the data."""
    if wrong := differing(wanted, of_data):
        said = ", ".join(f"model.{name} is {wanted[name]!r}, but the data has {of_data[name]!r}" for name in wrong)
        raise ArgumentError(f"{said}; leave out {' and '.join(f'model.{name}' for name in wrong)}")


def differing_tables(now: toml.Table, then: toml.Table, prefix: str = "") -> list[str]:
    """The differences between two settings as tables, in words, by the names of the keys."""
    said = []
    for key in {**then, **now}:
        here, there = now.get(key), then.get(key)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            said += differing_tables(dict(here), dict(there), f"{prefix}{key}.")
        elif here != there:
            said.append(f"{prefix}{key} is {here!r}, not {there!r}")
    return said


def without_sizes(wanted: toml.Table) -> toml.Table:
    """Settings without what follows from the data alone."""
    return wanted | {"model": {k: v for k, v in wanted["model"].items() if k not in (*SIZES, *RESERVES)}}
