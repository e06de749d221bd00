"""Memory is planned to the byte: plan == peak, limits hold, planning allocates nothing."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import pytest

import sparsexmc as sx
from cases import ADAM, BY_NAME, CASES, MOMENTUM, SGD, Case
from harness import assert_follows, assert_same_bits, build, csr, optimizer, oracle, plan_of, tensors, train

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
REWIRINGS = {
    "set": sx.Rewiring(method="set", interval=2),
    "rigl": sx.Rewiring(method="rigl", interval=3, grow_batches=3),
}


def resident_bytes() -> int:
    """Memory of this process that is in use now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def assert_within_plan(case: Case, **overrides: Any) -> None:
    """All that a classifier ever holds is what was planned, from the first moment to the last."""
    planned = plan_of(case, **overrides)
    classifier = build(case, **overrides)
    assert dict(classifier.memory.plan) == dict(planned)
    assert classifier.memory.planned == planned.total == classifier.memory.current
    assert dict(classifier.memory.entries) == dict(planned)
    train(classifier, case.steps())
    classifier.topk(case.features(5, case.batch + 1), k=min(5, case.num_labels))
    classifier.load_state_dict(classifier.state_dict())
    assert classifier.memory.peak == classifier.memory.current == planned.total


@each_case
def test_plan_is_peak(case: Case) -> None:
    assert_within_plan(case)


@pytest.mark.parametrize("threads", [1, 5])
@pytest.mark.parametrize("rewiring", REWIRINGS.values(), ids=REWIRINGS)
@pytest.mark.parametrize("name", ["g1_large", "two_segments_large", "wide_g16", "hidden_dropout", "sparse_dropout"])
def test_plan_is_peak_with_rewiring(name: str, rewiring: sx.Rewiring, threads: int) -> None:
    assert_within_plan(BY_NAME[name], rewiring=rewiring, num_threads=threads)


@pytest.mark.parametrize("name", ["g1_large", "two_segments_adam", "hidden_dropout", "sparse_adam", "auxiliary_g3"])
def test_plan_is_peak_with_averages(name: str) -> None:
    case = BY_NAME[name]
    assert_within_plan(case, average="ema")
    plain, averaged = plan_of(case), plan_of(case, average="ema")
    slots = {key: size for key, size in averaged.items() if key.endswith(".average")}
    assert {f"optimizer.{key}.average" for key in plain if key.endswith((".weights", ".weight", ".bias"))} == set(slots)
    assert averaged.total == plain.total + sum(slots.values())
    assert all(size == plain[key.removeprefix("optimizer.").removesuffix(".average")] for key, size in slots.items())


