"""Running averages of the weights: what they hold, where they are used, and what becomes of them."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sparsexmc as sx
from cases import BY_NAME, Case
from harness import Arrays, assert_same_bits, build, csr, tensors, train

AVERAGES = {
    "ema": sx.WeightAverage("ema", decay=0.6),
    "mean": sx.WeightAverage("mean", start=2),
    "every": sx.WeightAverage("ema", decay=0.9, start=1, every=2),
}
MOST = ["dense_odd", "g1_large", "two_segments_adam", "hidden_dropout", "sparse_adam", "auxiliary_hidden"]
STEPS = 7


def batches(case: Case, first: int = 0, count: int = STEPS) -> list[Any]:
    return [(case.features(i), case.labels(i)) for i in range(first, first + count)]


def rate(average: sx.WeightAverage, n: int) -> np.float32:
    """Of update number n."""
    if n == 1 or average.method == "mean":
        return np.float32(1 / n)
    return np.float32((1 - average.decay) / -math.expm1(n * math.log(average.decay)))


def is_averaged(average: sx.WeightAverage, step: int) -> bool:
    start = average.start or 0
    return step > start and (step - start) % average.every == 0


def trained_and_average(classifier: sx.Classifier) -> tuple[Arrays, Arrays]:
    """Weights and averages by the name of the tensor."""
    state = tensors(classifier)
    names = [n.removeprefix("optimizer.").removesuffix(".average") for n in state if n.endswith(".average")]
    return {n: state[n] for n in names}, {n: state[f"optimizer.{n}.average"] for n in names}


def assert_ulp(what: str, actual: npt.NDArray, expected: npt.NDArray, scale: npt.NDArray, ulps: float = 1) -> None:
    """Within units in the last place of `scale`; a fused multiply-add rounds once where NumPy rounds twice."""
    assert np.all(np.abs(actual - expected) <= ulps * np.spacing(np.abs(scale).astype(np.float32))), what


# ---- the average ----


@pytest.mark.parametrize("average", AVERAGES.values(), ids=AVERAGES)
@pytest.mark.parametrize("name", MOST)
def test_follows_the_weights(name: str, average: sx.WeightAverage) -> None:
    """Each update as the formula says; all of them as the sum that it stands for; and the training stays as it was."""
    case = BY_NAME[name]
    plain, classifier = build(case), build(case, average=average)
    seen: list[Arrays] = []
    before = trained_and_average(classifier)[1]
    assert len(before) >= 2 and all(not value.any() for value in before.values())
    for step, batch in enumerate(batches(case), 1):
        assert train(classifier, [batch]) == train(plain, [batch])
        weights, after = trained_and_average(classifier)
        if not is_averaged(average, step):
            assert_same_bits(after, before)
            continue
        seen.append(weights)
        assert classifier.averaged == len(seen)
        for key, w in weights.items():
            old = before[key]
            expected = w if len(seen) == 1 else old + rate(average, len(seen)) * (w - old)
            assert_ulp(key, after[key], expected, np.maximum(np.abs(old), np.abs(w)))
        before = after
    assert len(seen) >= 3
    decay = 1.0 if average.method == "mean" else average.decay
    parts = decay ** np.arange(len(seen) - 1.0, -1.0, -1.0)
    for key, value in before.items():
        history = np.stack([weights[key] for weights in seen]).astype(np.float64)
        expected = np.tensordot(parts / parts.sum(), history, 1)
        assert_ulp(key, value, expected, np.abs(history).max(0), ulps=2 * len(seen))
    assert_same_bits({n: v for n, v in tensors(classifier).items() if n in tensors(plain)}, tensors(plain))


def test_threads_change_no_bit() -> None:
    """Of a tensor of several pieces."""
    case = BY_NAME["dense_large"]
    states = []
    for threads in (1, 3):
        classifier = build(case, average=AVERAGES["ema"], num_threads=threads)
        train(classifier, batches(case, count=2))
        states.append(tensors(classifier))
    assert_same_bits(*states)
    weights, averages = trained_and_average(classifier)
    assert not np.array_equal(weights["segments.0.weights"], averages["segments.0.weights"])


def by_label(classifier: sx.Classifier, name: str) -> tuple[npt.NDArray, npt.NDArray]:
    """[num_labels, in_features] values of a tensor of the weights, 0 where a label does not read, and where it does."""
    state, parts, where = tensors(classifier), [], []
    segment = 0
    while (key := f"segments.{segment}.weights") in state:
        rows = state[name.format(key)]
        dense = np.zeros((len(rows), classifier.in_features), np.float32)
        reads = np.ones(dense.shape, bool)
        if (indices := state.get(f"segments.{segment}.indices")) is not None:
            index = np.repeat(indices.astype(np.int64), classifier.config["group_size"], 0)[: len(rows)]
            np.put_along_axis(dense, index, rows, 1)
            reads[:] = False
            np.put_along_axis(reads, index, True, 1)
        else:
            dense[:] = rows
        parts.append(dense)
        where.append(reads)
        segment += 1
    order = np.argsort(state["label_order"])
    return np.concatenate(parts)[order], np.concatenate(where)[order]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("g1_adam", "set"),
        ("g17_odd", "rigl"),
        ("two_segments_adam", "set"),
        ("g17_odd", "regroup"),  # labels with features of their own keep them
        ("two_segments_adam", "regroup"),
    ],
)
def test_goes_with_the_connections(name: str, change: str) -> None:
    """A label's average for a feature is kept while it reads the feature, and starts at 0 where it did not."""
    case, average = BY_NAME[name], sx.WeightAverage(decay=0.8)
    rewiring = None if change == "regroup" else sx.Rewiring(method=change, fraction=0.4, interval=2)
    classifier = build(case, average=average, rewiring=rewiring)
    expected = np.zeros((case.num_labels, case.in_features), np.float32)
    read = by_label(classifier, "{}")[1]
    changed = 0
    for n, batch in enumerate(batches(case, count=6), 1):
        train(classifier, [batch])
        if change == "regroup" and n in (2, 5):
            classifier.regroup(seed=n)
        weights, reads = by_label(classifier, "{}")
        stayed = expected + rate(average, n) * (weights - expected) if n > 1 else weights
        # Regrouping comes after the update; what it takes a label away from had a weight before.
        expected = np.where(reads & read, stayed, 0).astype(np.float32)
        changed += int((reads & ~read).sum())
        read = reads
        actual = by_label(classifier, "optimizer.{}.average")[0]
        assert_ulp(f"step {n}", actual, expected, np.maximum(np.abs(expected), np.abs(weights)), ulps=2 * n)
        expected = actual
    assert changed > 0


