"""Describe a saved model: sizes, configuration, training so far. Reading it verifies sizes and hashes of its files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..core.description import describe
from ..core.directory import ModelReader
from ..memory import format_bytes
from ..model import Model
from ..model.storage import missing_parts
from . import inputs
from .tables import count, table

LAST_REWIRINGS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory")
    parser.add_argument("--json", action="store_true", help="print the configuration and progress as JSON")


def run(args: argparse.Namespace) -> int:
    model = inputs.load_model(args.model, device="cpu")  # wherever it was trained
    classifier = model.classifier
    with ModelReader(args.model) as reader:
        config, missing = reader.manifest.config, missing_parts(reader)
    if args.json:
        progress = {"step": classifier.step, "skipped": classifier.skipped, "lr": classifier.lr}
        rewirings = [_rewiring(record) for record in classifier.rewirings]
        print(json.dumps({"config": config, **progress, "rewirings": rewirings, "missing": missing}, indent=2))
        return 0
    facts = _facts(args.model, model, config)
    if missing:
        facts.append(["missing", f"{', '.join(missing)}: run.toml asks for it; copy the whole directory if it had it"])
    print(table(facts, align="ll"))
    if classifier.rewirings:
        print(f"\n{count(len(classifier.rewirings), 'rewiring')}" + _shown(len(classifier.rewirings)))
        print(_rewiring_table(classifier.rewirings[-LAST_REWIRINGS:]))
    files = sorted(path for path in Path(args.model).iterdir() if path.is_file() and path.name[0] != ".")
    print("\nfiles")
    print(table([[path.name, f"{path.stat().st_size:,}"] for path in files], ["name", "bytes"], "l"))
    print("\nsizes and hashes of all files are verified")
    return 0


def _facts(path: str, model: Model, config: dict[str, Any]) -> list[list[str]]:
    classifier = model.classifier
    rows = [["model", path], ["labels", f"{classifier.num_labels:,}" + (", named" if classifier.label_names else "")]]
    rows += describe(config)
    if classifier.num_instances is not None:
        rows.append(["frequencies", f"known, of {count(classifier.num_instances, 'training instance')}"])
    rows.append(["features", str(model.preparation)])
    if model.linear is not None:
        rows.append(["linear", f"classifiers of {format_bytes(model.linear.nbytes)}, weight {model.linear.weight:g}"])
    if model.neighbors is not None:
        votes = model.neighbors.votes
        by = "hidden activations" if votes.space == "hidden" else "features"
        rows.append(["neighbors", f"{model.neighbors.num_instances:,} instances by {by}, weight {votes.weight:g}"])
    known = [name for name in ("network", "ensemble") if getattr(model.calibrations, name) is not None]
    rows.append(["probabilities", f"of the {' and the '.join(known)}" if known else "none: nothing was held out"])
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
