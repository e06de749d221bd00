"""The weights of another model as the start of a training."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ..classifier import Classifier
from ..core.state import read_tensor, tensors_of
from ..data import Dataset, TextDataset
from ..errors import ArgumentError
from . import toml
from .loading import load
from .model import Model
from .preparation import Preparation
from .settings import FREQUENCY, Settings


class Initial:
    """Another model, whose weights, connections and order of labels a new one starts with.

    Features are prepared as that model does, and the shape of the network is its shape. Labels are matched by name
    where both have names, else by id. The optimizer begins anew.

    Args:
        source: a `Model` or `Classifier`, or the path of one.
    """

    def __init__(self, source: Any) -> None:
        if isinstance(source, str | PathLike):
            self._name = repr(fspath(source))
            source = load(source, "cpu", trainable=False)
        else:
            self._name = f"this {type(source).__qualname__}"
        if not isinstance(source, Model | Classifier):
            raise ArgumentError(f"init is {source!r}; pass a Model, a Classifier, or the path of one")
        self._classifier = source.classifier if isinstance(source, Model) else source
        self.preparation = source.preparation if isinstance(source, Model) else None
        self._settings = source.settings if isinstance(source, Model) else None

    def dataset(self, data: Dataset | TextDataset) -> Dataset:
        """`data` with token counts, of that model's vocabulary, in place of raw texts."""
        if isinstance(data, Dataset):
            if self.preparation is not None and self.preparation.vectorizer is not None:
                raise ArgumentError(f"init: {self._name} reads raw text, which this data is not; pass texts")
            return data
        return (self.preparation or Preparation()).dataset(data)

    def check_data(self, dataset: Dataset, wanted: Mapping[str, Any]) -> None:
        """Raise ArgumentError unless that model could have been trained on the data, and the settings leave it so."""
        config = self._classifier.config
        for name, here, there in (
            ("in_features", dataset.X.shape[1], config["in_features"]),
            ("num_labels", dataset.num_labels, config["num_labels"]),
        ):
            if here != there:
                raise ArgumentError(f"init: {self._name} has {name}={there}, but the data has {here}; they must agree")
        if sp.issparse(dataset.X) != config["sparse_input"]:
            here, there = ("dense", "sparse") if config["sparse_input"] else ("sparse", "dense")
            raise ArgumentError(f"init: {self._name} reads {there} features, the data has {here} ones; they must agree")
        if options := [name for name in wanted.get("data", {}) if self.preparation is not None]:
            raise ArgumentError(f"data.{options[0]} follows from init, {self._name}; leave it out")
        self.new_ids(dataset.label_names)

    def table(self) -> toml.Table:
        """The settings of a network of that shape."""
        config = self._classifier.config
        table: dict[str, Any] = {name: config[name] for name in ("sparse_input", "fan_in")}
        table["loss"] = dict(config["softmax"]) if config["loss"] == "softmax" else config["loss"]
        if config["fan_in"] is not None:
            table |= {"group_size": config["group_size"], "dense_labels": config["dense_labels"]}
        hidden = config["hidden"]
        table["hidden"] = hidden and {name: hidden[name] for name in ("features", "input_scale")}
        known = {} if self._settings is None else {"data": self._settings.to_table()["data"]}
        return {"model": table, **known}

    def check_settings(self, settings: Settings) -> None:
        """Raise ArgumentError for settings of a network of another shape."""
        model, shape = settings.model, dict(self.table()["model"])
        del shape["loss"]
        hidden = shape.pop("hidden")
        wrong = [f"model.{name} is {getattr(model, name)!r}" for name in shape if getattr(model, name) != shape[name]]
        units = model.hidden if isinstance(model.hidden, int | None) else model.hidden.features
        if units != (hidden and hidden["features"]):
            wrong.append(f"model.hidden is {units!r}")
        if model.label_order != FREQUENCY:
            wrong.append(f"model.label_order is {model.label_order!r}")
        if wrong:
            raise ArgumentError(f"{', '.join(wrong)}, but that follows from init, {self._name}; leave it out")

    def new_ids(self, names: Any) -> npt.NDArray[np.int64]:
        """[num_labels] the id here of each label there. Raises ArgumentError for other label names."""
        there = self._classifier.label_names
        if there is None or names is None:
            return np.arange(self._classifier.num_labels)
        ids = {name: label for label, name in enumerate(names)}
        if unknown := [name for name in there if name not in ids]:
            raise ArgumentError(
                f"init: {len(unknown)} labels of {self._name} are not among those of the data, such as {unknown[0]!r}; "
                "the labels must be the same, in any order"
            )
        if len(ids) != len(names) or len(set(there)) != len(there):
            raise ArgumentError("init: two labels have the same name; give every label a name of its own")
        return np.array([ids[name] for name in there], np.int64)

    def label_order(self, names: Any) -> npt.NDArray[np.int64]:
        """Label ids in that model's internal order."""
        order = read_tensor(self._classifier.engine, "label_order")
        return self.new_ids(names)[order]

    def write_weights(self, classifier: Classifier) -> None:
        """Give the layers of a new classifier that model's weights and connections, a tensor at a time."""
        there = tensors_of(self._classifier.engine)
        for name, wanted in tensors_of(classifier.engine).items():
            if name.startswith(("segments.", "hidden.")):
                if there.get(name) != wanted:
                    raise ArgumentError(f"init: {self._name} has no tensor {name} of {wanted}, but {there.get(name)}")
                classifier.engine.write(name, read_tensor(self._classifier.engine, name))
