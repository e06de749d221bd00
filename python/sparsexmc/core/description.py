"""The layers and the optimizer of a classifier, in words for people."""

from __future__ import annotations

from typing import Any


def describe(config: dict[str, Any]) -> list[list[str]]:
    """Rows (part, description) about the layers and the optimizer of a classifier's `config`, for a table."""
    kind = "sparse features" if config["sparse_input"] else "embedding"
    rows = [
        [
            "input",
            f"{config['in_features']:,} {kind}" if config["sparse_input"] else f"{kind} of {config['in_features']:,}",
        ]
    ]
    hidden = config.get("hidden")
    if hidden:
        rows.append(["hidden layer", f"{hidden['features']:,} units, ReLU, dropout {hidden['dropout']:g}"])
    labels, fan_in = config["num_labels"], config.get("fan_in")
    dense = labels if fan_in is None else min(config["dense_labels"], labels)
    parts = [f"{_count(dense, 'label')} read every feature"] if dense else []
    if dense < labels:
        shared = f", shared by {config['group_size']}" if config["group_size"] > 1 else ""
        parts.append(f"{_count(labels - dense, 'label')} read {fan_in}{shared}")
    rows.append(["output layer", "; ".join(parts)])
    products = (
        f"products in {config['compute_dtype']}" if config.get("compute_dtype") else "products as the device likes"
    )
    rows.append(["weights", f"{config.get('weight_dtype', 'float32')}, {products}"])
    rows.append(["loss", config["loss"] + _positive_weights(config)])
    if config.get("auxiliary"):
        auxiliary = config["auxiliary"]
        rows.append(
            [
                "meta-classifier",
                f"{_count(auxiliary['clusters'], 'cluster')}, weight {auxiliary['weight']:g} decreasing to 0 over "
                f"{_count(auxiliary['steps'], 'step')}",
            ]
        )
    optimizer = dict(config["optimizer"])
    settings = ", ".join(f"{key} {value:g}" for key, value in optimizer.items() if key != "kind")
    rows.append(["optimizer", f"{optimizer['kind']}, {settings}"])
    if average := config.get("average"):
        decay = f", decay {average['decay']:g}" if average["method"] == "ema" else ""
        rows.append(["running average", average["method"] + decay])
    return rows


def _positive_weights(config: dict[str, Any]) -> str:
    propensity = config.get("propensity", {})
    return {
        "propensity": ", positives weighted by propensity (A = {a:g}, B = {b:g})",
        "array": ", positives weighted by label",
    }.get(config.get("positive_weights", "none"), "").format(**propensity)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
