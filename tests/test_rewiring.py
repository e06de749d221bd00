"""SET and RigL against the oracle: who is dropped, who grows, what travels, when."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference as ref
import reference_rewiring as rw
import sparsexmc as sx
from cases import ADAM, BY_NAME, MOMENTUM, Case, LabelRows
from harness import Arrays, build, csr, oracle, tensors

METHODS = ["set", "rigl"]
SCOPES = ["layer", "group"]
CASES = ["g1_adam", "g1_large", "g3_padding", "g16_large", "g17_odd", "g32_adam", "g64_mostly_padding", "wide_g16"]
CASES += ["weighted_g17", "two_segments_large", "two_segments_hinge", "hidden_dropout", "sparse_dropout"]
CASES += ["softmax_g1", "softmax_g16_large", "softmax_g17_weighted"]


Kept = tuple[npt.NDArray, LabelRows, npt.NDArray | None]  # inputs, labels, weights of the instances


@dataclass
class Rewired:
    """A rewiring seen from outside: the model before and after, and what its growth could look at."""

    case: Case
    rewiring: sx.Rewiring
    before: Arrays
    after: Arrays
    record: Any
    segment: int
    kept: list[Kept] = field(repr=False)

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        return self.before[f"segments.{self.segment}.indices"].astype(np.int64)

    @property
    def new_indices(self) -> npt.NDArray[np.int64]:
        return self.after[f"segments.{self.segment}.indices"].astype(np.int64)

    @property
    def score(self) -> npt.NDArray[np.float64]:
        """Exact scores of the connections, from the weights just before the rewiring."""
        weights = self.before[f"segments.{self.segment}.weights"].astype(np.float64)
        inputs = [(h, instance_weights) for h, _, instance_weights in self.looked_at]
        return rw.connection_scores(weights, self.indices, inputs, self.case.group_size)

    @property
    def looked_at(self) -> list[Kept]:
        """The batches that count: the last ones kept for growth, or without growth by gradient the last one."""
        return self.kept[-self.rewiring.grow_batches if self.rewiring.method == "rigl" else -1 :]

    @property
    def dropped(self) -> rw.Mask:
        return np.stack([~np.isin(old, new) for old, new in zip(self.indices, self.new_indices, strict=True)])

    @property
    def grown(self) -> rw.Mask:
        """[groups, fan_in] over the new indices."""
        return np.stack([~np.isin(new, old) for old, new in zip(self.indices, self.new_indices, strict=True)])

    def norms(self) -> npt.NDArray[np.float64]:
        """Group gradient norms with the weights just before the rewiring."""
        case = self.case
        model = ref.Reference(self.before, case.layer_features, case.group_size, case.loss, case.optimizer)
        return rw.group_gradient_norms(model, self.segment, self.looked_at)


def rewire(
    case: Case,
    rewiring: sx.Rewiring,
    steps: int,
    start: Arrays | None = None,
    batches: list[tuple[Any, LabelRows]] | None = None,
    instance_weights: list[npt.NDArray | None] | None = None,
) -> Rewired:
    """Trains two classifiers that differ in rewiring alone; bitwise reproducibility makes one the other's "before"."""
    plain, wired = build(case), build(case, rewiring=rewiring)
    for classifier in (plain, wired) if start else ():
        classifier.load_state_dict(start | {"step": 0})
    kept = []
    for number in range(steps):
        x, labels = batches[number] if batches else (case.features(number), case.labels(number))
        weights = instance_weights[number] if instance_weights else None
        kept.append((oracle(case, plain, step=number).hidden(x, training=True)[0], labels, weights))
        assert not plain.train_step(x, csr(labels), weights).rewired
        assert wired.train_step(x, csr(labels), weights).rewired == (number == steps - 1)
    segment = 1 if case.dense_labels else 0
    (record,) = wired.rewirings
    assert (record.step, record.segment) == (steps, segment)
    return Rewired(case, rewiring, tensors(plain), tensors(wired), record, segment, kept)


def assert_moved(result: Rewired) -> None:
    """Valid indices; survivors and their state travel bit for bit; grown connections are zero; nothing else moved."""
    case, new = result.case, result.new_indices
    assert (np.diff(new, axis=1) > 0).all() and new.min() >= 0 and new.max() < case.layer_features
    assert result.after.keys() == result.before.keys()
    name = f"segments.{result.segment}"
    for key, value in result.before.items():
        if key == f"{name}.weights" or key.startswith(f"optimizer.{name}.weights"):
            expected = rw.rewired(value, case.group_size, result.indices, result.dropped, new)
        elif key == f"{name}.indices":
            continue
        else:
            expected = value
        assert result.after[key].tobytes() == expected.tobytes(), key


