"""Train a classifier and save it.

DATA is a directory with X_trn, Y_trn (and X_tst, Y_tst, labels.txt), or a text file of the extreme-classification
repository or of LIBSVM; --demo takes its place. Raw text (pip install 'sparsexmc[text]') is a directory with trn.jsonl
and maybe tst.jsonl, or one such file, with a line {"text": "...", "labels": ["...", ...]} per instance; or trn.tsv, a
text and its labels with tabs between; trn.csv, a table; fastText's lines; the repository's trn.json.gz; or a text per
line in X_trn.txt, beside Y_trn.npz. Text files may be packed (.gz, .xz).

Defaults follow from the size of the data. The configuration in effect is printed before the start and kept as run.toml
in the model directory. Its sections: [model] arguments of sparsexmc.Classifier, with [model.hidden], [model.optimizer],
[model.schedule], [model.rewiring], [model.average], [model.auxiliary] and [model.positive_weights], and label_order =
"frequency" | "semantic" | "random"; [training] arguments of Classifier.fit, with [training.average]; [linear] enabled =
true | false and arguments of sparsexmc.Linear, [neighbors] enabled and those of sparsexmc.Votes, of which cost, weight,
power and space may be "tune": chosen on the held-out instances; [data] tfidf = true | false, and for raw text ngrams,
min_df, max_features, lowercase, token_pattern.

  sparsexmc train --demo
  sparsexmc train data/eurlex -o eurlex-model --epochs 20 --set model.hidden=2048 --set model.optimizer.lr=1e-3
  sparsexmc train articles/ -o article-model --set data.ngrams=2
  sparsexmc train data/amazon -o amazon-model --device cuda --set model.weight_dtype=bfloat16
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

from .._files import check_output
from ..data import Dataset
from ..memory import format_bytes
from ..model import Model, TrainingRun, toml
from ..model.evaluation import CUTOFFS, measure, rank
from ..model.run import STATE_INTERVAL
from ..model.settings import read_table
from ..report.scores import POPULAR, most_frequent
from ..training.validation import A, B
from . import demo, inputs
from .errors import UsageError
from .instance_weights import read_instance_weights
from .numbers import whole_number
from .tables import count, filter_note, human_seconds, indent, metric_table, propensity_note


def add_arguments(parser: argparse.ArgumentParser) -> None:
    inputs.add_data_arguments(parser)
    parser.add_argument("-o", "--output", metavar="MODEL", help="model directory to write (optional with --demo)")
    parser.add_argument("--force", action="store_true", help="replace MODEL if it is a model; never anything else")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the training to MODEL that was interrupted, with its settings"
    )
    parser.add_argument("--init", metavar="MODEL2", help="start with the weights of another model of the same labels")
    parser.add_argument(
        "--checkpoint-every",
        metavar="N",
        default=STATE_INTERVAL,
        help="steps, or time such as 30min, between two states that --resume goes on from (default %(default)s)",
    )
    parser.add_argument(
        "--keep", type=whole_number, default=1, metavar="N", help="number of such states to keep (default 1)"
    )
    parser.add_argument(
        "--instance-weights", metavar="FILE", help="a number >= 0 per line, for each training instance of DATA in turn"
    )
    parser.add_argument("--config", metavar="FILE", help="TOML file; its values replace the defaults")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override: model.fan_in=32")
    parser.add_argument("--epochs", type=whole_number, metavar="N", help="same as --set training.epochs=N")
    parser.add_argument("--seed", type=whole_number, metavar="S", help="same as --set model.seed=S")
    parser.add_argument("--threads", type=whole_number, metavar="N", help="same as --set model.num_threads=N")
    parser.add_argument("--device", metavar="D", help="same as --set model.device=D: auto, cpu, cuda, cuda:<index>")
    parser.add_argument("--metrics-file", metavar="FILE", help="JSON lines (default MODEL.metrics.jsonl)")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    if args.demo == (args.data is not None):
        raise UsageError("give either DATA or --demo; `sparsexmc train --help` shows both")
    if args.output is None and not args.demo:
        raise UsageError("give -o MODEL, the directory where the model goes")
    if args.resume and args.output is None:
        raise UsageError("give -o MODEL, the model whose training was interrupted")
    if args.metrics_file is not None:
        check_output("--metrics-file", args.metrics_file, model=args.output)
    start = time.perf_counter()
    data = inputs.open_named(None, demo=True) if args.demo else inputs.source_of(args)
    weights = None if args.instance_weights is None else read_instance_weights(args.instance_weights)
    job = TrainingRun(
        data,
        _wanted(args),
        instance_weights=weights,
        output=args.output,
        force=args.force,
        resume=args.resume,
        init=args.init,
        checkpoint_every=args.checkpoint_every,
        keep=args.keep,
        base=demo.SETTINGS if args.demo else None,
        progress=False if args.no_progress else None,
    )
    if args.resume:
        print(f"resumed at step {job.classifier.step:,}" if job.resumed else "nothing to resume; it starts anew")
    print(f"{job.dataset!r}, ready in {human_seconds(time.perf_counter() - start)}", flush=True)
    print(f"\n{indent(job.settings.to_toml(concise=True))}\n")
    planned = format_bytes(job.classifier.memory.planned)
    print(f"{count(job.steps, 'step')}, {planned} of memory on {job.classifier.device}\n", flush=True)

    start = time.perf_counter()
    model = job.train(
        metrics_file=args.metrics_file or (None if args.output is None else inputs.metrics_file_of(args.output)),
        # The demo is saved once, at its end: its checkpoints would take longer than its epochs.
        keep_epochs=not args.demo,
    )
    seconds = time.perf_counter() - start
    _tell(model)
    _report(model, job.dataset, job.X_test, show_packages=args.demo)
    process_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    epochs = len(model.history.epochs) if model.history is not None else 0
    print(
        f"\ntrained {count(epochs, 'epoch')} in {human_seconds(seconds)}; peak memory "
        f"{format_bytes(job.classifier.memory.peak)} in the engine, {format_bytes(process_peak)} in the process"
    )
    if args.output is not None:
        print(f"model saved to {args.output}")
    return 0


def _wanted(args: argparse.Namespace) -> toml.Table:
    """The settings that the file and the options ask for."""
    table = read_table(args.config) if args.config else {}
    for text in args.set:
        table = toml.merge(table, toml.parse_override(text))
    for section, key, value in (
        ("training", "epochs", args.epochs),
        ("model", "seed", args.seed),
        ("model", "num_threads", args.threads),
        ("model", "device", args.device),
    ):
        if value is not None:
            table = toml.merge(table, {section: {key: value}})
    return table


def _tell(model: Model) -> None:
    """Which epoch was the best, and what tuning found."""
    history, tuning, settings = model.history, model.tuning, model.settings
    if history is not None and history.epochs and history.best_epoch != history.epochs[-1].epoch:
        epochs = len(history.epochs)
        print(f"epoch {history.best_epoch} was the best of {epochs} by {history.metric}; its model is kept")
    if tuning is None or settings is None:
        return
    said = []
    if tuning.cost is not None:
        said.append(f"linear weight {tuning.weights.linear:g} with cost {tuning.cost:g}")
    if settings.neighbors.enabled or settings.neighbors.weight == 0:
        by = " by the hidden layer" if tuning.space == "hidden" else ""
        said.append(f"neighbors{by} weight {tuning.weights.votes:g} with power {tuning.weights.power:g}")
    alone = "" if tuning.network_alone is None else f", the network alone {100 * tuning.network_alone:.1f}"
    print(
        f"best on {count(tuning.held, 'instance')} held out: {', '.join(said)}; mean of P@1, P@3 and P@5 "
        f"{100 * tuning.value:.1f}{alone}"
    )


def _report(model: Model, dataset: Dataset, X_test: Any, *, show_packages: bool) -> None:
    """Print the metrics on the test instances, where there are any; for the demo also packages and the baseline."""
    Y, Y_test = dataset.Y, dataset.Y_test
    if Y_test is None or not Y_test.shape[0]:
        print("no test instances, so no metrics; `sparsexmc evaluate` measures the model on other data")
        return
    cutoffs = [k for k in CUTOFFS if k <= model.num_labels]
    ids = rank(model.ranker(), X_test, cutoffs[-1], dataset.filter_test)
    reports = {"sparsexmc": measure(ids, Y_test, Y, cutoffs)}
    if model.ensemble is not None:
        alone = rank(model.classifier, X_test, cutoffs[-1], dataset.filter_test)
        reports["network alone"] = measure(alone, Y_test, Y, cutoffs)
    if show_packages:
        print("\n" + demo.packages(dataset, ids))
        popular = most_frequent(dataset.label_counts, len(ids), cutoffs[-1])
        reports[POPULAR] = measure(popular, Y_test, Y, cutoffs)
    print(f"\n{count(Y_test.shape[0], 'test instance')}\n\n{metric_table(reports)}\n\n{propensity_note(Y, A, B)}")
    print(filter_note(dataset.filter_test), end="")
