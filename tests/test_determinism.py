"""Bitwise reproducibility: any number of threads, any label tile, any repetition, any interruption."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sparsexmc as sx
from cases import BY_NAME, Case
from harness import DEVICE, assert_close, assert_same_bits, build, step, tensors, train

NAMES = [
    "dense_large",
    "g1_large",
    "g3_adam",
    "g16_large",
    "g17_odd",
    "g64_large",
    "two_segments_hinge",
    "two_segments_large",
    "hidden_dropout",
    "sparse_dropout",
    "auxiliary_hinge",
    "auxiliary_sparse",
]
each_case = pytest.mark.parametrize("case", [BY_NAME[name] for name in NAMES], ids=NAMES)
REWIRINGS = {
    "set": sx.Rewiring(method="set", fraction=0.3, interval=2),
    "rigl": sx.Rewiring(method="rigl", fraction=0.3, interval=2, scope="group", grow_batches=2),
}
each_rewiring = pytest.mark.parametrize("rewiring", REWIRINGS.values(), ids=REWIRINGS)


def outcome(case: Case, **overrides) -> tuple[list[bytes], dict]:
    """Losses, gradients, predictions and all tensors of a short training."""
    classifier = build(case, **overrides)
    seen = train(classifier, case.steps())
    scores, ids = classifier.topk(case.features(9), k=min(5, case.num_labels))
    return [*seen, np.asarray(scores).tobytes(), np.asarray(ids).tobytes()], tensors(classifier)


def assert_same_outcome(case: Case, **overrides) -> None:
    seen, state = outcome(case, **overrides)
    expected_seen, expected_state = outcome(case, **(overrides | {"num_threads": 1}))
    assert_same_bits(state, expected_state)
    assert seen == expected_seen


@each_case
@pytest.mark.parametrize("threads", [2, 3, 5] if DEVICE == "cpu" else [5])
def test_threads(case: Case, threads: int) -> None:
    assert_same_outcome(case, num_threads=threads)


@pytest.mark.skipif(DEVICE != "cpu", reason="the tiles are those of the CPU's kernels")
@each_case
@pytest.mark.parametrize("tile", [1, 7, 64])
def test_label_tiles(case: Case, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected_seen, expected_state = outcome(case)
    monkeypatch.setenv("SPARSEXMC_LABEL_TILE", str(tile))
    seen, state = outcome(case)
    assert_same_bits(state, expected_state)
    assert seen == expected_seen


@each_case
def test_repetition(case: Case) -> None:
    first, second = outcome(case), outcome(case)
    assert_same_bits(first[1], second[1])
    assert first[0] == second[0]


@each_rewiring
@pytest.mark.parametrize("threads", [2, 5])
def test_rewiring_on_threads(rewiring: sx.Rewiring, threads: int) -> None:
    for name in ("g1_adam", "g16_large", "g17_odd", "two_segments_large"):
        assert_same_outcome(BY_NAME[name], num_threads=threads, rewiring=rewiring)


@each_case
def test_room_in_the_plan(case: Case) -> None:
    """A classifier that is ready for larger batches does the same with these."""
    assert_same_outcome(case, batch_size=case.batch + 37)


@each_case
@pytest.mark.parametrize("duplicate", [lambda c: pickle.loads(pickle.dumps(c)), copy.deepcopy], ids=["pickle", "copy"])
def test_copies(case: Case, duplicate: Callable[[sx.Classifier], sx.Classifier]) -> None:
    """A copy in the middle of a training goes on as the original does."""
    batches = list(case.steps())
    original = build(case)
    train(original, batches[:1])
    other = duplicate(original)
    assert train(other, batches[1:]) == train(original, batches[1:])
    assert_same_bits(tensors(other), tensors(original))


@pytest.mark.parametrize("name", ["dense_large", "g1_large", "g16_large", "g17_odd", "two_segments_hinge"])
def test_order_of_the_instances_in_a_batch(name: str) -> None:
    """Sums over a batch have the order of its rows: another one is equal to rounding. Predictions have no such sum."""
    case = BY_NAME[name]
    x, labels = case.features(), case.labels()
    order = np.random.default_rng(4).permutation(len(labels))
    one, other = build(case), build(case)
    start = tensors(one)
    loss, grad = step(one, x, labels)
    other_loss, other_grad = step(other, x[order], [labels[i] for i in order])
    assert other_loss == pytest.approx(loss, rel=1e-6)
    assert_close("gradient", other_grad, np.asarray(grad, np.float64)[order], case.tolerance)
    for tensor, value in tensors(one).items():
        if value.dtype == np.float32:
            assert_close(tensor, tensors(other)[tensor], value.astype(np.float64), case.tolerance, start[tensor])
    for given, expected in zip(one.topk(x[order], 3), one.topk(x, 3), strict=True):
        np.testing.assert_array_equal(given, expected[order])


def test_seed_decides() -> None:
    case = BY_NAME["hidden_dropout"]
    state, other = tensors(build(case, seed=1)), tensors(build(case, seed=2))
    for name in ("segments.0.weights", "segments.0.indices", "hidden.weight"):
        assert not np.array_equal(state[name], other[name]), name


@each_case
def test_resume(case: Case, tmp_path: Path) -> None:
    assert_resumes(case, tmp_path)


@each_rewiring
def test_resume_with_rewiring(rewiring: sx.Rewiring, tmp_path: Path) -> None:
    """Also between two rewirings, where kept batches and the count of steps matter."""
    for name in ("g16_large", "two_segments_adam"):
        for stop in (1, 2, 3):
            assert_resumes(BY_NAME[name], tmp_path / f"{name}-{stop}", stop, rewiring=rewiring)


def assert_resumes(case: Case, path: Path, stop: int = 2, **overrides) -> None:
    """Training, saved and loaded after `stop` of five steps, ends bit for bit where uninterrupted training ends."""
    batches = [(case.features(i), case.labels(i)) for i in range(5)]
    whole = build(case, **overrides)
    expected = train(whole, batches)
    first = build(case, **overrides)
    seen = train(first, batches[:stop])
    first.save(str(path / "model"))
    resumed = sx.load(str(path / "model"), num_threads=3)
    seen += train(resumed, batches[stop:])
    assert_same_bits(tensors(resumed), tensors(whole))
    assert seen == expected
    assert resumed.state_dict()["step"] == 5
