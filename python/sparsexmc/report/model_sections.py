"""The sections about the model itself: learning curves, connections, memory, configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..memory import format_bytes
from . import figures, training_figures
from .connections import churn, usage
from .page import Figure, Section, table
from .training_log import TrainingLog

if TYPE_CHECKING:
    from ..classifier import Classifier

REWIRINGS_SHOWN = 10


def learning_curves(classifier: Classifier, log: TrainingLog | None, looked_at: str) -> Section:
    """Loss, learning rate and validation metrics; `looked_at` is the metrics file that was looked for."""
    section = Section("training", "Training")
    if log is None or log.last_step == 0:
        place = f"{looked_at} does not exist" if log is None else f"{log.path} has no line of a step or an epoch"
        section.text(
            f"No learning curves: {place or 'no metrics file was given'}. Training writes the file with "
            "Classifier.fit(metrics_file=...), and `sparsexmc train` writes MODEL.metrics.jsonl beside the model; "
            "`sparsexmc evaluate --metrics-file FILE` names another one.",
            "warning",
        )
        return section
    if not log.knows(classifier.step):
        section.text(
            f"{log.path} has no epoch that ends at step {classifier.step:,}, which is that of the model; it goes up to "
            f"step {log.last_step:,} and may belong to another training.",
            "warning",
        )
    section.text(_summary(classifier, log))
    schedule = classifier.config["schedule"]
    section.figure(
        Figure(
            "learning-curves.png",
            training_figures.learning_curves(log, schedule, classifier.lr, classifier.step),
            "Curves of training loss, learning rate and validation metrics over the steps",
            "The loss is summed over the labels and averaged over the instances. A dashed vertical line marks the step "
            "of the evaluated model where training went on after it.",
        )
    )
    if not log.metrics:
        section.text("No validation curves: this training held nothing out (training.validation).", "note")
    return section


def connections(classifier: Classifier) -> Section:
    """Use of the input features by the fan-in indices, and what rewiring changed."""
    section = Section("connections", "Connections")
    usages = usage(classifier)
    if not usages:
        section.text("Every label reads every feature, so there are no fan-in indices and nothing is rewired.")
        return section
    for entry in usages:
        counts, unused = entry.counts, int((entry.counts == 0).sum())
        section.text(
            f"Segment {entry.segment}: {entry.groups:,} groups of {classifier.config['group_size']} labels read "
            f"{entry.fan_in:,} of {len(counts):,} features each, so random connections would use a feature "
            f"{counts.mean():,.1f} times on average, with a standard deviation of {entry.random_deviation:,.1f}. Here "
            f"the deviation is {counts.std():,.1f}; the most used feature is read by {counts.max():,} groups, the "
            f"least used by {counts.min():,}. Features that no group reads: {unused:,}."
        )
    section.figure(
        Figure(
            "feature-usage.png",
            training_figures.feature_usage(usages),
            "Histogram of how many groups read each input feature, with the expectation for random connections",
            "A histogram that is wider than the line means that the model prefers some features. With a hidden layer "
            "the features are its units.",
        )
    )
    rewiring = classifier.config["rewiring"]
    entries = churn(classifier, usages)
    if not entries:
        reason = "the model was trained without rewiring" if rewiring is None else "no rewiring has been due yet"
        section.text(f"No churn: {reason}, so the connections are those of the start.")
        return section
    method = "" if rewiring is None else rewiring["method"]
    section.figure(
        Figure(
            "churn.png",
            training_figures.churn(entries, method),
            "Curves of the share of connections replaced at every rewiring, and of the scores",
            "Churn of every rewiring. The score of a connection is the mean |weight| over the labels of its group; "
            + (
                "features are grown by the largest gradient norm."
                if method == "rigl"
                else "new features are drawn at random and have no score."
            ),
        )
    )
    rows = [
        [
            f"{e.step:,}",
            str(e.segment),
            f"{e.changed:,}",
            f"{100 * e.share:.2f} %",
            f"{e.score_dropped:.3g}",
            f"{e.score_grown:.3g}",
        ]
        for e in entries[-REWIRINGS_SHOWN:]
    ]
    header = ["step", "segment", "connections replaced", "of all", "mean |w| dropped", "mean score grown"]
    title = f"The last {len(rows)} of {len(entries):,} rewirings" if len(entries) > len(rows) else "All rewirings"
    section.folded(title, table(header, rows, text_columns=()))
    return section


def memory(classifier: Classifier) -> Section:
    """Every planned allocation by name."""
    section = Section("memory", "Memory")
    plan = classifier.memory.plan
    optimizer = sum(size for name, size in plan.items() if name.startswith("optimizer."))
    section.text(
        f"{format_bytes(plan.total)} are planned on {classifier.device} for training with batches of "
        f"{classifier.batch_size:,}, {format_bytes(optimizer)} of it for the optimizer's state. While this report was "
        f"made the engine held {format_bytes(classifier.memory.peak)} at most."
    )
    section.figure(
        Figure(
            "memory.png",
            figures.memory_bars(plan),
            "Horizontal bars of planned memory by name",
            "Names are those of the checkpoint; batch, scratch and topk are working space.",
        )
    )
    rows = [
        [name, f"{size:,}", f"{100 * size / plan.total:.1f} %"]
        for name, size in sorted(plan.items(), key=lambda item: -item[1])
    ]
    rows.append(["total", f"{plan.total:,}", "100.0 %"])
    section.folded(f"All {len(plan)} allocations", table(["name", "bytes", "of all"], rows))
    return section


def configuration(classifier: Classifier) -> Section:
    """The engine's configuration, every value."""
    section = Section("configuration", "Configuration")
    section.folded("Every value", table([], _flat(classifier.config), text_columns=(0, 1)))
    return section


def _summary(classifier: Classifier, log: TrainingLog) -> str:
    parts = [f"{log.path}: {log.last_step:,} steps"]
    if log.epochs:
        seconds = sum(record.get("seconds", 0.0) for record in log.epochs)
        losses = np.array([record["loss"] for record in log.epochs])
        parts.append(f"{len(log.epochs):,} epochs in {seconds:,.1f} s of training")
        parts.append(f"mean loss {losses[0]:.4g} in the first and {losses[-1]:.4g} in the last")
    parts.append(f"the evaluated model is that of step {classifier.step:,}")
    return "; ".join(parts) + "."


def _flat(value: dict[str, Any], prefix: str = "") -> list[list[str]]:
    rows = []
    for key, entry in value.items():
        if isinstance(entry, dict):
            rows += _flat(entry, f"{prefix}{key}.")
        else:
            rows.append([prefix + key, "none" if entry is None else str(entry)])
    return rows
