"""Weights of the instances: against the oracle, against batches that say the same without weights, and as arguments."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cases import ADAM, BY_NAME, CASES, MOMENTUM, Case
from cli_tools import failure, make_split, run
from harness import (
    assert_close,
    assert_follows,
    assert_follows_in_bfloat16,
    assert_same_bits,
    build,
    csr,
    oracle,
    plan_of,
    step,
    tensors,
    train,
)
from sparsexmc.training.loop import epoch_order
from test_resume_model import StopAt

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
# Fan-in per label, groups, padding rows, both segments, a hidden layer, positives with weights, a meta-classifier.
SOME = ["dense_hinge", "g1_large", "g3_padding", "g17_odd", "two_segments_hinge", "hidden_hinge", "weighted_g17"]
SOME += ["auxiliary_hinge"]
some_cases = pytest.mark.parametrize("case", [BY_NAME[name] for name in SOME], ids=SOME)


@each_case
def test_steps_follow_the_oracle(case: Case) -> None:
    classifier = build(case)
    assert_follows(case, classifier, oracle(case, classifier), case.weighted_steps())


@each_case
def test_steps_in_bfloat16(case: Case) -> None:
    exact, rounded = build(case), build(case, compute_dtype="bfloat16")
    assert_follows_in_bfloat16(case, rounded, exact, case.weighted_steps())


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
@some_cases
def test_weights_of_one_change_no_bit(case: Case, compute_dtype: str) -> None:
    plain, ones = build(case, compute_dtype=compute_dtype), build(case, compute_dtype=compute_dtype)
    for x, labels in case.steps():
        loss, grad = step(plain, x, labels)
        weighted_loss, weighted_grad = step(ones, x, labels, np.ones(len(labels)))
        assert weighted_loss == pytest.approx(loss, rel=1e-6)
        assert grad is None or grad.tobytes() == weighted_grad.tobytes()
    assert_same_bits(tensors(ones), tensors(plain))


@some_cases
def test_weight_of_zero_is_as_absent(case: Case) -> None:
    """Up to the divisor, and whatever the row holds: here values whose logits overflow."""
    whole, part = build(case), build(case)
    start, x, labels = tensors(whole), case.features(), case.labels()
    keep = np.arange(len(labels)) % 3 != 1
    x[~keep] = np.float32(1e30) * np.sign(x[~keep])
    loss, grad = step(whole, x, labels, keep.astype(np.float32))
    kept = [ids for ids, here in zip(labels, keep, strict=True) if here]
    alone_loss, alone_grad = step(part, x[keep], kept, np.full(len(kept), len(kept) / len(labels)))
    assert loss == pytest.approx(alone_loss, rel=case.tolerance.relative)
    if case.hidden is None:  # the derivative of dead units is 0 either way, that of overflowing ones is NaN times 0
        assert np.array_equal(grad[~keep], np.zeros_like(grad[~keep]))
    assert_close("gradient", grad[keep], alone_grad, case.tolerance)
    end, expected = tensors(whole), tensors(part)
    for name, value in expected.items():
        if value.dtype == np.float32:
            assert_close(name, end[name], value.astype(np.float64), case.tolerance, start[name])


@some_cases
def test_weight_of_two_is_as_twice(case: Case) -> None:
    case = dataclasses.replace(case, batch=case.batch + 1)
    weighted, repeated = build(case), build(case)
    start, rows = tensors(weighted), case.batch - 1
    x, labels = case.features(rows=rows), case.labels(rows=rows)
    weights = np.ones(rows, np.float32)
    weights[1] = 2
    loss, _ = step(weighted, x, labels, weights)
    twice = np.concatenate([x, x[1:2]])
    repeated_loss, _ = step(repeated, twice, [*labels, labels[1]], np.full(rows + 1, (rows + 1) / rows))
    assert loss == pytest.approx(repeated_loss, rel=case.tolerance.relative)
    end = tensors(weighted)
    for name, value in tensors(repeated).items():
        if value.dtype == np.float32:
            assert_close(name, end[name], value.astype(np.float64), case.tolerance, start[name])


def test_all_zero() -> None:
    """Nothing is learned, and the loss is exactly 0."""
    case = dataclasses.replace(BY_NAME["two_segments_hinge"], loss="bce", optimizer=MOMENTUM)
    classifier = build(case)
    before = tensors(classifier)
    loss, grad = step(classifier, case.features(), case.labels(), np.zeros(case.batch))
    assert loss == 0 and not grad.any()
    after = tensors(classifier)
    assert all(np.array_equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("name", ["g17_odd", "two_segments_hinge", "weighted_dense", "hidden_hinge"])
def test_evaluation_weighs(name: str) -> None:
    case = BY_NAME[name]
    classifier = build(case)
    x, labels, weights = case.features(), csr(case.labels()), case.instance_weights()
    seen = classifier.eval_step(x, labels, weights)
    done = classifier.train_step(x, labels, weights)
    assert seen.loss == done.loss != classifier.eval_step(x, labels).loss
    np.testing.assert_array_equal(seen.grad, done.grad)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["g1_large", "g17_odd", "two_segments_large"])
def test_same_bits_on_any_number_of_threads(name: str, threads: int) -> None:
    case = BY_NAME[name]
    assert train(build(case, num_threads=threads), case.weighted_steps()) == train(build(case), case.weighted_steps())


@pytest.mark.parametrize("rewiring", [None, sx.Rewiring(method="rigl", interval=3, grow_batches=3)], ids=["", "rigl"])
@pytest.mark.parametrize("name", ["g1_large", "two_segments_large", "hidden_dropout", "sparse_dropout"])
def test_plan_is_peak(name: str, rewiring: sx.Rewiring | None) -> None:
    case = BY_NAME[name]
    planned, classifier = plan_of(case, rewiring=rewiring), build(case, rewiring=rewiring)
    assert planned["batch.instance_weights"] >= 4 * case.batch
    train(classifier, case.weighted_steps())
    train(classifier, case.steps())
    assert classifier.memory.peak == classifier.memory.current == planned.total


@pytest.mark.parametrize("name", ["g17_odd", "hidden_dropout"])
def test_resumes_between_kept_batches(name: str, tmp_path: Path) -> None:
    """A checkpoint holds the weights of the batches that the next rewiring looks at."""
    case = dataclasses.replace(BY_NAME[name], optimizer=ADAM)
    rewiring = sx.Rewiring(method="rigl", fraction=0.4, interval=4, grow_batches=4)
    batches = list(itertools.islice(itertools.chain(case.weighted_steps(), case.steps(), case.weighted_steps()), 8))
    whole, stopped = build(case, rewiring=rewiring), build(case, rewiring=rewiring)
    train(whole, batches)
    train(stopped, batches[:2])
    stopped.save(tmp_path / "model")
    resumed = sx.Classifier.load(tmp_path / "model")
    train(resumed, batches[2:])
    assert len(resumed.rewirings) == 2
    assert_same_bits(tensors(resumed), tensors(whole))


# ---- arguments ----


def refused() -> dict[str, tuple[Any, type[Exception], str]]:
    good = np.ones(64, np.float32)
    return {
        "short": (good[:-1], sx.ArgumentError, r"instance_weights has shape \(63,\), but there are 64 instances"),
        "matrix": (good[:, None], sx.ArgumentError, r"instance_weights has shape \(64, 1\)"),
        "number": (2.0, sx.ArgumentError, r"instance_weights has shape \(\)"),
        "negative": (np.where(np.arange(64) == 7, -0.5, good), sx.ArgumentError, "_weights holds -0.5 for row 7"),
        "nan": (np.where(np.arange(64) == 3, np.nan, good), sx.ArgumentError, "holds nan for row 3"),
        "infinite": (np.where(np.arange(64) == 0, np.inf, good), sx.ArgumentError, "holds inf for row 0"),
        "too_large": (np.where(np.arange(64) == 2, 1e39, 1.0), sx.ArgumentError, "for row 2; use finite numbers >= 0"),
        "complex": (good.astype(np.complex64), sx.DTypeError, "instance_weights has dtype complex64"),
        "flags": (good > 0, sx.DTypeError, "instance_weights has dtype bool"),
        "text": (["1"] * 64, sx.DTypeError, "instance_weights has dtype <U1"),
    }


@pytest.mark.parametrize("kind", refused())
def test_refused(kind: str) -> None:
    case = BY_NAME["g17_odd"]
    value, error, message = refused()[kind]
    case = dataclasses.replace(case, batch=64)
    classifier = build(case)
    before = tensors(classifier)
    X, Y = case.features(), csr(case.labels())
    calls: list[Any] = [classifier.train_step, classifier.eval_step]
    for call in [*calls, lambda *batch: classifier.fit(*batch[:2], 1, instance_weights=batch[2], progress=False)]:
        with pytest.raises(error, match=message):
            call(X, Y, value)
    assert_same_bits(tensors(classifier), before)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int64, list])
def test_any_real_numbers_are_taken(kind: Any) -> None:
    case = BY_NAME["g17_odd"]
    weights = np.arange(case.batch) % 4 / 2 if kind is not np.int64 else np.arange(case.batch) % 4
    given = weights.tolist() if kind is list else weights.astype(kind)
    x, labels = case.features(), csr(case.labels())
    expected = build(case).train_step(x, labels, weights.astype(np.float32))
    assert build(case).train_step(x, labels, given).loss == expected.loss


# ---- whole epochs ----


@pytest.mark.parametrize("sparse", [False, True])
def test_fit_takes_the_weights_of_its_batches(sparse: bool) -> None:
    case = BY_NAME["sparse_small" if sparse else "g17_odd"]
    rows, batch = 3 * case.batch // 2 + 5, case.batch
    X, labels, weights = case.features(rows=rows), case.labels(rows=rows), case.instance_weights(rows=rows)
    fitted, stepped = build(case), build(case)
    history = fitted.fit(X, csr(labels), 2, instance_weights=weights, validation=None, seed=4, progress=False)
    means = []
    for epoch in (1, 2):
        order, total = epoch_order(rows, 4, epoch), 0.0
        for chosen in (order[start : start + batch] for start in range(0, rows, batch)):
            out = stepped.train_step(X[chosen], csr([labels[row] for row in chosen]), weights[chosen])
            total += out.loss * len(chosen)
        means.append(total / rows)
    assert_same_bits(tensors(fitted), tensors(stepped))
    assert [epoch.loss for epoch in history.epochs] == means


def test_held_out_instances_take_their_weights_along() -> None:
    """Rows of weight 0 may hold anything, and validation knows no weights."""
    case = BY_NAME["g17_odd"]
    rows = 2 * case.batch
    X, labels = case.features(rows=rows), case.labels(rows=rows)
    weights = (np.arange(rows) % 2).astype(np.float32)
    wrong = [ids if weight else [0, 1] for ids, weight in zip(labels, weights, strict=True)]
    fits = [build(case), build(case)]
    for classifier, given in zip(fits, (labels, wrong), strict=True):
        classifier.fit(X, csr(given), 2, instance_weights=weights, validation=0.2, progress=False)
    assert_same_bits(tensors(fits[0]), tensors(fits[1]))


# ---- whole models ----

DATA_X, DATA_Y = make_split(240, seed=5)
HALF = (np.arange(240) % 2).astype(np.float32)
SETTINGS: dict[str, Any] = {
    "model": {"hidden": 12, "fan_in": 8, "group_size": 4, "batch_size": 32, "num_threads": 2},
    "training": {"epochs": 2, "validation": None},
}


def model_of(Y: sp.csr_matrix, weights: Any, **options: Any) -> sx.Model:
    return sx.train(
        sx.data.Dataset(DATA_X, Y), **({"settings": SETTINGS, "instance_weights": weights, "progress": False} | options)
    )


def assert_same_rankings(a: sx.Model, b: sx.Model) -> None:
    for alone in (True, False):
        for mine, theirs in zip(*(model.topk(DATA_X, 8, network_alone=alone) for model in (a, b)), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_every_part_of_a_model_weighs(tmp_path: Path) -> None:
    """Ones change no bit; labels of instances of weight 0, here of one another, say nothing."""
    plain, ones = model_of(DATA_Y, None), model_of(DATA_Y, np.ones(240))
    assert_same_rankings(plain, ones)
    assert plain.linear is not None and plain.neighbors is not None
    order = np.arange(240)
    order[HALF == 0] = np.roll(order[HALF == 0], 1)
    shuffled = DATA_Y[order]
    right, wrong = model_of(DATA_Y, HALF, output=tmp_path / "m"), model_of(shuffled, HALF)
    assert_same_rankings(right, wrong)
    assert_same_rankings(right, sx.load(tmp_path / "m"))
    assert right.neighbors is not None and right.neighbors.num_instances == 120
    for model in (right, wrong):
        model.fit(
            sx.data.Dataset(DATA_X, DATA_Y if model is right else shuffled), instance_weights=HALF, progress=False
        )
    assert_same_rankings(right, wrong)
    assert right.neighbors.num_instances == 120


def test_weights_of_a_training_that_goes_on(tmp_path: Path) -> None:
    options: dict[str, Any] = {"output": tmp_path / "m", "checkpoint_every": 2}
    with pytest.raises(KeyboardInterrupt):
        model_of(DATA_Y, HALF, callbacks=[StopAt(5)], **options)
    for given, said in ((None, "instance_weights is not given"), (1 - HALF, "instance_weights has the same size but")):
        with pytest.raises(sx.ArgumentError, match=said):
            model_of(DATA_Y, given, resume=True, callbacks=[StopAt(0)], **options)
    resumed = model_of(DATA_Y, HALF, resume=True, callbacks=[StopAt(0)], **options)
    assert_same_rankings(resumed, model_of(DATA_Y, HALF))


def test_refused_weights_of_a_model(tmp_path: Path) -> None:
    for given, said in (
        (np.ones(3), r"has shape \(3,\), but there are 240 instances"),
        (np.zeros(240), "is 0 for all instances that are trained on"),
        (np.full(240, np.nan), "holds nan for row 0"),
    ):
        with pytest.raises(sx.ArgumentError, match=f"instance_weights {said}"):
            model_of(DATA_Y, given, output=tmp_path / "m")
    assert not list(tmp_path.glob("[!.]*"))


def test_a_sparse_tensor_says_how_to_pass_it() -> None:
    torch = pytest.importorskip("torch")
    case = BY_NAME["g17_odd"]
    with pytest.raises(sx.DTypeError, match=r"instance_weights is a torch tensor .*pass instance_weights.to_dense\(\)"):
        build(case).train_step(case.features(), csr(case.labels()), torch.ones(case.batch).to_sparse())


def test_a_file_of_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sx.data.save(tmp_path / "data", sx.data.Dataset(DATA_X, DATA_Y))
    (tmp_path / "w.txt").write_text("".join(f"{weight:g}\n" for weight in HALF))
    command = ["train", tmp_path / "data", "-o", tmp_path / "m", "--no-progress"]
    for table in ("model", "training"):
        for key, value in SETTINGS[table].items():
            command += [f"--set={table}.{key}={'none' if value is None else value}"]
    assert run(*command, "--instance-weights", tmp_path / "w.txt") == 0
    assert_same_rankings(sx.load(tmp_path / "m"), model_of(DATA_Y, HALF))
    capsys.readouterr()
    for text, said in (
        ("1\n-1\n", "bad.txt:2: '-1'"),
        ("1\n\n", "bad.txt:2: ''"),
        ("nan", "bad.txt:1"),
        ("1\n", "240"),
    ):
        (tmp_path / "bad.txt").write_text(text)
        assert said in failure(capsys, *command, "--force", "--instance-weights", tmp_path / "bad.txt")
