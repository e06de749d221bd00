"""Train a classifier and save it.

DATA is a directory with X_trn, Y_trn (and X_tst, Y_tst, labels.txt), or a text file of the extreme-classification
repository; --demo takes its place. Raw text (pip install 'sparsexmc[text]') is a directory with trn.jsonl and maybe
tst.jsonl, or one such file, with a line {"text": "...", "labels": ["...", ...]} per instance; or trn.tsv, a text and
its labels with tabs between; or a text per line in X_trn.txt, beside Y_trn.npz.

Defaults follow from the size of the data. The configuration in effect is printed before the start and kept as run.toml
in the model directory. Its sections: [model] arguments of sparsexmc.Classifier, with [model.hidden], [model.optimizer],
[model.schedule], [model.rewiring], [model.auxiliary] and [model.positive_weights], and label_order = "frequency" |
"semantic" | "random"; [training] arguments of Classifier.fit; [linear] enabled = true | false and arguments of
sparsexmc.Linear, [neighbors] enabled and those of sparsexmc.Votes, of which cost, weight, power and space may be
"tune": chosen on the held-out instances; [data] tfidf = true | false, and for raw text ngrams, min_df, max_features,
lowercase, token_pattern.

  sparsexmc train --demo
  sparsexmc train data/eurlex -o eurlex-model --epochs 20 --set model.hidden=2048 --set model.optimizer.lr=1e-3
  sparsexmc train articles/ -o article-model --set data.ngrams=2
  sparsexmc train data/amazon -o amazon-model --device cuda --set model.weight_dtype=bfloat16
"""

from __future__ import annotations

import argparse
import inspect
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import config as cfg
from . import defaults, demo, ensemble, evaluate, inputs, preparation
from .tables import count, human_seconds, indent, metric_table

if TYPE_CHECKING:
    from sparsexmc import Classifier, Ensemble, History
    from sparsexmc.data import Dataset, TextVectorizer, TfIdf


def add_arguments(parser: argparse.ArgumentParser) -> None:
    inputs.add_data_arguments(parser)
    parser.add_argument("-o", "--output", metavar="MODEL", help="model directory to write (optional with --demo)")
    parser.add_argument("--config", metavar="FILE", help="TOML file; its values replace the defaults")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override: model.fan_in=32")
    parser.add_argument("--epochs", type=int, metavar="N", help="same as --set training.epochs=N")
    parser.add_argument("--seed", type=int, metavar="S", help="same as --set model.seed=S")
    parser.add_argument("--threads", type=int, metavar="N", help="same as --set model.num_threads=N")
    parser.add_argument("--device", metavar="D", help="same as --set model.device=D: auto, cpu, cuda, cuda:<index>")
    parser.add_argument("--metrics-file", metavar="FILE", help="JSON lines (default MODEL.metrics.jsonl)")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    from sparsexmc.memory import format_bytes

    if args.demo == (args.data is not None):
        raise cfg.UsageError("give either DATA or --demo; `sparsexmc train --help` shows both")
    if args.output is None and not args.demo:
        raise cfg.UsageError("give -o MODEL, the directory where the model goes")
    wanted = _wanted(args)
    cfg.check(wanted)
    ensemble.check(wanted)
    output = None if args.output is None else inputs.check_model_output(args.output)

    start = time.perf_counter()
    dataset, vectorizer, text_options = _load(args, wanted)
    print(f"{dataset!r}, read in {human_seconds(time.perf_counter() - start)}", flush=True)
    job = _prepare(dataset, vectorizer, cfg.merge(wanted, text_options), demo.CONFIG if args.demo else {})
    classifier, steps = _create(job)
    print(f"\n{indent(cfg.dump(job.config))}\n")
    planned = format_bytes(classifier.memory.planned)
    print(f"{count(steps, 'step')}, {planned} of memory on {classifier.device}\n", flush=True)

    metrics_file = args.metrics_file or (None if output is None else inputs.metrics_file_of(output))
    start = time.perf_counter()
    # The demo is saved once, at its end: its checkpoints would take longer than its epochs.
    checkpoint = None if args.demo else output
    history = _fit(classifier, job, checkpoint, metrics_file, progress=False if args.no_progress else None)
    epochs = len(history.epochs)
    if checkpoint is not None and history.epochs and history.best_epoch != history.epochs[-1].epoch:
        del classifier
        classifier = inputs.load_model(str(checkpoint), args.threads)
        print(f"epoch {history.best_epoch} was the best of {epochs} by {history.metric}; its model is kept")
    together = _ensemble(classifier, job, args.threads)
    seconds = time.perf_counter() - start
    if output is not None:
        job.save(output, classifier, together)
    _report(classifier, together or classifier, job, show_packages=args.demo)
    process_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"\ntrained {count(epochs, 'epoch')} in {human_seconds(seconds)}; peak memory "
        f"{format_bytes(classifier.memory.peak)} in the engine, {format_bytes(process_peak)} in the process"
    )
    if output is not None:
        print(f"model saved to {args.output}")
    return 0


