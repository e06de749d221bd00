"""Checks that hold on any GPU, pretended or real: shared by test_cuda_shim.py and test_cuda.py."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference as ref
import sparsexmc as sx
from cases import BY_NAME, Case
from harness import (
    assert_follows,
    assert_follows_in_bfloat16,
    assert_same_bits,
    build,
    csr,
    oracle,
    step,
    tensors,
    train,
)

# One or two cases for every kind of layer, loss and optimizer; the whole table takes minutes in the shim.
FAST = [
    "dense_odd",
    "dense_hinge",
    "g1_single_feature",
    "g1_adam",
    "g3_padding",
    "g16_all_features",
    "g17_odd",
    "g32_adam",
    "g64_mostly_padding",
    "many_positives",
    "two_segments_small",
    "two_segments_adam",
    "two_segments_hinge",
    "hidden_dropout",
    "sparse_adam",
    "weighted_dense",
    "weighted_g1",
    "weighted_g17",
    "auxiliary_g3",
    "auxiliary_hinge",
    "auxiliary_hidden",
    "auxiliary_sparse",
]


def on_gpu(case: Case, **overrides: Any) -> sx.Classifier:
    return build(case, **({"device": "cuda", "compute_dtype": "float32"} | overrides))


def follows_the_oracle(case: Case, steps: int = 3) -> None:
    classifier = on_gpu(case)
    assert_follows(case, classifier, oracle(case, classifier), islice(case.steps(), steps))


def agrees_with_the_cpu_in_bfloat16(case: Case, steps: int = 3) -> None:
    """Loss, gradient and every trained tensor of a short training, whose products read bfloat16."""
    cpu, gpu = build(case, device="cpu"), on_gpu(case, compute_dtype="bfloat16")
    assert_same_bits(tensors(gpu), tensors(cpu))
    assert_follows_in_bfloat16(case, gpu, cpu, islice(case.steps(), steps))


def weighs_instances(case: Case) -> None:
    """In float32 as the oracle does, in bfloat16 as the CPU does; weights of 1 change no bit."""
    classifier = on_gpu(case)
    assert_follows(case, classifier, oracle(case, classifier), islice(case.weighted_steps(), 2))
    cpu, gpu = build(case, device="cpu"), on_gpu(case, compute_dtype="bfloat16")
    assert_follows_in_bfloat16(case, gpu, cpu, islice(case.weighted_steps(), 1))
    plain, ones = on_gpu(case), on_gpu(case)
    x, labels = case.features(), case.labels()
    step(plain, x, labels)
    step(ones, x, labels, np.ones(len(labels), np.float32))
    assert_same_bits(tensors(ones), tensors(plain))


def stores_bfloat16_weights(case: Case) -> None:
    """A step rounds each weight up or down to bfloat16, in the mean to what float32 would hold."""
    case = dataclasses.replace(case, optimizer=ref.Sgd(lr=0.02))
    exact, rounded = on_gpu(case), on_gpu(case, weight_dtype="bfloat16")
    exact.load_state_dict(rounded.state_dict())
    x, labels = case.features(), case.labels()
    assert step(exact, x, labels)[0] == step(rounded, x, labels)[0]
    state = tensors(rounded)
    for name, value in tensors(exact).items():
        if not name.endswith("weights"):
            assert state[name].tobytes() == value.tobytes(), name
            continue
        assert not np.any(state[name].view(np.uint32) & 0xFFFF)
        spacing = np.spacing(np.abs(value)) * 2.0**16
        error = (state[name].astype(np.float64) - value) / spacing
        assert np.abs(error).max() <= 1
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(error.size)


def averages_bfloat16_weights(case: Case, path: Path) -> None:
    """In float32, also in checkpoints; the weights that they become are rounded to nearest and predict the same."""
    options = {"weight_dtype": "bfloat16", "compute_dtype": "auto"}
    classifier, history = on_gpu(case, average=sx.WeightAverage(decay=0.5), **options), []
    for batch in case.steps():
        train(classifier, [batch])
        history.append(tensors(classifier))
    name = "segments.0.weights"
    average = history[-1][f"optimizer.{name}.average"]
    parts = np.array([1, 2, 4]) / 7
    expected = sum(part * state[name].astype(np.float64) for part, state in zip(parts, history, strict=True))
    np.testing.assert_allclose(average, expected, rtol=1e-6, atol=1e-8)
    assert np.any(average.view(np.uint32) & 0xFFFF), "more than bfloat16 holds"

    x, labels = case.features(7), case.labels(7)
    with classifier.use_average():
        predicted, loss = classifier.topk(x, 3), classifier.eval_step(x, csr(labels)).loss
        assert tensors(classifier)[name].tobytes() == average.tobytes()
        classifier.save(path / "averaged")
    back, cpu = sx.load(path / "averaged"), sx.load(path / "averaged", device="cpu")
    assert cpu.average_in_use and tensors(cpu)[name].tobytes() == average.tobytes()
    for other in (classifier, back):
        train(other, [(x, labels)])
    assert_same_bits(tensors(back), tensors(classifier))

    ended = sx.load(path / "averaged")
    ended.stop_average()
    bits = average.view(np.uint32)
    nearest = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    np.testing.assert_array_equal(tensors(ended)[name].view(np.uint32), nearest)
    for actual, wanted in zip(ended.topk(x, 3), predicted, strict=True):
        assert actual.tobytes() == wanted.tobytes()
    assert ended.eval_step(x, csr(labels)).loss == loss


def averages_begin_after_a_skipped_batch(case: Case) -> None:
    """The first update copies the weights, which a batch that turns out to be skipped must not leave out."""
    queued, other = (on_gpu(case, average="ema") for _ in range(2))
    x = case.features()
    broken = x.copy()
    broken[0, 0] = np.nan
    queued.train_step(broken, csr(case.labels()), on_nonfinite="skip")
    for classifier in (queued, other):
        for batch, labels in case.steps():
            classifier.train_step(batch, csr(labels))
    assert (queued.averaged, queued.skipped) == (3, 1)
    assert_same_bits(tensors(queued), tensors(other))


def moves_between_devices(case: Case, path: Path) -> None:
    """Saved on one device and loaded on the other, and back; training then goes on alike."""
    gpu = on_gpu(case)
    train(gpu, case.steps())
    gpu.save(path / "gpu")
    cpu = sx.load(path / "gpu", device="cpu")
    assert_same_bits(tensors(cpu), tensors(gpu))
    cpu.save(path / "cpu")
    back = sx.load(path / "cpu", device="cuda")
    assert (cpu.device, back.device[:4]) == ("cpu", "cuda")
    assert_same_bits(tensors(back), tensors(gpu))


def repeats_itself(case: Case, **overrides: Any) -> None:
    """Run to run the same bits: losses, gradients, predictions and all tensors."""
    first, second = on_gpu(case, **overrides), on_gpu(case, **overrides)
    assert train(first, case.steps()) == train(second, case.steps())
    assert_same_bits(tensors(first), tensors(second))
    for a, b in zip(first.topk(case.features(7)), second.topk(case.features(7)), strict=True):
        assert a.tobytes() == b.tobytes()


def results_may_be_read_late(case: Case) -> None:
    """In any order, and not at all: the steps are those of reading each at once."""
    eager, lazy = on_gpu(case), on_gpu(case)
    expected = [step(eager, x, labels) for x, labels in case.steps()]
    results = [lazy.train_step(x, csr(labels)) for x, labels in case.steps()]
    for number in (2, 0, 1):
        assert results[number].loss == expected[number][0]
        np.testing.assert_array_equal(results[number].grad, expected[number][1])
    assert_same_bits(tensors(lazy), tensors(eager))


def finds_nonfinite_batches() -> None:
    """NaN changes nothing, whenever it is found: by reading, by a later step, or by another call."""
    case = BY_NAME["two_segments_small"]
    x, labels = case.features(), csr(case.labels())
    wrong = x.copy()
    wrong[1, 2] = np.nan
    for find in (lambda c, out: out.loss, lambda c, out: c.train_step(x, labels), lambda c, out: c.topk(x, 1)):
        classifier = on_gpu(case)
        before = tensors(classifier)
        out = classifier.train_step(wrong, labels)
        with pytest.raises(sx.ArgumentError, match=r"embeddings.*NaN or Inf.*on_nonfinite"):
            find(classifier, out)
        assert out.skipped and not np.any(out.grad)
        assert_same_bits(tensors(classifier), before)
        assert (classifier.step, classifier.skipped) == (0, 0)
    out = classifier.train_step(wrong, labels, on_nonfinite="skip")
    assert out.skipped and not np.any(out.grad) and classifier.skipped == 1
    assert_follows(case, classifier, oracle(case, classifier), case.steps())


def survives_an_exhausted_pool() -> None:
    """A batch that needs more memory than is allowed is refused, the next one is trained."""
    case = dataclasses.replace(BY_NAME["two_segments_hinge"], batch=16)
    planned = on_gpu(case, labels_per_instance=1).memory.planned
    classifier = on_gpu(case, labels_per_instance=1, memory_limit=planned)
    before = tensors(classifier)
    with pytest.raises(sx.MemoryPlanError, match="memory_limit"):
        classifier.train_step(case.features(), csr([list(range(90))] * 16))
    assert_same_bits(tensors(classifier), before)
    assert classifier.step == 0
    assert_follows(case, classifier, oracle(case, classifier), [(case.features(), [[7]] * 16)])
    assert classifier.memory.peak == planned


def exits_cleanly_with_live_models() -> None:
    """Nothing is freed too late: models, results and gradients of every kind outlive the interpreter's last line."""
    code = """
import numpy as np, sparsexmc as sx
models = [sx.Classifier(32, 100, fan_in=4, group_size=g, device="cuda", hidden=h) for g, h in ((1, None), (16, 8))]
results = [m.train_step(np.ones((3, 32), np.float32), np.arange(3)) for m in models for _ in range(3)]
keep = [models[0].topk(np.ones((3, 32), np.float32)), results[0].grad]
models[0].cycle = models
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def suite(name: str, chosen: str) -> None:
    """The tests of another file, with every classifier on the GPU."""
    environment = os.environ | {"SPARSEXMC_TEST_DEVICE": "cuda"}
    file = Path(__file__).with_name(f"test_{name}.py")
    seconds = 1200 if sx._core.cuda_backend() == "shim" else 80  # a kernel that hangs costs this test alone
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(file), "-k", chosen]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
