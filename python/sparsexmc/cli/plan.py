"""Print the memory plan of a classifier: the bytes of every allocation, without making any.

Sizes come from the options, from a TOML file (such as the run.toml of a trained model), or from both.

  sparsexmc plan --in-features 768 --num-labels 3000000 --fan-in 64 --group-size 32 --batch-size 64
  sparsexmc plan --config model/run.toml --set model.dense_labels=0.1
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..classifier import plan as plan_classifier
from ..model import Settings, toml
from ..model.settings import read_table
from .errors import UsageError
from .numbers import whole_number

LONG_TRAINING = 100_000  # steps

# Options that name arguments of sparsexmc.plan one to one.
NUMBERS = {
    "in-features": "width of the embeddings, or number of sparse features",
    "num-labels": "number of labels",
    "group-size": "labels that share one set of features (default 16)",
    "batch-size": "largest batch of a step (default 256)",
    "labels-per-instance": "positives to reserve for, per instance (default 128)",
    "features-per-instance": "nonzeros of sparse features to reserve for, per instance (default 512)",
    "topk": "largest k of a prediction (default 100)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, text in NUMBERS.items():
        parser.add_argument(f"--{name}", type=whole_number, metavar="N", help=text)
    parser.add_argument(
        "--fan-in", metavar="N", help='features that a tail label reads (default 64), or "none": all dense'
    )
    parser.add_argument(
        "--dense-labels", metavar="N", help="number (100) or share (0.05) of labels that read all features"
    )
    parser.add_argument("--hidden", type=whole_number, metavar="N", help="units of a hidden layer")
    parser.add_argument("--sparse-input", action="store_true", help="the hidden layer reads sparse rows")
    parser.add_argument("--optimizer", choices=["sgd", "adam"], help="default sgd")
    parser.add_argument("--momentum", type=float, metavar="M", help="of sgd; above 0 it keeps a buffer")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:<index>")
    parser.add_argument("--threads", type=whole_number, metavar="N", help="worker threads, which hold scratch")
    parser.add_argument("--memory-limit", metavar="BYTES", help="fail if the plan is above this, e.g. 4GB")
    parser.add_argument("--config", metavar="FILE", help="TOML file with a [model] section")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. model.topk=10")
    parser.add_argument("--json", action="store_true", help="print bytes by name as JSON")


def run(args: argparse.Namespace) -> int:
    table = read_table(args.config) if args.config else {}
    table = toml.merge(table, {"model": _options(args)})
    for text in args.set:
        table = toml.merge(table, toml.parse_override(text))
    for name in ("in_features", "num_labels"):
        if name not in table["model"]:
            raise UsageError(f"the plan needs {name}; give --{name.replace('_', '-')} or a --config that has it")
    # Batches that RigL keeps count as for a long training; fewer steps would keep fewer.
    settings = Settings.from_table(table)
    arguments = settings.model.for_total_steps(LONG_TRAINING).arguments()
    if settings.training.average is not None:
        arguments["average"] = settings.training.average
    plan = plan_classifier(**arguments)
    print(json.dumps({**plan, "total": plan.total}, indent=2) if args.json else plan.table().rstrip())
    return 0


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The [model] section that the options spell."""
    model = {name.replace("-", "_"): getattr(args, name.replace("-", "_")) for name in NUMBERS}
    model |= {"fan_in": args.fan_in, "dense_labels": args.dense_labels, "device": args.device}
    model |= {"num_threads": args.threads, "memory_limit": args.memory_limit}
    for name in ("fan_in", "dense_labels"):
        if model[name] is not None:
            model[name] = _number(f"--{name.replace('_', '-')}", model[name])
    model = {name: value for name, value in model.items() if value is not None}
    if args.hidden is not None:
        model["hidden"] = {"features": args.hidden}
    if args.sparse_input:
        model["sparse_input"] = True
    if args.optimizer is not None or args.momentum is not None:
        model["optimizer"] = {"name": args.optimizer or "sgd"}
    if args.momentum is not None:
        model["optimizer"]["momentum"] = args.momentum
    return model


def _number(option: str, text: str) -> int | float | str:
    if option == "--fan-in" and text == toml.NONE:
        return toml.NONE
    try:
        return whole_number(text) if "." not in text else float(text)
    except argparse.ArgumentTypeError:
        pass
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{option} {text}: not a number") from None