def assert_weakest_dropped(result: Rewired) -> None:
    """The oracle's choice, where connections whose scores differ by fp32 rounding only may change places."""
    score, dropped = result.score, result.dropped
    rewiring = result.rewiring
    expected = rw.dropped_connections(score, rewiring.fraction, rewiring.scope, result.case.layer_features)
    assert dropped.sum() == expected.sum() == result.record.changed
    for group in range(len(score)) if rewiring.scope == "group" else [slice(None)]:
        ours, theirs = dropped[group], expected[group]
        assert ours.sum() == theirs.sum()
        if (ours != theirs).any():
            disputed = score[group][ours != theirs]
            assert np.ptp(disputed) <= 1e-6 * disputed.max(), "a connection was dropped that is not among the weakest"
    if expected.any():
        assert result.record.score_dropped == pytest.approx(score[dropped].mean(), rel=1e-5)


def assert_steepest_grown(result: Rewired) -> None:
    """Every grown feature has a gradient norm at least that of every feature left out, up to rounding."""
    norms = result.norms()
    chosen = []
    for norm, old, new, grown in zip(norms, result.indices, result.new_indices, result.grown, strict=True):
        if grown.any():
            left_out = np.setdiff1d(np.arange(len(norm)), np.union1d(old, new))
            worst = norm[new[grown]].min()
            assert not len(left_out) or worst >= norm[left_out].max() - 1e-5 * norm.max()
            chosen.extend(norm[new[grown]])
    assert result.record.score_grown == pytest.approx(np.mean(chosen), rel=1e-4)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("method", METHODS)
def test_rewiring_follows_the_oracle(name: str, scope: str, method: str) -> None:
    case = BY_NAME[name]
    rewiring = sx.Rewiring(method=method, fraction=0.3, interval=3, scope=scope, grow_batches=2)
    result = rewire(case, rewiring, 3)
    assert_moved(result)
    assert_weakest_dropped(result)
    assert result.grown.sum() == result.record.changed > 0
    if method == "rigl":
        assert_steepest_grown(result)
    else:
        assert result.record.score_grown == 0


@pytest.mark.parametrize("grow_batches", [1, 2, 4])
def test_rigl_averages_over_the_last_batches(grow_batches: int) -> None:
    """Batches of different sizes, of which each counts the same."""
    case = BY_NAME["two_segments_hinge"]
    batches = [(case.features(i, rows), case.labels(i, rows)) for i, rows in enumerate((64, 257, 3, 100))]
    rewiring = sx.Rewiring(method="rigl", fraction=0.5, interval=4, scope="group", grow_batches=grow_batches)
    result = rewire(case, rewiring, 4, batches=batches)
    assert_moved(result)
    assert_steepest_grown(result)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("outlier", [1.0, 1e25])
def test_instances_of_weight_0_drop_nothing(method: str, outlier: float) -> None:
    """Weights of instances count in the scales of the features, too; not even an overflow comes through a 0."""
    case = BY_NAME["g16_large"]
    weights = case.instance_weights(0)
    weights[1::2] = 0.0
    x, other = case.features(0), case.features(0)
    other[1::2] = outlier * case.features(1)[1::2]
    rewiring = sx.Rewiring(method=method, fraction=0.3, interval=1)
    first, second = (
        rewire(case, rewiring, 1, batches=[(inputs, case.labels(0))], instance_weights=[weights])
        for inputs in (x, other)
    )
    assert first.record.changed > 0 and np.isfinite(first.record.score_dropped)
    np.testing.assert_array_equal(first.new_indices, second.new_indices)
    assert_weakest_dropped(first)


@pytest.mark.parametrize("name", ["g1_adam", "weighted_g17", "two_segments_hinge", "hidden_dropout"])
def test_rigl_weighs_instances(name: str) -> None:
    """Of three kept batches two have weights, which decide what grows."""
    case = BY_NAME[name]
    batches = [(case.features(i, rows), case.labels(i, rows)) for i, rows in enumerate((case.batch, 3, case.batch))]
    weights = [case.instance_weights(0), None, case.instance_weights(2)]
    rewiring = sx.Rewiring(method="rigl", fraction=0.5, interval=3, scope="group", grow_batches=3)
    result = rewire(case, rewiring, 3, batches=batches, instance_weights=weights)
    assert_moved(result)
    assert_weakest_dropped(result)
    assert_steepest_grown(result)
    plain = dataclasses.replace(result, kept=[(h, labels, None) for h, labels, _ in result.kept])
    assert np.abs(result.norms() - plain.norms()).max() > 0.1 * plain.norms().max()