def test_skipped_batches_do_not_count() -> None:
    case = BY_NAME["two_segments_adam"]
    classifier, other = (build(case, average=AVERAGES["ema"]) for _ in range(2))
    for x, labels in batches(case, count=3):
        broken = x.copy()
        broken[0, 0] = np.nan
        assert classifier.train_step(broken, csr(labels), on_nonfinite="skip").skipped
        train(classifier, [(x, labels)])
        train(other, [(x, labels)])
    assert classifier.averaged == 3
    assert_same_bits(tensors(classifier), tensors(other))


# ---- use ----


@pytest.mark.parametrize("name", MOST)
def test_predicts_as_a_classifier_with_these_weights(name: str) -> None:
    case = BY_NAME[name]
    classifier, other = build(case, average="ema"), build(case)
    train(classifier, batches(case, count=3))
    weights, averages = trained_and_average(classifier)
    state = {key: value for key, value in classifier.state_dict().items() if not key.endswith(".average")}
    del state["averaged"]
    other.load_state_dict(state | averages)
    x, labels, k = case.features(9), case.labels(9), min(5, case.num_labels)
    trained = classifier.topk(x, k)
    with classifier.use_average():
        assert classifier.average_in_use
        scores, ids = classifier.topk(x, k)
        assert_same_bits(trained_and_average_in_use(classifier)[0], averages)
        assert_same_bits(trained_and_average_in_use(classifier)[1], weights)
        weighted = classifier.topk(x, k, label_weights=np.arange(1, case.num_labels + 1, dtype=np.float32))
        if case.nonzeros is None:
            assert classifier.eval_step(x, csr(labels)).loss == other.eval_step(x, csr(labels)).loss
    expected = other.topk(x, k)
    assert (scores.tobytes(), ids.tobytes()) == (expected[0].tobytes(), expected[1].tobytes())
    assert weighted[0].tobytes() == other.topk(x, k, label_weights=np.arange(1, case.num_labels + 1))[0].tobytes()
    assert not classifier.average_in_use
    again = classifier.topk(x, k)
    assert again[0].tobytes() == trained[0].tobytes() != scores.tobytes()


def trained_and_average_in_use(classifier: sx.Classifier) -> tuple[Arrays, Arrays]:
    """Tensors under the names of the weights, and those beside them, while averages are in use."""
    state = tensors(classifier)
    names = [n.removeprefix("optimizer.").removesuffix(".trained") for n in state if n.endswith(".trained")]
    return {n: state[n] for n in names}, {n: state[f"optimizer.{n}.trained"] for n in names}