@dataclass(frozen=True)
class Job:
    """A training run, ready to start: the data as the engine reads it, and the whole configuration."""

    dataset: Dataset
    X: Any  # [n, in_features] training features after preparation
    X_test: Any
    tfidf: TfIdf | None
    vectorizer: TextVectorizer | None
    config: cfg.Config

    def save(self, model: Path, classifier: Classifier, together: Ensemble | None = None) -> None:
        """Saves the model with all its parts; the linear classifiers and neighbors come when the training is over."""
        from sparsexmc.core.directory import ModelWriter

        with ModelWriter(model) as writer:
            writer.add_classifier(classifier._engine, classifier.label_names)
            ensemble.save(writer, together)
            preparation.write(writer, self.tfidf, self.config, self.vectorizer)
            writer.publish()


def _wanted(args: argparse.Namespace) -> cfg.Config:
    """What the file and the options ask for."""
    config = cfg.read(args.config) if args.config else {}
    for text in args.set:
        config = cfg.merge(config, cfg.parse_override(text))
    for section, key, value in (
        ("training", "epochs", args.epochs),
        ("model", "seed", args.seed),
        ("model", "num_threads", args.threads),
        ("model", "device", args.device),
    ):
        if value is not None:
            config = cfg.merge(config, {section: {key: value}})
    return config


def _load(args: argparse.Namespace, wanted: cfg.Config) -> tuple[Dataset, TextVectorizer | None, cfg.Config]:
    """The data; for raw text also what counts its tokens, and the options of that as a configuration."""
    from sparsexmc.data import TextVectorizer, load_texts
    from sparsexmc.data.texts import is_raw_text

    known = cfg.text_keys()
    options: dict[str, Any] = {key: value for key, value in wanted.get("data", {}).items() if key in known}
    if args.data is None or not is_raw_text(args.data):
        if options:
            raise cfg.UsageError(f"data.{next(iter(options))} is for raw text, which this data is not; leave it out")
        return inputs.load_data(args.data, demo=args.demo), None, {}
    inputs.require_path(args.data)
    texts = load_texts(args.data)
    signature = inspect.signature(TextVectorizer.fit).parameters
    options = {key: signature[key].default for key in signature if key in known} | options
    given: dict[str, Any] = {key: None if value == cfg.NONE else value for key, value in options.items()}
    vectorizer = TextVectorizer.fit(texts.texts, **given)
    return texts.counts(vectorizer), vectorizer, {"data": options}


def _prepare(dataset: Dataset, vectorizer: TextVectorizer | None, wanted: cfg.Config, own: cfg.Config) -> Job:
    """Merges the defaults for this data, a demo's `own` configuration and what is `wanted`; weighs the features."""
    from sparsexmc.data import TfIdf

    tfidf = wanted.get("data", {}).get("tfidf", preparation.are_counts(dataset.X))
    if tfidf and not preparation.are_counts(dataset.X):
        raise cfg.UsageError("data.tfidf = true needs sparse token counts, not the numbers of this data; write false")
    config = defaults.for_data(dataset.X, dataset.Y)
    for part in (own, wanted, {"data": {"tfidf": tfidf}}):
        config = cfg.merge(config, part)
    cfg.check(config)
    sizes = {
        "in_features": dataset.num_features,
        "num_labels": dataset.num_labels,
        "num_instances": dataset.Y.shape[0],
    }
    for name, size in sizes.items():
        if config["model"][name] != size:
            raise cfg.UsageError(f"model.{name} is {config['model'][name]}, but the data has {size}; leave it out")
    weights = TfIdf.fit(dataset.X) if tfidf else None
    X, X_test = (X if X is None or weights is None else weights.apply(X) for X in (dataset.X, dataset.X_test))
    return Job(dataset, X, X_test, weights, vectorizer, config)


