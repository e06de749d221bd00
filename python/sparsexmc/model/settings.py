"""Everything that a training is told, as typed settings that a TOML file can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from os import PathLike, fspath
from typing import Any, Self

from .._files import atomic_file
from ..config import SGD, Adam, ClassifierConfig, Hidden, Rewiring, Schedule, Softmax
from ..data.settings import DataSettings
from ..ensemble.settings import LinearSettings, NeighborsSettings
from ..errors import ArgumentError
from ..label_options import MetaClassifier, Propensity
from ..training.settings import TrainingSettings
from ..weight_average import WeightAverage
from . import toml

FREQUENCY, SEMANTIC, RANDOM = "frequency", "semantic", "random"
LABEL_ORDERS = (FREQUENCY, SEMANTIC, RANDOM)

# The tables below [model] and what they make.
_OPTIMIZERS: dict[str, type] = {"sgd": SGD, "adam": Adam}
_OBJECTS: dict[str, type] = {
    "hidden": Hidden,
    "loss": Softmax,
    "schedule": Schedule,
    "rewiring": Rewiring,
    "auxiliary": MetaClassifier,
    "positive_weights": Propensity,
    "average": WeightAverage,
}


@dataclass(frozen=True, kw_only=True)
class ModelSettings(ClassifierConfig):
    """The arguments of `Classifier`, and how its labels are ordered.

    Attributes:
        label_order: "frequency", "semantic" or "random": the methods of `cluster_labels`.
    """

    label_order: str = FREQUENCY

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.label_order, str) or self.label_order not in LABEL_ORDERS:
            raise ArgumentError(f"model.label_order is {self.label_order!r}; write one of {', '.join(LABEL_ORDERS)}")

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of `Classifier`, but for the label order, which only the data tells."""
        return {name: value for name, value in vars(self).items() if name != "label_order"}


