"""Describe a saved model: sizes, configuration, training so far. Reading it verifies sizes and hashes of its files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tables import count, table

if TYPE_CHECKING:
    from sparsexmc import Classifier

LAST_REWIRINGS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory")
    parser.add_argument("--json", action="store_true", help="print the configuration and progress as JSON")


def run(args: argparse.Namespace) -> int:
    from . import inputs

    classifier = inputs.load_model(args.model, device="cpu")  # wherever it was trained
    features = describe_features(args.model)
    config = json.loads((Path(args.model) / inputs.CHECKPOINT_FILE).read_text(encoding="utf-8"))["config"]
    if args.json:
        progress = {"step": classifier.step, "skipped": classifier.skipped, "lr": classifier.lr}
        rewirings = [_rewiring(record) for record in classifier.rewirings]
        print(json.dumps({"config": config, **progress, "rewirings": rewirings}, indent=2))
        return 0
    print(table(_facts(args.model, classifier, config, features), align="ll"))
    if classifier.rewirings:
        print(f"\n{count(len(classifier.rewirings), 'rewiring')}" + _shown(len(classifier.rewirings)))
        print(_rewiring_table(classifier.rewirings[-LAST_REWIRINGS:]))
    files = sorted(path for path in Path(args.model).iterdir() if path.is_file())
    print("\nfiles")
    print(table([[path.name, f"{path.stat().st_size:,}"] for path in files], ["name", "bytes"], "l"))
    print("\nsizes and hashes of the checkpoint are verified")
    return 0


def describe(config: dict[str, Any]) -> list[list[str]]:
    """Rows (what, value) about the layers and the optimizer of a classifier, for a table."""
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
    parts = [f"{count(dense, 'label')} read every feature"] if dense else []
    if dense < labels:
        shared = f", shared by {config['group_size']}" if config["group_size"] > 1 else ""
        parts.append(f"{count(labels - dense, 'label')} read {fan_in}{shared}")
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
                f"{count(auxiliary['clusters'], 'cluster')}, weight {auxiliary['weight']:g} falling to 0 over "
                f"{count(auxiliary['steps'], 'step')}",
            ]
        )
    optimizer = dict(config["optimizer"])
    settings = ", ".join(f"{key} {value:g}" for key, value in optimizer.items() if key != "kind")
    rows.append(["optimizer", f"{optimizer['kind']}, {settings}"])
    return rows


def describe_features(model: str) -> str:
    """How the model at `model` wants its features prepared. Raises UsageError if files of that are damaged."""
    from . import preparation

    tfidf, vectorizer = preparation.read(model), preparation.read_vectorizer(model)
    weights = "as they come" if tfidf is None else "TF-IDF of counts"
    return weights if vectorizer is None else f"{weights} of {count(len(vectorizer.terms), 'term')} of raw text"


def _positive_weights(config: dict[str, Any]) -> str:
    propensity = config.get("propensity", {})
    return {
        "propensity": ", positives weighted by propensity (A = {a:g}, B = {b:g})",
        "array": ", positives weighted by label",
    }.get(config.get("positive_weights", "none"), "").format(**propensity)


def _facts(path: str, classifier: Classifier, config: dict[str, Any], features: str) -> list[list[str]]:
    from sparsexmc.memory import format_bytes

    rows = [["model", path], ["labels", f"{classifier.num_labels:,}" + (", named" if classifier.label_names else "")]]
    rows += describe(config)
    if classifier.num_instances is not None:
        rows.append(["frequencies", f"known, of {count(classifier.num_instances, 'training instance')}"])
    rows.append(["features", features])
    skipped = (
        f", {count(classifier.skipped, 'batch').replace('batchs', 'batches')} skipped" if classifier.skipped else ""
    )
    rows.append(["steps", f"{classifier.step:,}{skipped}"])
    rows.append(["device", config["device"]])
    rows.append(["memory", f"{format_bytes(classifier.memory.planned)} with optimizer and scratch, on the CPU"])
    return rows


def _shown(total: int) -> str:
    return f", the last {LAST_REWIRINGS}:" if total > LAST_REWIRINGS else ":"


def _rewiring(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ("step", "segment", "changed", "score_dropped", "score_grown")}


def _rewiring_table(records: Any) -> str:
    rows = [
        [f"{r.step:,}", str(r.segment), f"{r.changed:,}", f"{r.score_dropped:.3g}", f"{r.score_grown:.3g}"]
        for r in records
    ]
    return table(rows, ["step", "segment", "connections", "score dropped", "score grown"])