def _create(job: Job) -> tuple[Classifier, int]:
    """The untrained classifier, and the number of steps that its training will take."""
    import sparsexmc as sx
    from sparsexmc._checks import require_int
    from sparsexmc.training.fit import steps_per_epoch

    training = cfg.training_arguments(job.config)
    batch_size = training.get("batch_size") or job.config["model"]["batch_size"]
    require_int("training.epochs", training["epochs"], 1)
    require_int("batch_size", batch_size, 1)
    steps = training["epochs"] * steps_per_epoch(job.X.shape[0], batch_size, training["validation"])
    model = defaults.for_steps(job.config["model"], steps)
    arguments = cfg.model_arguments({"model": model})
    if model.get("label_order", cfg.FREQUENCY) != cfg.FREQUENCY and arguments["fan_in"] is not None:
        group_size, dense_labels = arguments["group_size"], arguments["dense_labels"]
        arguments["label_order"] = sx.cluster_labels(
            job.X, job.dataset.Y, group_size, method=model["label_order"], dense_labels=dense_labels
        )
    classifier = sx.Classifier(**arguments, label_counts=job.dataset.label_counts)
    classifier.label_names = job.dataset.label_names
    return classifier, steps


def _fit(
    classifier: Classifier, job: Job, checkpoint: Path | None, metrics_file: str | Path | None, *, progress: bool | None
) -> History:
    """Trains, and saves the model after every epoch that is the best so far."""
    from sparsexmc.training.history import Callback

    class Save(Callback):
        saved_epoch: int | None = None

        def on_epoch(self, classifier: Classifier, info: Any) -> bool | None:
            if checkpoint is not None and info.improved:
                job.save(checkpoint, classifier)
                self.saved_epoch = info.epoch
            return None

    save = Save()
    options: dict[str, Any] = {
        "callbacks": [save],
        "metrics_file": metrics_file,
        "progress": progress,
        "filter": job.dataset.filter,
    }
    options |= cfg.training_arguments(job.config)
    try:
        return classifier.fit(job.X, job.dataset.Y, **options)
    except KeyboardInterrupt:
        kept = save.saved_epoch
        what = f"{checkpoint} holds epoch {kept}" if kept is not None else "no epoch was saved"
        raise KeyboardInterrupt(f"interrupted at step {classifier.step:,}; {what}") from None


def _ensemble(classifier: Classifier, job: Job, threads: int | None) -> Ensemble | None:
    training = cfg.training_arguments(job.config)
    return ensemble.learn(job.config, classifier, job.X, job.dataset.Y, training, threads)


def _report(classifier: Classifier, ranker: ensemble.Ranker, job: Job, *, show_packages: bool) -> None:
    """The metrics on the test instances, where there are any; for the demo also packages and the baseline."""
    from sparsexmc.report.scores import POPULAR, most_frequent

    Y, Y_test = job.dataset.Y, job.dataset.Y_test
    if Y_test is None:
        print("no test instances, so no metrics; `sparsexmc evaluate` measures the model on other data")
        return
    cutoffs = [k for k in evaluate.CUTOFFS if k <= classifier.num_labels]
    ids = evaluate.predict_ids(ranker, job.X_test, cutoffs[-1], job.dataset.filter_test)
    reports = {"sparsexmc": evaluate.measure(ids, Y_test, Y, cutoffs)}
    if ranker is not classifier:
        alone = evaluate.predict_ids(classifier, job.X_test, cutoffs[-1], job.dataset.filter_test)
        reports["network alone"] = evaluate.measure(alone, Y_test, Y, cutoffs)
    if show_packages:
        print("\n" + demo.packages(job.dataset, ids))
        popular = most_frequent(job.dataset.label_counts, len(ids), cutoffs[-1])
        reports[POPULAR] = evaluate.measure(popular, Y_test, Y, cutoffs)
    print(f"\n{count(Y_test.shape[0], 'test instance')}\n\n{metric_table(reports)}\n\n{evaluate.propensity_note(Y)}")
    print(evaluate.filter_note(job.dataset.filter_test), end="")