def test_rigl_when_too_few_batches_have_been_seen() -> None:
    """The first rewiring may come before `grow_batches` steps: it averages over what there is."""
    case = BY_NAME["g17_odd"]
    rewiring = sx.Rewiring(method="rigl", fraction=0.5, interval=5, start=2, scope="group", grow_batches=5)
    assert_steepest_grown(rewire(case, rewiring, 2))


def exact_case(base: str, **overrides: Any) -> tuple[Case, Arrays]:
    """Weights are small multiples of 1/4 and do not move: scores are exact and most of them tied."""
    case = dataclasses.replace(BY_NAME[base], optimizer=ref.Sgd(lr=0.0, momentum=0.9), batch=16, **overrides)
    state = build(case).state_dict()
    for key in state:
        if key.endswith("weights") and not key.startswith("optimizer"):
            state[key] = (case.rng("exact").integers(-4, 5, state[key].shape) / 4).astype(np.float32)
    return case, state


@pytest.mark.parametrize("name", ["g1_large", "g16_large", "g17_odd", "g64_mostly_padding", "two_segments_large"])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("fraction", [0.01, 0.35, 0.9])
def test_ties_at_the_threshold(name: str, scope: str, fraction: float) -> None:
    """Equal scores: the smaller (group, slot) is dropped first. Means over 16 rows of multiples of 1/4 are exact."""
    case, state = exact_case(name)
    if case.group_size not in (1, 16):  # a mean over 17 rows rounds; equal rows make it exact again
        rows = np.arange(case.num_labels) // case.group_size * case.group_size
        state["segments.0.weights"] = state["segments.0.weights"][rows]
    rewiring = sx.Rewiring(method="set", fraction=fraction, interval=1, scope=scope)
    signs = case.rng("signs").choice(np.float32([-1, 1]), (16, case.in_features))  # so every feature's scale is 1
    result = rewire(case, rewiring, 1, start=state, batches=[(signs, case.labels())])
    expected = rw.dropped_connections(result.score, fraction, scope, case.layer_features)
    np.testing.assert_array_equal(result.dropped, expected)
    assert_moved(result)


def test_ties_of_gradients_go_to_the_smaller_feature() -> None:
    """Whole numbers throughout, so gradients of the squared hinge are exact."""
    case, state = exact_case("g16_hinge", name="gradient_ties")
    state["segments.0.bias"] = np.zeros_like(state["segments.0.bias"])
    x = case.rng("whole").integers(-1, 2, (16, case.in_features)).astype(np.float32)
    x[:, 1::2] = x[:, ::2]  # every feature has an equal neighbour
    rewiring = sx.Rewiring(method="rigl", fraction=0.4, interval=1, scope="group")
    result = rewire(case, rewiring, 1, start=state, batches=[(x, case.labels())])
    expected = rw.grown_features(result.norms(), result.indices, result.dropped.sum(axis=1))
    for new, grown, features in zip(result.new_indices, result.grown, expected, strict=True):
        np.testing.assert_array_equal(new[grown], features)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("fan_in", [29, 31])
def test_no_more_growth_than_there_are_features(method: str, scope: str, fan_in: int) -> None:
    """With nearly all of 31 features read, a group can change 31 - fan_in connections at most."""
    case = dataclasses.replace(BY_NAME["g16_all_features"], name="crowded", fan_in=fan_in)
    result = rewire_or_not(case, sx.Rewiring(method=method, fraction=0.5, interval=2, scope=scope))
    expected = rw.dropped_connections(result.score, 0.5, scope, 31)
    np.testing.assert_array_equal(result.dropped, expected)
    assert result.dropped.sum(axis=1).max() == 31 - fan_in
    assert_moved(result)


def rewire_or_not(case: Case, rewiring: sx.Rewiring) -> Rewired:
    """As `rewire` after two steps, when there may be nothing to do and so nothing to record."""
    plain, wired = build(case), build(case, rewiring=rewiring)
    kept: list[Kept] = [(case.features(number), case.labels(number), None) for number in range(2)]
    for x, labels, _ in kept:
        for classifier in (plain, wired):
            classifier.train_step(x, csr(labels))
    return Rewired(case, rewiring, tensors(plain), tensors(wired), None, 0, kept)


