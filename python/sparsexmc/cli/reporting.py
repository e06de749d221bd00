"""`sparsexmc evaluate --report DIR`: what the command line adds to `sparsexmc.report.write`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import report
from ..core.description import describe
from ..model import Model
from ..report.figure_style import require_matplotlib
from ..report.output import check_place
from . import inputs
from .errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--report", metavar="DIR", help="write a page about the model, DIR/index.html")
    parser.add_argument(
        "--metrics-file", metavar="FILE", help="learning curves of the report (default MODEL.metrics.jsonl)"
    )


def check(args: argparse.Namespace) -> Path | None:
    """The metrics file of the report, if one is wanted, after all checks that need no model and no data.

    Raises UsageError without matplotlib or for a metrics file that is missing, ArgumentError for a directory that holds
    something else.
    """
    if args.report is None:
        if args.metrics_file is not None:
            raise UsageError("--metrics-file holds the learning curves of a report; give --report DIR, too")
        return None
    try:
        require_matplotlib()
    except ImportError as error:
        raise UsageError(str(error)) from None
    check_place(args.report)
    if args.metrics_file is None:
        return inputs.metrics_file_of(args.model)
    if not Path(args.metrics_file).is_file():
        raise UsageError(f"{args.metrics_file}: no such metrics file; `sparsexmc train` writes MODEL.metrics.jsonl")
    return Path(args.metrics_file)


def write(
    args: argparse.Namespace,
    task: Any,  # evaluate.Task
    model: Model,
    ids: npt.NDArray[np.int64],
    baseline_ids: npt.NDArray[np.int64] | None,
    metrics_file: Path | None,
) -> Path:
    """Writes the report and returns the path of its page."""
    title = _title(args.model)
    baselines = {}
    if baseline_ids is not None:
        other = _title(args.baseline)
        baselines[other if other != title else args.baseline] = baseline_ids
    return report.write(
        args.report,
        model.classifier,
        ids,
        task.Y,
        train_labels=task.train_labels,
        baselines=baselines,
        metrics_file=metrics_file,
        label_names=task.dataset.label_names or model.label_names,
        model_name=title,
        data_name=task.dataset.name or "the data",
        facts=[
            ["model", args.model],
            *describe(model.classifier.config),
            ["features", str(model.preparation)],
        ],
        cutoffs=task.cutoffs,
        A=args.A,
        B=args.B,
    )


def _title(path: str) -> str:
    return Path(path).resolve().name
