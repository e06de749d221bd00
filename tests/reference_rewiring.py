"""The oracle of rewiring (SET: Mocanu et al. 2018; RigL: Evci et al. 2020): who is dropped, who grows, what moves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from reference import Array, Reference, positives_matrix

Mask = npt.NDArray[np.bool_]


def group_means(values: Array, group_size: int) -> Array:
    """[rows, n] -> [groups, n]: mean over the rows of each group; the last group may be short."""
    return np.stack([values[start : start + group_size].mean(axis=0) for start in range(0, len(values), group_size)])


def connection_scores(
    weights: Array, indices: npt.NDArray, inputs: Sequence[tuple[Array, Array | None]], group_size: int
) -> Array:
    """[groups, fan_in]: mean |w| over a group's rows, times the root mean square of the feature, each batch alike.

    `inputs`: of the output layer, and weights of the instances (None: 1), which count as often as that.
    """
    squares = [np.average(np.square(h, dtype=np.float64), axis=0, weights=counts) for h, counts in inputs]
    scales = np.sqrt(np.mean(squares, axis=0))
    return group_means(np.abs(weights), group_size) * scales[indices]


def dropped_connections(score: Array, fraction: float, scope: str, in_features: int) -> Mask:
    """[groups, fan_in] of the connections to drop: the lowest scores, ties by (group, slot).

    Per group never more than in_features - fan_in, the number of features that could grow instead.
    """
    groups, fan_in = score.shape
    available = in_features - fan_in
    dropped = np.zeros((groups, fan_in), dtype=bool)
    if scope == "group":
        count = min(math.floor(fraction * fan_in), available)
        for group in range(groups):
            dropped[group, np.argsort(score[group], kind="stable")[:count]] = True
        return dropped
    lowest = np.argsort(score.ravel(), kind="stable")[: math.floor(fraction * groups * fan_in)]
    room = np.full(groups, available)
    for position in lowest:  # weakest first, so that a group without room keeps its strongest
        group, slot = divmod(int(position), fan_in)
        if room[group] > 0:
            dropped[group, slot] = True
            room[group] -= 1
    return dropped


def group_gradient_norms(
    model: Reference, segment: int, kept: Sequence[tuple[Array, Sequence[Sequence[int]], Array | None]]
) -> Array:
    """[groups, in_features]: sum over a group's rows of |mean over the kept batches of D x^T|.

    `kept`: inputs of the output layer, labels and weights of the instances (None: 1), newest last; logits are
    recomputed with the weights of `model`.
    """
    order, rows = model.state["label_order"].astype(np.int64), model.rows(segment)
    mean = np.zeros((rows.stop - rows.start, model.in_features))
    for h, labels, instance_weights in kept:
        slopes = model.slopes(h, positives_matrix(labels, len(order))[:, order])[1][:, rows]
        share = np.full(len(h), 1 / len(h)) if instance_weights is None else instance_weights / len(h)
        mean += (slopes * share[:, None]).T @ h / len(kept)
    size = model.group_size
    return np.stack([np.abs(mean[start : start + size]).sum(axis=0) for start in range(0, len(mean), size)])


def grown_features(norms: Array, indices: npt.NDArray, counts: npt.NDArray) -> list[npt.NDArray]:
    """Per group the `counts[group]` unread features of largest norm, ties to the smaller feature."""
    grown = []
    for norm, row, count in zip(norms, indices, counts, strict=True):
        candidates = np.setdiff1d(np.arange(len(norm)), row)
        grown.append(np.sort(candidates[np.argsort(-norm[candidates], kind="stable")[:count]]))
    return grown


def rewired(values: npt.NDArray, group_size: int, indices: npt.NDArray, dropped: Mask, new: npt.NDArray) -> npt.NDArray:
    """A tensor laid out as the weights, [rows, fan_in], after the rewiring to indices `new`; grown ones are 0."""
    result = np.zeros_like(values)
    for row in range(len(values)):
        group = row // group_size
        kept = ~dropped[group]
        result[row, np.searchsorted(new[group], indices[group][kept])] = values[row, kept]
    return result


def regrouped_features(weights: Array, indices: npt.NDArray, source: npt.NDArray, group_size: int) -> npt.NDArray:
    """[groups, fan_in] ascending: the features with the largest sum of |w| over each new group's labels.

    `weights` [rows, fan_in] and `indices` [groups, fan_in] are the old ones, `source` [rows] is each new row's old one.
    """
    chosen = []
    for start in range(0, len(source), group_size):
        sums: dict[int, float] = {}
        for row in source[start : start + group_size]:
            for feature, weight in zip(indices[row // group_size], weights[row], strict=True):
                sums[int(feature)] = sums.get(int(feature), 0.0) + abs(float(weight))
        best = sorted(sums, key=lambda feature: (-sums[feature], feature))[: indices.shape[1]]
        chosen.append(sorted(best))
    return np.array(chosen)


def moved_rows(
    values: npt.NDArray, indices: npt.NDArray, source: npt.NDArray, new: npt.NDArray, group_size: int
) -> npt.NDArray:
    """A tensor laid out as the weights, in the order of the new rows; 0 where a label did not read the feature."""
    result = np.zeros_like(values)
    for row, old in enumerate(source):
        features = indices[old // group_size].tolist()
        for place, feature in enumerate(new[row // group_size]):
            if feature in features:
                result[row, place] = values[old, features.index(feature)]
    return result