def test_plan_names_every_tensor() -> None:
    """Parameters and optimizer state count their bytes, padding rows included, in steps of 256."""
    case = BY_NAME["two_segments_adam"]
    planned = plan_of(case)
    tail = -(-(1003 - 17) // 32) * 32
    assert planned["segments.1.weights"] == -(-tail * 5 * 4 // 256) * 256
    assert planned["segments.1.indices"] == -(-tail // 32 * 5 * 2 // 256) * 256
    assert planned["optimizer.segments.1.weights.exp_avg_sq"] == planned["segments.1.weights"]
    assert all(size > 0 and size % 256 == 0 for size in planned.values())
    assert planned.total == sum(planned.values())
    for name in planned:
        assert name in planned.table()


def test_no_buffer_without_momentum() -> None:
    case = BY_NAME["two_segments_large"]
    plain, momentum, adam = (plan_of(case, optimizer=optimizer(settings)) for settings in (SGD, MOMENTUM, ADAM))
    assert not any(name.startswith("optimizer.") for name in plain)
    state = [sum(size for name, size in p.items() if name.startswith("optimizer.")) for p in (momentum, adam)]
    assert state[1] == 2 * state[0] > 0
    assert momentum.total == plain.total + state[0] and adam.total == plain.total + state[1]


def test_nothing_grows_with_batch_times_labels_or_labels_times_features() -> None:
    """A hundred times the labels at the same number of positives: only what belongs to labels grows."""
    options: dict[str, Any] = {
        "in_features": 768, "fan_in": 32, "dense_labels": 0, "batch_size": 256, "rewiring": REWIRINGS["rigl"],
        "optimizer": sx.SGD(0.1), "num_threads": 2,
    }  # fmt: skip
    large = sx.plan(num_labels=10_000_000, **options)
    parameters = {"segments.0.weights", "segments.0.indices", "segments.0.bias", "label_order", "label_rows"}
    rest = {name: size for name, size in large.items() if name not in parameters}
    assert sum(rest.values()) < 256 * 10_000_000  # a single byte per logit would be more
    assert sum(rest.values()) < 768 * 10_000_000


def test_planning_allocates_nothing() -> None:
    before = resident_bytes()
    planned = sx.plan(768, 8_623_847, fan_in=64, group_size=32, batch_size=256, dense_labels=0.01, device="cpu")
    assert planned.total > 2 * 2**30
    assert resident_bytes() - before < 8 * 2**20


@pytest.mark.parametrize("limit", ["one byte less", "1MB", "tenth"])
def test_limit_below_the_plan(limit: str) -> None:
    """The error has the table and what would make it fit, and comes before anything is allocated."""
    options: dict[str, Any] = {"fan_in": 64, "group_size": 32, "device": "cpu", "num_threads": 2}
    total = sx.plan(768, 1_000_000, **options).total
    value = {"one byte less": total - 1, "tenth": total // 10}.get(limit, limit)
    before = resident_bytes()
    for make in (sx.plan, sx.Classifier):
        with pytest.raises(sx.errors.MemoryPlanError) as caught:
            make(768, 1_000_000, memory_limit=value, **options)
        assert isinstance(caught.value, MemoryError)
        for word in ("segments.1.weights", "batch.inputs", "memory_limit", "batch_size", "fan_in"):
            assert word in str(caught.value)
    assert resident_bytes() - before < 8 * 2**20


def test_limit_at_the_plan() -> None:
    case = BY_NAME["two_segments_large"]
    total = plan_of(case).total
    assert_within_plan(case, memory_limit=total)


@pytest.mark.parametrize(("text", "size"), [("4GB", 4 * 10**9), ("512MiB", 512 * 2**20), ("1.5GB", 1_500_000_000)])
def test_limit_as_text(text: str, size: int) -> None:
    case = BY_NAME["g17_odd"]
    assert build(case, memory_limit=text).config["memory_limit"] == size


def test_memory_is_given_back() -> None:
    case = dataclasses.replace(BY_NAME["dense_large"], name="given_back", num_labels=30_000, batch=8)
    before = resident_bytes()
    classifier = build(case)
    assert classifier.memory.planned > 2**28
    train(classifier, [(case.features(), case.labels())])
    del classifier
    assert resident_bytes() - before < 2**26


@pytest.mark.parametrize("name", ["g16_large", "two_segments_hinge"])
def test_more_positives_than_reserved(name: str) -> None:
    """The reserve grows and is counted; under a limit that forbids it the step is refused before anything changes."""
    case = dataclasses.replace(BY_NAME[name], batch=16)
    labels = [list(range(90))] * 16
    classifier = build(case, labels_per_instance=1)
    planned = classifier.memory.planned
    assert_follows(case, classifier, oracle(case, classifier), [(case.features(), labels)])
    assert classifier.memory.peak > planned
    limited = build(case, labels_per_instance=1, memory_limit=planned)
    before = tensors(limited)
    with pytest.raises(sx.errors.MemoryPlanError):
        limited.train_step(case.features(), csr(labels))
    assert_same_bits(tensors(limited), before)
    assert_follows(case, limited, oracle(case, limited), [(case.features(), [[7]] * 16)])
    assert limited.memory.peak == planned


def test_larger_k_than_reserved() -> None:
    case = BY_NAME["g16_large"]
    planned = plan_of(case, topk=3).total
    free, limited = build(case, topk=3), build(case, topk=3, memory_limit=planned)
    _, ids = free.topk(case.features(), k=200)
    np.testing.assert_array_equal(ids[:, :3], limited.topk(case.features(), k=3)[1])
    assert free.memory.peak > planned == limited.memory.peak
    with pytest.raises(sx.errors.MemoryPlanError):
        limited.topk(case.features(), k=200)
    np.testing.assert_array_equal(ids[:, :3], limited.topk(case.features(), k=3)[1])


def test_table_is_for_people() -> None:
    case = BY_NAME["two_segments_adam"]
    memory = build(case).memory
    lines = memory.table().splitlines()
    assert any("segments.1.weights" in line and "%" in line for line in lines)
    assert "peak" in lines[-1]


def test_statistics_of_two_models_are_apart() -> None:
    small, large = build(BY_NAME["g17_odd"]), build(BY_NAME["dense_large"])
    assert small.memory.current == small.memory.planned < large.memory.current == large.memory.planned
