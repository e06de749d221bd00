"""The sections about predictions: results, bands, prediction counts, worst labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from . import figures
from .bands import Bands, precision_parts, psp_parts, recall_inside
from .labels import count_cells, worst_labels
from .page import Figure, Section, table
from .scores import LEAST_TRAINING_INSTANCES, POPULAR, Predictions, Truth

NO_VALUE = "\N{EN DASH}"
SEPARATOR = "\N{MIDDLE DOT}"  # names may hold commas


def results(models: Sequence[Predictions], truth: Truth) -> Section:
    """All metrics of all models."""
    section = Section("results", "Results")
    first = models[0].scores
    cutoffs = list(next(iter(first.values())))
    rows: list[list[str]] = []
    best: set[tuple[int, int]] = set()
    for metric in first:
        row = [f"PSP (A = {truth.A:g}, B = {truth.B:g})" if metric == "PSP" else metric]
        for k in cutoffs:
            values = [model.scores[metric][k] for model in models]
            shown = [f"{100 * value:.2f}" for value in values]
            if len(models) > 1:
                top = max(shown, key=float)
                best |= {(len(rows), 1 + i * len(cutoffs) + cutoffs.index(k)) for i, v in enumerate(shown) if v == top}
        row += [f"{100 * model.scores[metric][k]:.2f}" for model in models for k in cutoffs]
        rows.append(row)
    header = ["percent", *(f"@{k}" for _ in models for k in cutoffs)]
    groups = [("", 1), *((model.title, len(cutoffs)) for model in models)]
    section.table(table(header, rows, groups=groups, best=frozenset(best)))
    section.text(_missing_psp(truth) or _about_psp(truth), "note")
    if any(model.title == POPULAR for model in models):
        section.text(
            f"{POPULAR.capitalize()}: the most frequent labels of the training set for every instance, the least that "
            "a model has to beat.",
            "note",
        )
    return section


def by_band(models: Sequence[Predictions], truth: Truth, bands: Bands, cutoffs: Sequence[int]) -> Section:
    """Parts of P and PSP at the cut-offs, and recall at the last one, by band of training frequency."""
    section = Section("bands", "By label frequency")
    k = cutoffs[-1]
    section.text(
        "Labels are put into bands by the number of training instances that have them. The part of P@k that comes from "
        "a band is the number of hits on its labels among the first k predictions, divided by k and by the number of "
        "test instances: the bars of one colour add up to P@k. PSP@k is split in the same way, every hit with the "
        "inverse propensity of its label, over the best sum that is possible on the whole test set. Recall inside a "
        "band is the share of the band's test positives that are among the first k predictions."
    )
    names = ", ".join(model.title for model in models)
    section.figure(
        Figure(
            "bands.png",
            figures.band_parts(models, bands, truth, cutoffs),
            f"Grouped bars by band of training frequency for {names}",
            "Where P and PSP come from. Scales differ between the panels.",
        )
    )
    section.figure(
        Figure(
            "band-recall.png",
            figures.band_recall(models, bands, k),
            f"Grouped bars of recall by band of training frequency for {names}",
            f"How much of each band is found. An instance with more than {k} positives cannot have them all among {k} "
            "predictions, so 100 % may be out of reach.",
        )
    )
    section.table(_recall_table(models, bands, k))
    section.folded("The parts of P and PSP as numbers", _parts_table(models, truth, bands, cutoffs))
    return section


def prediction_counts(models: Sequence[Predictions], truth: Truth, bands: Bands | None) -> Section:
    """Frequency of labels in the predictions against that in the truth."""
    section = Section("counts", "Predicted and true frequency")
    k = models[0].ids.shape[1]
    own = [model for model in models if model.title != POPULAR]
    if bands is not None:
        section.figure(
            Figure(
                "band-balance.png",
                figures.band_balance(own, bands, k),
                "Grouped bars: shares of test positives and of predictions by band",
                f"The bars of one colour add up to 100 %. Where a model's bar is the lower one, it spends too few of "
                f"its {k} predictions per instance on such labels.",
            )
        )
    cells = count_cells(models[0], truth)
    section.figure(
        Figure(
            "prediction-counts.png",
            figures.count_map(cells, k),
            "Heat map of labels by true and predicted count",
            f"{models[0].title}: numbers are labels. Above the framed cells a label is predicted more often than it is "
            f"true, in the bottom row never. In all, {models[0].ids.size:,} predictions stand against "
            f"{truth.Y.nnz:,} positives.",
        )
    )
    never, with_positives = int(cells[0, 1:].sum()), int(cells[:, 1:].sum())
    section.text(
        f"{never:,} of {with_positives:,} labels with a test positive are never among the first {k} predictions."
    )
    return section


def worst(model: Predictions, truth: Truth, names: Sequence[str] | None) -> Section:
    """The labels that lose most test positives."""
    section = Section("worst", "Worst labels")
    k = model.ids.shape[1]
    found = worst_labels(model, truth)
    if not found:
        section.text(f"None: every test positive is among the first {k} predictions.")
        return section

    def name(label: int) -> str:
        return str(label) if names is None else names[label]

    section.text(
        f"The labels that {model.title} loses most often: a test positive is lost when it is not among the first {k} "
        "predictions for its instance. The last column has the wrong labels that were predicted most often for those "
        "instances, with the number of instances."
    )
    header = ["label", "id", "in training", "in test", "lost", f"recall@{k}", "predicted instead"]
    counts = truth.counts
    rows = [
        [
            name(w.label),
            str(w.label),
            NO_VALUE if counts is None else f"{counts[w.label]:,}",
            f"{w.positives:,}",
            f"{w.lost:,}",
            f"{100 * w.found / w.positives:.1f} %",
            f" {SEPARATOR} ".join(f"{name(label)} ({times:,})" for label, times in w.instead) or NO_VALUE,
        ]
        for w in found
    ]
    if names is None:  # then the id stands in the first column
        header, rows = [title for title in header if title != "id"], [[row[0], *row[2:]] for row in rows]
    section.table(table(header, rows, text_columns=(0, len(header) - 1)))
    lost = int(truth.Y.nnz - model.hits.sum())
    section.text(
        f"Together they lose {sum(w.lost for w in found):,} of the {lost:,} test positives that are lost.", "note"
    )
    return section


def _missing_psp(truth: Truth) -> str:
    if truth.counts is None:
        return "No PSP, no popular labels and no frequency bands: they need the labels of the training set."
    if truth.weights is None:
        return f"No PSP: it needs at least {LEAST_TRAINING_INSTANCES} training instances."
    return ""


def _about_psp(truth: Truth) -> str:
    return (
        f"PSP weighs a hit on label l by q = 1 + C (n + B)^-A, n being the training instances of l, A = {truth.A:g}, "
        f"B = {truth.B:g} and C = (ln N - 1)(B + 1)^A for N = {truth.num_train:,} training instances. Macro-F1 is the "
        "mean over all labels, coverage the share of labels with a test positive that are hit at least once."
    )


def _recall_table(models: Sequence[Predictions], bands: Bands, k: int) -> str:
    recalls = [recall_inside(model, bands, k) for model in models]
    total = max(1, int(bands.positives.sum()))
    rows = [
        [
            bands.titles[b],
            f"{bands.labels[b]:,}",
            f"{bands.positives[b]:,}",
            f"{100 * bands.positives[b] / total:.1f} %",
            *(_percent(recall[b]) for recall in recalls),
        ]
        for b in range(len(bands))
    ]
    header = ["training instances", "labels", "test positives", "of all", *(model.title for model in models)]
    return table(header, rows, groups=[("", 4), (f"recall@{k}, percent", len(models))])


def _parts_table(models: Sequence[Predictions], truth: Truth, bands: Bands, cutoffs: Sequence[int]) -> str:
    columns: list[npt.NDArray[np.float64]] = []
    groups = [("", 1)]
    for name in ("P", "PSP") if truth.weights is not None else ("P",):
        for k in cutoffs:
            groups.append((f"{name}@{k}, points", len(models)))
            for model in models:
                is_psp = name == "PSP"
                columns.append(psp_parts(model, bands, truth, k) if is_psp else precision_parts(model, bands, k))
    rows = [[title, *(_percent(column[b]) for column in columns)] for b, title in enumerate(bands.titles)]
    rows.append(["all", *(_percent(column.sum()) for column in columns)])
    header = ["training instances", *(model.title for _ in groups[1:] for model in models)]
    return table(header, rows, groups=groups)


def _percent(share: float) -> str:
    return NO_VALUE if math.isnan(share) else f"{100 * share:.2f}"
