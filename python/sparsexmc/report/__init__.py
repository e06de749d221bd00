"""Reports: a self-contained HTML page about a trained model, its predictions and its training.

Needs matplotlib: `pip install 'sparsexmc[report]'`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy.typing as npt
import scipy.sparse as sp

from .. import _core
from .._checks import require_cutoffs
from .._sparse import label_matrix
from ..core.state import check_label_names
from ..errors import ArgumentError
from .scores import POPULAR, Predictions, Truth, most_frequent, predictions, truth

if TYPE_CHECKING:
    from ..classifier import Classifier
    from .page import Section
    from .training_log import TrainingLog

__all__ = ["write"]


def write(
    directory: str | os.PathLike[str],
    classifier: Classifier,
    ids: npt.ArrayLike,
    Y: sp.csr_matrix,
    *,
    train_labels: sp.csr_matrix | None = None,
    baselines: Mapping[str, npt.ArrayLike] | None = None,
    metrics_file: str | os.PathLike[str] | None = None,
    label_names: Sequence[str] | None = None,
    model_name: str = "model",
    data_name: str = "test set",
    facts: Sequence[Sequence[str]] = (),
    cutoffs: Sequence[int] = (1, 3, 5),
    A: float = 0.55,
    B: float = 1.5,
) -> Path:
    """Write `directory`/index.html, one page with its pictures inside, and the pictures as PNG files beside it.

    Metrics, learning curves, P and PSP by band of training frequency (see `sparsexmc.report.bands`), predicted against
    true frequency, use of the input features and churn, memory by name, and the worst labels. What cannot be said for
    want of data is left out, and the page says so.

    Args:
        directory: made anew; it may be an empty directory or an earlier report, which is replaced.
        classifier: the trained model.
        ids: [n, >= largest cut-off] its predicted label ids, best first, as from `classifier.topk`.
        Y: scipy sparse [n, L], the positives of the same instances; columns beyond the classifier's labels are labels
            that it does not know, and count as missed.
        train_labels: scipy sparse [N, L], labels of the training set: for PSP, popular labels and frequency bands.
        baselines: title -> predicted ids, like `ids`, of what to compare with, of any system.
        metrics_file: what `Classifier.fit(metrics_file=...)` wrote; if it is missing the page has no learning curves.
        label_names: [L] names; None: those of the classifier, if any and L is its number of labels.
        model_name, data_name: what to call them.
        facts: further rows (what, value) for the head of the page.
        cutoffs: of the metrics; bands are shown at the first and last, labels at the last. Those above L are left out.
        A, B: of the propensities.

    Returns:
        The path of the page.

    Raises:
        ImportError: matplotlib is missing; the message has the command that installs it.
        ArgumentError, DTypeError: a wrong argument, or `directory` holds something else.
        DataError: `metrics_file` is not one.
        OSError, Error: the report cannot be written. On any error `directory` is as it was.
    """
    from .figure_style import require_matplotlib
    from .output import PAGE, check_place, publish
    from .page import page

    require_matplotlib()
    place = check_place(directory)
    ks = _cutoffs(cutoffs, classifier.num_labels)
    known = truth(*_labels(Y, train_labels, classifier.num_labels), A, B)
    names = _names(classifier, label_names, known.Y.shape[1])
    models = _models({model_name: ids, **_new_titles(model_name, baselines or {})}, known, ks)
    log = _log(metrics_file)

    sections = _sections(classifier, models, known, log, metrics_file, names, ks)
    html = page(
        f"{model_name} on {data_name}",
        f"Written by sparsexmc {_core.version()} on {datetime.now(UTC):%d %B %Y, %H:%M} UTC.",
        [_head(classifier, known, data_name, facts), *sections],
        _core.version(),
    )
    pictures = {figure.name: figure.png for section in sections for figure in section.figures}
    publish(place, pictures | {PAGE: html.encode()})
    return place / PAGE


def _sections(
    classifier: Classifier,
    models: list[Predictions],
    known: Truth,
    log: TrainingLog | None,
    metrics_file: str | os.PathLike[str] | None,
    names: Sequence[str] | None,
    cutoffs: list[int],
) -> list[Section]:
    from . import model_sections, sections
    from .bands import frequency_bands

    bands = None if known.counts is None else frequency_bands(known)
    looked_at = "" if metrics_file is None else os.fspath(metrics_file)
    made = [sections.results(models, known), model_sections.learning_curves(classifier, log, looked_at)]
    if bands is not None:
        made.append(sections.by_band(models, known, bands, sorted({cutoffs[0], cutoffs[-1]})))
    made.append(sections.prediction_counts(models, known, bands))
    made.append(sections.worst(models[0], known, names))
    made.append(model_sections.connections(classifier))
    made.append(model_sections.memory(classifier))
    made.append(model_sections.configuration(classifier))
    return made


def _head(classifier: Classifier, known: Truth, data_name: str, facts: Sequence[Sequence[str]]) -> Section:
    from .page import Section, table

    n, num_labels = known.Y.shape
    training = "" if known.num_train is None else f" (trained on {known.num_train:,})"
    rows = [["data", f"{data_name}: {n:,} test instances{training}, {num_labels:,} labels"]]
    rows += [list(row) for row in facts] or [["model", repr(classifier)]]
    section = Section("about", "About")
    section.table(table([], rows, text_columns=(0, 1)))
    return section


def _cutoffs(cutoffs: Sequence[int], num_labels: int) -> list[int]:
    cutoffs = require_cutoffs(cutoffs)
    kept = sorted({k for k in cutoffs if k <= num_labels})
    if not kept:
        raise ArgumentError(f"cutoffs={list(cutoffs)} holds none up to num_labels={num_labels}; pass some, such as [1]")
    return kept


def _labels(
    Y: sp.csr_matrix, train_labels: sp.csr_matrix | None, num_labels: int
) -> tuple[sp.csr_matrix, sp.csr_matrix | None]:
    test = label_matrix("Y", Y)
    train = None if train_labels is None else label_matrix("train_labels", train_labels)
    for name, matrix in (("Y", test), ("train_labels", train)):
        if matrix is not None and matrix.shape[1] < num_labels:
            raise ArgumentError(f"{name} has {matrix.shape[1]} columns, but the classifier has {num_labels} labels")
    if train is not None and train.shape[1] != test.shape[1]:
        raise ArgumentError(f"train_labels has {train.shape[1]} columns and Y has {test.shape[1]}; they must agree")
    if test.shape[0] == 0:
        raise ArgumentError("Y has no rows; a report needs test instances")
    return test, train


def _names(classifier: Classifier, given: Sequence[str] | None, num_labels: int) -> Sequence[str] | None:
    if given is not None:
        return check_label_names(given, num_labels)
    # The classifier has no names for columns beyond its own labels.
    return classifier.label_names if num_labels == classifier.num_labels else None


def _new_titles(model_name: str, baselines: Mapping[str, npt.ArrayLike]) -> Mapping[str, npt.ArrayLike]:
    for taken in (model_name, POPULAR):
        if taken in baselines:
            raise ArgumentError(f"baselines has the title {taken!r}, which is taken; call it something else")
    return baselines


def _models(predicted: Mapping[str, npt.ArrayLike], known: Truth, cutoffs: list[int]) -> list[Predictions]:
    """All that is compared, the model itself first and the popular labels last."""
    models = [predictions(title, ids, known, cutoffs) for title, ids in predicted.items()]
    if known.counts is not None:
        popular = most_frequent(known.counts, known.Y.shape[0], cutoffs[-1])
        models.append(predictions(POPULAR, popular, known, cutoffs))
    return models


def _log(metrics_file: str | os.PathLike[str] | None) -> TrainingLog | None:
    from .training_log import read

    return None if metrics_file is None or not os.path.exists(metrics_file) else read(metrics_file)
