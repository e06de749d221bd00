"""The configuration of a run: a TOML file, `--set` overrides, and their translation into arguments of the Python API.

Sections: [model] holds arguments of `sparsexmc.Classifier`, with the tables [model.hidden], [model.optimizer],
[model.schedule], [model.rewiring], [model.auxiliary] and [model.positive_weights] (of propensities) for its
configuration objects; [training] holds arguments of `Classifier.fit`; [data] says how features are prepared: tfidf, and
for raw text arguments of `TextVectorizer.fit`; [linear] holds arguments of `Linear` and [neighbors] those of `Votes`,
both also enabled. The keys are those of the Python API, read off its signatures, so that the two cannot drift apart.
TOML has no null: the word "none" stands for Python's None.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

Config = dict[str, Any]

NONE = "none"
"""What a TOML file writes where Python has None."""

FREQUENCY = "frequency"
LABEL_ORDERS = [FREQUENCY, "semantic", "random"]
"""What model.label_order may be: the methods of `sparsexmc.cluster_labels`."""

# What a single value stands for where a table may stand: hidden = 1024 means hidden = {features = 1024}.
SHORTHAND = {
    "hidden": "features",
    "optimizer": "name",
    "schedule": "kind",
    "rewiring": "method",
    "auxiliary": "clusters",
}
# These arguments come from the data or from options of the command line.
NOT_IN_MODEL = {"self", "label_counts", "stream"}
NOT_IN_TEXT = {"cls", "texts"}
NOT_IN_TRAINING = {"self", "X", "Y", "filter", "callbacks", "progress", "metrics_file", "checkpoint"}


class UsageError(Exception):
    """Something the user wrote (an option, a configuration, a path) is wrong; the message says what and the remedy."""


def read(path: str) -> Config:
    """The configuration in a TOML file, with shorthands written out.

    Raises UsageError with the file's name and the position of a syntax error; OSError if it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            return normalise(tomllib.load(file))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: not valid TOML: {error}") from None


def parse_override(text: str) -> Config:
    """`a.b=c` as the nested table {a: {b: c}}; c is a TOML value, or a bare word that is taken as a string."""
    key, equals, value = text.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not equals or not all(re.fullmatch(r"[A-Za-z0-9_-]+", part) for part in path):
        raise UsageError(f"--set {text}: write section.key=value, for example --set model.fan_in=32")
    value = value.strip()
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        if not re.fullmatch(r"[A-Za-z][\w.:-]*", value):
            raise UsageError(
                f'--set {text}: {value or "an empty value"} is not a TOML value (a number, true, "text", [1, 2])'
            ) from None
        parsed = value
    for part in reversed(path):
        parsed = {part: parsed}
    return normalise(parsed)


def normalise(config: Config) -> Config:
    """Writes the shorthands of [model] out as tables. `config` itself is left alone."""
    model = config.get("model")
    if not isinstance(model, dict):
        return config
    if model.get("positive_weights") == "propensity":
        model = model | {"positive_weights": {}}
    written_out = {
        key: {SHORTHAND[key]: value} if key in SHORTHAND and not isinstance(value, dict) and value != NONE else value
        for key, value in model.items()
    }
    return {**config, "model": written_out}


def merge(base: Config, over: Config) -> Config:
    """`base` with the values of `over` on top, table by table. Another optimizer drops the old one's settings."""
    merged = dict(base)
    for key, value in over.items():
        old = base.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            renamed = key == "optimizer" and value.get("name", old.get("name")) != old.get("name")
            merged[key] = dict(value) if renamed else merge(old, value)
        else:
            merged[key] = value
    return merged