@pytest.mark.parametrize("case", [BY_NAME["g16_large"], BY_NAME["g3_adam"]], ids=["sgd", "adam"])
def test_training_goes_on_from_the_rewired_model(case: Case) -> None:
    """The step after a rewiring follows the oracle: nothing cached from before is used."""
    rewiring = sx.Rewiring(method="rigl", fraction=0.5, interval=2)
    wired, fresh = build(case, rewiring=rewiring), build(case)
    for number in range(2):
        wired.train_step(case.features(number), csr(case.labels(number)))
    fresh.load_state_dict(wired.state_dict())
    x, labels = case.features(2), csr(case.labels(2))
    assert wired.train_step(x, labels).loss == fresh.train_step(x, labels).loss
    for name, value in tensors(fresh).items():
        assert tensors(wired)[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize(
    ("options", "due"),
    [
        ({"interval": 3}, [3, 6, 9]),
        ({"interval": 3, "start": 4}, [4, 7, 10]),
        ({"interval": 2, "start": 1, "stop": 5}, [1, 3]),
        ({"interval": 4, "stop": 8}, [4]),
        ({"interval": 20}, []),
    ],
)
def test_steps_that_rewire(options: dict[str, int], due: list[int]) -> None:
    case = BY_NAME["g17_odd"]
    classifier = build(case, rewiring=sx.Rewiring(fraction=0.3, **options))
    for number in range(1, 11):
        assert classifier.train_step(case.features(rows=2), csr(case.labels(rows=2))).rewired == (number in due)
    assert [record.step for record in classifier.rewirings] == due


def test_cosine_fraction() -> None:
    case = BY_NAME["g16_large"]
    rewiring = sx.Rewiring(fraction=0.4, fraction_schedule="cosine", interval=2, start=2, stop=10, scope="layer")
    classifier = build(case, rewiring=rewiring)
    for _ in range(11):
        classifier.train_step(case.features(rows=2), csr(case.labels(rows=2)))
    connections = classifier.state_dict()["segments.0.indices"].size
    shares = [0.4 * 0.5 * (1 + math.cos(math.pi * (step - 2) / 8)) for step in (2, 4, 6, 8)]
    assert [record.changed for record in classifier.rewirings] == [math.floor(share * connections) for share in shares]


@pytest.mark.parametrize("group_size", [1, 16])
def test_set_grows_uniformly(group_size: int) -> None:
    """Every feature that a group did not read is as likely as any other."""
    case = dataclasses.replace(
        BY_NAME["g16_hinge"], name="uniform", num_labels=3000 * group_size, fan_in=20, group_size=group_size, batch=1
    )
    result = rewire(case, sx.Rewiring(method="set", fraction=0.5, interval=1, scope="group"), 1)
    grown = np.bincount(result.new_indices[result.grown], minlength=100)
    free = 3000 - np.bincount(result.indices.ravel(), minlength=100)
    expected = free * 10 / 80  # ten of the eighty features that each group did not read
    assert np.abs(grown - expected).max() < 5 * math.sqrt(expected.max())


def test_seed_and_step_decide_what_set_grows() -> None:
    case = dataclasses.replace(BY_NAME["g16_large"], name="seeds", optimizer=MOMENTUM)
    grown = []
    for seed, steps in ((11, 1), (12, 1), (11, 2)):
        options: dict[str, Any] = {"method": "set", "fraction": 0.3}
        classifier = build(case, rewiring=sx.Rewiring(interval=1, start=steps, **options), seed=11)
        state = classifier.state_dict()
        classifier = build(case, rewiring=sx.Rewiring(interval=steps, **options), seed=seed)
        classifier.load_state_dict(state)
        classifier.lr = 0.0
        for _ in range(steps):
            classifier.train_step(case.features(), csr(case.labels()))
        grown.append(classifier.state_dict()["segments.0.indices"])
    assert not np.array_equal(grown[0], grown[1]) and not np.array_equal(grown[0], grown[2])


def test_dense_layer_is_never_rewired() -> None:
    case = dataclasses.replace(BY_NAME["dense_odd"], optimizer=ADAM)
    classifier = build(case, rewiring=sx.Rewiring(interval=1))
    assert not classifier.train_step(case.features(), csr(case.labels())).rewired
    assert classifier.rewirings == []


def test_without_rewiring_nothing_is_kept_for_one() -> None:
    """At the steps before which a rewiring would keep its batches."""
    case = dataclasses.replace(BY_NAME["g16_large"], name="not_rewired", optimizer=MOMENTUM)
    classifier = build(case, rewiring=None)
    classifier.load_state_dict(classifier.state_dict() | {"step": np.int64(998)})
    for _ in range(3):
        assert not classifier.train_step(case.features(rows=2), csr(case.labels(rows=2))).rewired