@pytest.mark.parametrize("in_use", [False, True])
@pytest.mark.parametrize("name", ["two_segments_adam", "hidden_dropout"])
def test_state_and_checkpoint_go_on_with_the_same_bits(name: str, in_use: bool, tmp_path: Path) -> None:
    case = BY_NAME[name]
    classifier, fresh = (build(case, average=AVERAGES["ema"]) for _ in range(2))
    train(classifier, batches(case, count=3))
    if in_use:
        classifier.engine.use_average(True)
    predicted = classifier.topk(case.features(9), 3)[0].tobytes()
    fresh.load_state_dict(classifier.state_dict())
    classifier.save(tmp_path / "model")
    loaded = sx.load(tmp_path / "model")
    for other in (fresh, loaded):
        assert other.average_in_use == in_use and other.averaged == 3
        assert_same_bits(tensors(other), tensors(classifier))
        assert other.topk(case.features(9), 3)[0].tobytes() == predicted
    predictor = sx.load(tmp_path / "model", trainable=False)
    for each in (predictor, copy.deepcopy(predictor)):
        assert each.topk(case.features(9), 3)[0].tobytes() == predicted
    for each in (classifier, fresh, loaded):
        train(each, batches(case, first=3))
    assert not classifier.average_in_use
    for other in (fresh, loaded):
        assert_same_bits(tensors(other), tensors(classifier))


def test_states_that_do_not_fit() -> None:
    case = BY_NAME["two_segments_small"]
    averaged, plain = build(case, average="ema"), build(case)
    train(averaged, batches(case, count=2))
    state, before = averaged.state_dict(), plain.state_dict()
    with pytest.raises(sx.ArgumentError, match="unknown"):
        plain.load_state_dict(state)
    with pytest.raises(sx.ArgumentError, match="missing"):
        averaged.load_state_dict(before)
    with averaged.use_average():
        in_use = averaged.state_dict()
    with pytest.raises(sx.ArgumentError, match="averaged is 0"):
        averaged.load_state_dict(in_use | {"averaged": np.int64(0)})
    assert_same_bits(tensors(averaged), {k: v for k, v in state.items() if k not in ("step", "total_steps")})


# ---- begin and end ----


def test_begins_and_ends() -> None:
    """Memory is taken and given back; the averages become the weights, or do not."""
    case = BY_NAME["two_segments_adam"]
    classifier, always = build(case), build(case, average=AVERAGES["ema"])
    planned = classifier.memory.planned
    train(classifier, batches(case, count=2))
    state = classifier.state_dict()
    classifier.start_average(AVERAGES["ema"])
    assert classifier.memory.planned == classifier.memory.current == always.memory.planned > planned
    assert dict(classifier.memory.plan) == dict(always.memory.plan)
    with classifier.use_average():  # nothing is averaged yet
        assert not classifier.average_in_use
    train(classifier, batches(case, first=2, count=3))
    weights, averages = trained_and_average(classifier)
    classifier.stop_average(keep=False)
    assert_same_bits({name: tensors(classifier)[name] for name in weights}, weights)
    classifier.load_state_dict(state)
    classifier.start_average(AVERAGES["ema"])
    train(classifier, batches(case, first=2, count=3))
    classifier.stop_average()
    assert_same_bits({name: tensors(classifier)[name] for name in weights}, averages)
    assert (classifier.averaged, classifier.config["average"]) == (0, None)
    assert classifier.memory.planned == classifier.memory.current == planned
    assert not any("average" in name for name in classifier.memory.entries)
    assert classifier.engine.memory_statistics()["reserved"] == planned


def test_refusals() -> None:
    case = BY_NAME["two_segments_small"]
    classifier = build(case)
    for call in (classifier.stop_average, lambda: classifier.use_average().__enter__()):
        with pytest.raises(sx.ArgumentError, match="keeps no running average"):
            call()
    classifier.start_average("mean")
    with pytest.raises(sx.ArgumentError, match="already"):
        classifier.start_average("ema")
    with pytest.raises(sx.ArgumentError, match=r"average='sum' must be \"ema\", \"mean\""):
        build(case, average="sum")
    for wrong in ({"decay": 1.0}, {"start": 1.0}, {"start": -1}, {"every": 0}, {"method": "swa"}):
        with pytest.raises(sx.ArgumentError, match=f"average.{next(iter(wrong))}"):
            sx.WeightAverage(**wrong)


def test_a_share_of_the_training_needs_its_length() -> None:
    case = BY_NAME["two_segments_small"]
    classifier = build(case, average=sx.WeightAverage("mean", start=0.5))
    train(classifier, batches(case, count=3))
    assert classifier.averaged == 0
    classifier.total_steps = 7  # steps 1 to 4 are left out
    train(classifier, batches(case, first=3, count=4))
    assert classifier.averaged == 3


def test_limit_counts_the_averages() -> None:
    case = BY_NAME["two_segments_adam"]
    planned = build(case).memory.planned
    classifier = build(case, memory_limit=planned)
    before = tensors(classifier)
    x, labels = case.features(), csr(case.labels())
    for refused in (lambda: classifier.start_average("ema"), lambda: classifier.fit(x, labels, 1, average="ema")):
        with pytest.raises(sx.MemoryPlanError, match=r"optimizer\.segments\.1\.weights\.average"):
            refused()
    assert_same_bits(tensors(classifier), before)
    assert classifier.memory.peak == planned and classifier.config["average"] is None