_SECTIONS: dict[str, type] = {
    "model": ModelSettings,
    "training": TrainingSettings,
    "data": DataSettings,
    "linear": LinearSettings,
    "neighbors": NeighborsSettings,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a training, section by section; `sparsexmc.train` makes them from the data and what is wanted.

    Attributes:
        model: of the network.
        training: of `Classifier.fit`.
        data: how features are prepared.
        linear: of the linear classifiers beside the network.
        neighbors: of the neighbors beside the network.
    """

    model: ModelSettings
    training: TrainingSettings
    data: DataSettings
    linear: LinearSettings
    neighbors: NeighborsSettings

    def __post_init__(self) -> None:
        for name, kind in _SECTIONS.items():
            if not isinstance(getattr(self, name), kind):
                raise ArgumentError(
                    f"{name} is {getattr(self, name)!r}, but it is a section; make settings of tables with "
                    "Settings.from_table"
                )

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Settings of nested tables such as those of a TOML file, shorthands too; what is missing has its default.

        Raises:
            ArgumentError: an unknown section or key, with the closest known one, or a value that cannot be meant.
        """
        if not isinstance(table, Mapping):
            raise ArgumentError(f"table is {table!r}; pass nested tables such as {{'model': {{'hidden': 512}}}}")
        table = toml.normalise(table)
        check(table)
        made: dict[str, Any] = {}
        for name, kind in _SECTIONS.items():
            section = {key: toml.given(value) for key, value in table.get(name, {}).items()}
            if kind is TrainingSettings and isinstance(section.get("average"), Mapping):
                section["average"] = _construct(WeightAverage, "training.average", section["average"])
            made[name] = _model(section) if kind is ModelSettings else kind(**section)
        return cls(**made)

    def to_table(self, *, concise: bool = False) -> toml.Table:
        """Nested tables that `from_table` reads; `concise` leaves out what has its default."""
        table = {name: _table(getattr(self, name), concise=concise) for name in _SECTIONS}
        if concise:  # what stands beside the network is short and worth seeing whole, or not there
            for name in ("linear", "neighbors"):
                part = getattr(self, name)
                table[name] = _table(part, concise=False) if part.enabled else {"enabled": False}
        return {name: section for name, section in table.items() if section}

    def to_toml(self, *, concise: bool = False) -> str:
        """The text of a TOML file."""
        return toml.dump(self.to_table(concise=concise))

    def save(self, path: str | PathLike[str]) -> None:
        """Write a TOML file, which `settings=path` and `sparsexmc train --config` read; whole, or not at all.

        Raises:
            ArgumentError: `path` is no place for a file, or lies in a model directory.
            OSError: it cannot be written.
        """
        text = self.to_toml()
        with atomic_file(path) as file:
            file.write(text.encode())


def read_table(path: str | PathLike[str]) -> toml.Table:
    """The tables of a TOML file, shorthands written out and keys checked; a setting may be missing.

    Raises:
        ArgumentError: a syntax error, or what `check` finds; the message begins with the file.
        OSError: it cannot be read.
    """
    table = toml.read(path)
    try:
        check(table)
    except ArgumentError as error:
        raise ArgumentError(f"{fspath(path)}: {error}") from None
    return table


def check(table: Mapping[str, Any]) -> None:
    """Raise ArgumentError for an unknown section or key, with the closest known one, or a section that is no table."""
    toml.check_keys(table, _SECTIONS, "section", "")
    for name, kind in _SECTIONS.items():
        section = table.get(name, {})
        toml.check_table(section, name)
        toml.check_keys(section, {field.name for field in fields(kind)}, "key", f"{name}.")
    model = table.get("model", {})
    for key, kind in _kinds(model).items():
        value = model.get(key)
        if value is None or (isinstance(value, str) and value in (toml.NONE, toml.AUTO)):
            continue
        if key in ("loss", "positive_weights") and not isinstance(value, Mapping):  # a word; an array of the labels
            continue
        toml.check_table(value, f"model.{key}")
        known = {field.name for field in fields(kind)}
        if key == "optimizer":
            named = "name" in value  # otherwise the optimizer of the defaults is meant, whichever that is
            known = known if named else {field.name for each in _OPTIMIZERS.values() for field in fields(each)}
            known |= {"name"}
        toml.check_keys(value, known, "key", f"model.{key}.")
    if isinstance(average := table.get("training", {}).get("average"), Mapping):
        toml.check_keys(average, {field.name for field in fields(WeightAverage)}, "key", "training.average.")


def _kinds(model: Mapping[str, Any]) -> dict[str, type]:
    """The classes of the tables below [model]."""
    optimizer = model.get("optimizer", {})
    name = optimizer.get("name", "sgd") if isinstance(optimizer, Mapping) else "sgd"
    if not isinstance(name, str) or name not in _OPTIMIZERS:
        raise ArgumentError(f'model.optimizer.name is {name!r}; write "sgd" or "adam"')
    return {"optimizer": _OPTIMIZERS[name], **_OBJECTS}


def _model(section: Mapping[str, Any]) -> ModelSettings:
    for name in ("in_features", "num_labels"):
        if name not in section:
            raise ArgumentError(f"model.{name} is missing; give it, or take it from the data")
    values = dict(section)
    for key, kind in _kinds(section).items():
        if isinstance(values.get(key), Mapping):
            values[key] = _construct(kind, f"model.{key}", values[key])
    return ModelSettings(**values)


def _construct(kind: type, key: str, table: Mapping[str, Any]) -> Any:
    toml.check_keys(table, {field.name for field in fields(kind)} | {"name"}, "key", f"{key}.")
    named = key == "model.optimizer"
    values = {name: toml.given(value) for name, value in table.items() if not (named and name == "name")}
    for field in fields(kind):
        if field.default is MISSING and field.default_factory is MISSING and field.name not in values:
            raise ArgumentError(f"{key} needs {field.name}; write --set {key}.{field.name}=...")
    return kind(**values)


def _table(value: Any, *, concise: bool) -> toml.Table:
    """The fields of a settings object, those that are objects as tables."""
    table: toml.Table = {}
    for kind in (SGD, Adam):
        if isinstance(value, kind):
            table["name"] = kind.__name__.lower()
    for field in fields(value):
        item = getattr(value, field.name)
        if concise and field.default is not MISSING and type(item) is type(field.default) and item == field.default:
            continue
        if field.name == "hidden" and isinstance(item, int):
            item = Hidden(item)
        if field.name == "positive_weights" and isinstance(item, str):
            item = Propensity()
        if field.name == "average" and isinstance(item, str):
            item = WeightAverage(item)
        if is_dataclass(item):
            table[field.name] = _table(item, concise=concise)
        else:
            table[field.name] = item.tolist() if hasattr(item, "tolist") else item
    return table