def check(config: Config) -> None:
    """Raises UsageError for an unknown section or key (naming the closest known one) or a section that is no table."""
    import sparsexmc

    _check_keys(config, {"model", "training", "data", "linear", "neighbors"}, "section", "")
    for section in config:
        _check_table(config[section], section)
    model = config.get("model", {})
    _check_keys(model, parameters(sparsexmc.Classifier.__init__) - NOT_IN_MODEL, "key", "model.")
    if model.get("label_order", FREQUENCY) not in LABEL_ORDERS:
        raise UsageError(f"model.label_order is {model['label_order']!r}; write one of {', '.join(LABEL_ORDERS)}")
    for key, kind in _object_types(model).items():
        if model.get(key, NONE) != NONE:
            _check_table(model[key], f"model.{key}")
            known = {field.name for field in dataclasses.fields(kind)} | ({"name"} if key == "optimizer" else set())
            _check_keys(model[key], known, "key", f"model.{key}.")
    _check_keys(config.get("training", {}), parameters(sparsexmc.Classifier.fit) - NOT_IN_TRAINING, "key", "training.")
    _check_keys(config.get("data", {}), {"tfidf"} | text_keys(), "key", "data.")
    linear = parameters(sparsexmc.Linear.__init__) - {"X", "Y", "num_threads"}
    _check_keys(config.get("linear", {}), linear | {"enabled"}, "key", "linear.")
    votes = {field.name for field in dataclasses.fields(sparsexmc.Votes)}
    _check_keys(config.get("neighbors", {}), votes | {"enabled"}, "key", "neighbors.")
    if config.get("data", {}).get("tfidf", False) not in (True, False):
        raise UsageError(f"data.tfidf is {config['data']['tfidf']!r}; write true or false")


def model_arguments(config: Config) -> dict[str, Any]:
    """The keyword arguments of `sparsexmc.Classifier` that a checked configuration asks for."""
    model = config.get("model", {})
    kinds = _object_types(model)
    arguments: dict[str, Any] = {}
    for key, value in model.items():
        if key == "label_order":
            continue  # how to make it: only the data tells what it is
        if value == NONE:
            arguments[key] = None
        elif key in kinds:
            arguments[key] = _construct(kinds[key], key, value)
        else:
            arguments[key] = value
    return arguments


def training_arguments(config: Config) -> dict[str, Any]:
    """The keyword arguments of `Classifier.fit` that a checked configuration asks for."""
    return {key: None if value == NONE else value for key, value in config.get("training", {}).items()}


def text_keys() -> set[str]:
    """The keys of [data] that only raw text has."""
    from sparsexmc.data import TextVectorizer

    return parameters(TextVectorizer.fit) - NOT_IN_TEXT


def parameters(function: Any) -> set[str]:
    """Names of the parameters of a Python function."""
    return set(inspect.signature(function).parameters)


def dump(config: Config) -> str:
    """`config` as TOML text; None becomes "none"."""
    lines: list[str] = []
    _dump_table(config, "", lines)
    return "\n".join(lines).strip() + "\n"


def _object_types(model: Mapping[str, Any]) -> dict[str, type]:
    import sparsexmc as sx

    optimizers = {"sgd": sx.SGD, "adam": sx.Adam}
    optimizer = model.get("optimizer", {})
    name = optimizer.get("name", "sgd") if isinstance(optimizer, dict) else "sgd"
    if name not in optimizers:
        raise UsageError(f'model.optimizer.name is {name!r}; write "sgd" or "adam"')
    return {
        "optimizer": optimizers[name],
        "hidden": sx.Hidden,
        "schedule": sx.Schedule,
        "rewiring": sx.Rewiring,
        "auxiliary": sx.MetaClassifier,
        "positive_weights": sx.Propensity,
    }


def _construct(kind: type, key: str, table: Mapping[str, Any]) -> Any:
    values = {name: None if value == NONE else value for name, value in table.items()}
    if key == "optimizer":
        values.pop("name", None)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    required = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    for name in required:
        if name not in values:
            raise UsageError(f"model.{key} needs {name}; write --set model.{key}.{name}=...")
    return kind(**values)


def _check_keys(table: Mapping[str, Any], known: Iterable[str], what: str, prefix: str) -> None:
    known = sorted(known)
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {prefix}{close[0]}?" if close else "known: " + ", ".join(known)
            raise UsageError(f"unknown {what} {prefix}{key} in the configuration; {hint}")


def _check_table(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise UsageError(f"{name} is {value!r}, but it is a section; set one of its keys, as in --set {name}.key=value")


def _dump_table(table: Mapping[str, Any], prefix: str, lines: list[str]) -> None:
    values = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if prefix and (values or not table):
        lines.append(f"\n[{prefix}]")
    lines.extend(f"{key} = {_dump_value(value)}" for key, value in values.items())
    for key, value in table.items():
        if isinstance(value, dict):
            _dump_table(value, f"{prefix}.{key}" if prefix else key, lines)


def _dump_value(value: Any) -> str:
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_dump_value(item) for item in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    text = re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\u{ord(match[0]):04x}", text)
    return f'"{text}"'
