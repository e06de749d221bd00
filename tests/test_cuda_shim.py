"""The CUDA kernels and everything around them on the host shim (a build with SPARSEXMC_CUDA=SHIM): without a GPU."""

from __future__ import annotations

import contextlib
import gc
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cuda_checks as check
import sparsexmc as sx
from cases import BY_NAME, CASES, Case
from harness import DEVICE, assert_same_bits, csr, step, tensors, train
from shim_tools import CardArray, failing_launch, library, on_host, thread_order

pytestmark = pytest.mark.skipif(sx._core.cuda_backend() != "shim", reason="needs a build with SPARSEXMC_CUDA=SHIM")
SMALL = BY_NAME["g3_padding"]
fast_cases = pytest.mark.parametrize("name", check.FAST)
each_case = pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case.name in check.FAST else pytest.mark.slow, id=case.name) for case in CASES],
)


# ---- the same results ----


def steps(case: Case) -> int:
    """70,000 features take half a minute each."""
    return 1 if case.in_features > 65536 else 3


@each_case
def test_follows_the_oracle(case: Case) -> None:
    check.follows_the_oracle(case, steps(case))


@each_case
def test_agrees_with_the_cpu_in_bfloat16(case: Case) -> None:
    check.agrees_with_the_cpu_in_bfloat16(case, steps(case))


@pytest.mark.parametrize(
    "name",
    ["dense_hinge", "g1_adam", "g17_odd", "two_segments_hinge", "weighted_g17", "auxiliary_g3", "hidden_dropout"],
)
def test_weighs_instances(name: str) -> None:
    check.weighs_instances(BY_NAME[name])


@pytest.mark.parametrize("name", ["dense_odd", "g1_adam", "g3_padding", "g17_odd", "two_segments_hinge"])
def test_stores_bfloat16_weights(name: str) -> None:
    check.stores_bfloat16_weights(BY_NAME[name])


# The files of the CPU's tests with every classifier on the card; all of each is in the slow run.
SUITE = {
    "topk": "exact_order and (g1_large or g17_odd or g64) or (many_more_rows and hidden) or two_segments_and_large",
    "rewiring": "follows_the_oracle and (g1_adam or g17_odd or hidden_dropout) or (ties and g17_odd and layer) "
    "or rigl_weighs",
    "regrouping": "oracle and (g17_odd or hidden_dropout) or resumes or callback or users_ids",
    "determinism": "resume and (g17_odd or hidden_dropout) and not rewiring",
    "memory": "plan_is_peak and (hidden_dropout or sparse_adam or g17_odd) or limit or positives or larger_k",
    "checkpoint": "round_trip_and_continued and (g3_adam or hidden_small or sparse_small) or state_dict",
    "api": "not missing_gpu",
    "evaluation": "g1_adam or g17_odd or two_segments or hidden or without or overflow or nonfinite or rounding",
    "instance_weights": "absent or twice or resumes or plan",
    "label_data": "g17_odd or between_steps or room or kept or propensities",
    "auxiliary": "",
    "fit": "",
    "average": "follows and (g1 or dense_odd or two_segments) or connections and g17 or predicts and (hidden or sparse)"
    " or bits and two_segments or begins or skipped or limit",
    "fit_average": "memory or ema-7 or own",
    "hidden": "",
    "property": "",
}


@pytest.mark.skipif(DEVICE != "cpu", reason="this is such a run already")
@pytest.mark.parametrize("name", SUITE)
def test_suite(name: str) -> None:
    check.suite(name, SUITE[name])


@pytest.mark.slow
@pytest.mark.skipif(DEVICE != "cpu", reason="this is such a run already")
@pytest.mark.parametrize("name", ["step", *SUITE])
def test_whole_suite(name: str) -> None:
    check.suite(name, "not wide and not missing_gpu")


# ---- the same bits ----


@fast_cases
def test_order_of_the_threads_does_not_matter(name: str) -> None:
    case = BY_NAME[name]
    seen = []
    for order in ("forward", "reverse", "random:1", "random:2"):
        with thread_order(order):
            classifier = check.on_gpu(case, compute_dtype="auto")
            seen.append((train(classifier, case.steps()), tensors(classifier), classifier.topk(case.features(5), 1)))
    for bits, state, (scores, ids) in seen[1:]:
        assert bits == seen[0][0]
        assert_same_bits(state, seen[0][1])
        assert scores.tobytes() == seen[0][2][0].tobytes() and ids.tobytes() == seen[0][2][1].tobytes()


@pytest.mark.parametrize("name", ["g1_adam", "g17_odd", "two_segments_hinge"])
@pytest.mark.parametrize("method", ["set", "rigl"])
def test_order_of_the_threads_does_not_matter_when_rewiring(name: str, method: str) -> None:
    case, states = BY_NAME[name], []
    for order in ("forward", "reverse", "random:3"):
        with thread_order(order):
            classifier = check.on_gpu(case, rewiring=sx.Rewiring(method=method, fraction=0.4, interval=2))
            train(classifier, case.steps())
            assert len(classifier.rewirings) == 1
            states.append(tensors(classifier))
    for state in states[1:]:
        assert_same_bits(state, states[0])


@pytest.mark.parametrize("name", ["g16_all_features", "hidden_dropout"])
def test_moves_between_devices(name: str, tmp_path: Path) -> None:
    check.moves_between_devices(BY_NAME[name], tmp_path)


def test_bfloat16_weights_in_checkpoints(tmp_path: Path) -> None:
    """The CPU widens them; a GPU goes on with the same bits."""
    case = BY_NAME["g17_odd"]
    gpu = check.on_gpu(case, weight_dtype="bfloat16", compute_dtype="auto")
    train(gpu, case.steps())
    gpu.save(tmp_path / "model")
    cpu, other = sx.load(tmp_path / "model", device="cpu"), sx.load(tmp_path / "model")
    assert (other.config["weight_dtype"], cpu.config["weight_dtype"]) == ("bfloat16", "float32")
    assert_same_bits(tensors(cpu), tensors(gpu))
    batch = [(case.features(5), case.labels(5))]
    assert train(other, batch) == train(gpu, batch)
    assert_same_bits(tensors(other), tensors(gpu))


@pytest.mark.parametrize("name", ["g1_adam", "g17_odd"])
def test_averages_bfloat16_weights(name: str, tmp_path: Path) -> None:
    check.averages_bfloat16_weights(BY_NAME[name], tmp_path)


# ---- results that come late ----


def test_averages_begin_after_a_skipped_batch() -> None:
    check.averages_begin_after_a_skipped_batch(BY_NAME["two_segments_hinge"])


def test_results_may_be_read_late() -> None:
    check.results_may_be_read_late(BY_NAME["two_segments_hinge"])


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_fit_keeps_the_queue_full(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads a loss many steps late, unless a callback wants to see each; every loss counts all the same."""
    classifier = check.on_gpu(SMALL, device=device, compute_dtype="auto" if device == "cpu" else "float32")
    run_step, calls = classifier._run_step, []

    class Watched:
        def __init__(self, result: sx.StepResult) -> None:
            calls.append("start")
            self.result = result

        rewired = False

        @property
        def loss(self) -> float:
            calls.append("read")
            return self.result.loss

    monkeypatch.setattr(classifier, "_run_step", lambda *args, **options: Watched(run_step(*args, **options)))
    x, labels = SMALL.features(rows=90), np.arange(90)
    history = classifier.fit(x, labels, 1, validation=None, shuffle=False, progress=False)
    assert calls.index("read") == (17 if device == "cuda" else 1)
    assert calls.count("start") == 30
    reference = check.on_gpu(SMALL, device=device, compute_dtype="auto" if device == "cpu" else "float32")
    losses = [reference.train_step(x[i : i + 3], labels[i : i + 3]).loss for i in range(0, 90, 3)]
    assert history.epochs[0].loss == pytest.approx(np.mean(losses), rel=1e-12)


def test_finds_nonfinite_batches() -> None:
    check.finds_nonfinite_batches()


# ---- arrays ----


def test_array_on_the_card_is_read_in_place() -> None:
    """By the engine's own stream; the gradient is on the card, too, and ready for whoever takes it."""
    x, labels = SMALL.features(), SMALL.labels()
    loss, expected = step(check.on_gpu(SMALL), x, labels)
    classifier, array = check.on_gpu(SMALL), CardArray(x)
    out = classifier.train_step(array, csr(labels))
    assert array.asked == [classifier.engine.own_stream] and array.asked[0] > 2
    assert out.loss == loss
    assert (out.grad.shape, out.grad.dtype, out.grad.__dlpack_device__()) == (x.shape, "float32", (2, 0))
    np.testing.assert_array_equal(on_host(out.grad), expected)
    np.testing.assert_array_equal(array.array, x)
    np.testing.assert_array_equal(classifier.topk(array, 3)[1], classifier.topk(x, 3)[1])


def test_gradient_is_memory_of_the_pool() -> None:
    classifier = check.on_gpu(SMALL)
    out = classifier.train_step(CardArray(SMALL.features()), csr(SMALL.labels()))
    assert classifier.memory.entries["gradient"] == 512  # 3 x 31 floats
    assert classifier.memory.current == classifier.memory.planned + 512
    capsule = out.grad.__dlpack__(stream=2)
    del out
    assert "gradient" in classifier.memory.entries
    del capsule
    assert "gradient" not in classifier.memory.entries
    assert classifier.memory.current == classifier.memory.planned


def test_gradient_refuses_what_it_cannot_export() -> None:
    grad = check.on_gpu(SMALL).train_step(CardArray(SMALL.features()), csr(SMALL.labels())).grad
    for options in ({"dl_device": (1, 0)}, {"copy": True}, {"stream": 0}):
        with pytest.raises(BufferError):
            grad.__dlpack__(**options)
    assert grad.__dlpack__(stream=-1, dl_device=(2, 0), max_version=(1, 1)) is not None


def test_array_is_held_until_its_step_has_run() -> None:
    """Its library knows no stream, so nothing else keeps it from being freed early."""
    classifier, array = check.on_gpu(SMALL), CardArray(SMALL.features())
    for _ in range(3):
        classifier.train_step(array, csr(SMALL.labels()))
        assert array.borrowed == 1  # the one before has been given back
    classifier.topk(array)
    assert array.borrowed == 0
    classifier.train_step(array, csr(SMALL.labels()))
    del classifier
    assert array.borrowed == 0


def test_chosen_stream() -> None:
    class Stream:
        cuda_stream = 4711

    classifier, array = check.on_gpu(SMALL, stream=Stream()), CardArray(SMALL.features())
    assert classifier.stream.cuda_stream == 4711
    expected = check.on_gpu(SMALL)
    for stream in (None, 4712, 0):  # the null stream is 1 to DLPack
        assert classifier.train_step(array, csr(SMALL.labels())).loss == step(expected, array.array, SMALL.labels())[0]
        classifier.stream = stream
    classifier.topk(array)
    assert array.asked == [4711, classifier.engine.own_stream, 4712, 1]
    with pytest.raises(sx.DTypeError, match=r"stream is a str.*torch\.cuda\.Stream"):
        classifier.stream = "fast"


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Enough of CuPy to be taken for it: arrays with a device to enter, and a current stream."""

    class Array(CardArray):
        shape = property(lambda self: self.array.shape)
        dtype = property(lambda self: self.array.dtype)
        device = contextlib.nullcontext()

    class Stream:
        ptr, capturing = 99, False

        def is_capturing(self) -> bool:
            return self.capturing

    module: Any = types.ModuleType("cupy")
    module.ndarray, module.current = Array, Stream()
    module.cuda = types.SimpleNamespace(get_current_stream=lambda: module.current)
    module.empty = lambda shape, dtype: Array(np.empty(shape, dtype))
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def test_current_stream_of_the_library(cupy: Any) -> None:
    """Steps run on it, gradients come from its allocator, and nothing has to be held."""
    x, labels = SMALL.features(), SMALL.labels()
    loss, expected = step(check.on_gpu(SMALL), x, labels)
    classifier, array = check.on_gpu(SMALL), cupy.ndarray(x)
    out = classifier.train_step(array, csr(labels))
    assert (out.loss, array.asked, array.borrowed) == (loss, [99], 0)
    assert isinstance(out.grad, cupy.ndarray) and out.grad.asked == [99]
    np.testing.assert_array_equal(out.grad.array, expected)
    assert classifier.memory.current == classifier.memory.planned
    # On a stream that was chosen, the library's own has to wait, and the array to be held.
    classifier.stream = 7
    out = classifier.train_step(array, csr(labels))
    assert (array.asked, array.borrowed, out.grad.asked) == ([99, 7], 1, [7])


def test_captured_stream_is_refused(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = check.on_gpu(SMALL)
    before = tensors(classifier)
    cupy.current.capturing = True
    with pytest.raises(sx.ArgumentError, match="embeddings.*captured into a CUDA graph"):
        classifier.train_step(cupy.ndarray(SMALL.features()), csr(SMALL.labels()))
    monkeypatch.setenv("SPARSEXMC_SHIM_CAPTURING", "1")
    classifier.stream = 7
    with pytest.raises(sx.ArgumentError, match="stream.*captured into a CUDA graph"):
        classifier.train_step(SMALL.features(), csr(SMALL.labels()))
    monkeypatch.delenv("SPARSEXMC_SHIM_CAPTURING")
    assert_same_bits(tensors(classifier), before)


def test_wrong_devices(cupy: Any) -> None:
    torch = pytest.importorskip("torch")
    x, labels, classifier = SMALL.features(), csr(SMALL.labels()), check.on_gpu(SMALL)
    other = CardArray(x, (2, 1))
    refused = {
        r'device cpu, but the classifier is on cuda:0; pass embeddings\.to\("cuda:0"\)': torch.from_numpy(x),
        r"DLPack device \(2, 1\), but the classifier is on cuda:0; pass a copy on cuda:0": other,
        r"DLPack device \(1, 0\).*or a NumPy array": CardArray(x, (1, 0)),
    }
    for message, array in refused.items():
        for call in (lambda a: classifier.train_step(a, labels), lambda a: classifier.topk(a, 1)):
            with pytest.raises(sx.ArgumentError, match="embeddings is on " + message):
                call(array)
    cpu = check.on_gpu(SMALL, device="cpu")
    for array, remedy in ((CardArray(x), "host memory"), (cupy.ndarray(x), r"cupy\.asnumpy\(embeddings\)")):
        with pytest.raises(sx.ArgumentError, match=rf"\(2, 0\), but the classifier is on the CPU; pass.*{remedy}"):
            cpu.train_step(array, labels)


def test_missing_card() -> None:
    with pytest.raises(sx.DeviceError, match=r"cuda:1.*number of cards is 1"):
        check.on_gpu(SMALL, device="cuda:1")


# ---- failures ----


def test_survives_an_exhausted_pool() -> None:
    check.survives_an_exhausted_pool()


def test_card_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model does not fit, or only just, and a larger batch does not: each is refused, and nothing else happens."""
    case = BY_NAME["two_segments_hinge"]
    used = library().sparsexmc_shim_memory()
    planned = check.on_gpu(case, labels_per_instance=1).memory.planned
    gc.collect()
    assert library().sparsexmc_shim_memory() == used
    monkeypatch.setenv("SPARSEXMC_SHIM_MEMORY", str(used + planned - 1))
    with pytest.raises(sx.MemoryPlanError, match="no more memory"):
        check.on_gpu(case, labels_per_instance=1)
    assert library().sparsexmc_shim_memory() == used
    monkeypatch.setenv("SPARSEXMC_SHIM_MEMORY", str(used + planned))
    classifier = check.on_gpu(case, labels_per_instance=1)
    before = tensors(classifier)
    with pytest.raises(sx.MemoryPlanError, match="no more memory"):
        classifier.train_step(case.features(), csr([list(range(90))] * case.batch))
    assert_same_bits(tensors(classifier), before)
    monkeypatch.delenv("SPARSEXMC_SHIM_MEMORY")
    fresh = check.on_gpu(case, labels_per_instance=1)
    assert train(classifier, case.steps()) == train(fresh, case.steps())


def test_failing_kernel() -> None:
    """Whichever launch of a step fails, the error names its kernel, and the model says from then on that it is lost."""
    case = BY_NAME["two_segments_small"]
    before = library().sparsexmc_shim_launches()
    check.on_gpu(case).train_step(case.features(), csr(case.labels()))
    first = check.on_gpu(case)
    built = library().sparsexmc_shim_launches()
    first.train_step(case.features(), csr(case.labels()))
    launches = library().sparsexmc_shim_launches() - built
    assert launches >= 4 and before < built
    for number in range(1, launches + 1):
        classifier = check.on_gpu(case)
        with failing_launch(number), pytest.raises(sx.DeviceError, match=r"\w+_kernel.*cudaErrorLaunchFailure"):
            classifier.train_step(case.features(), csr(case.labels()))
        calls = [lambda c: c.train_step(case.features(), csr(case.labels())), lambda c: c.topk(case.features(), 1)]
        for call in [*calls, lambda c: c.state_dict(), lambda c: c.step]:
            with pytest.raises(sx.DeviceError, match="the model is lost since its device failed"):
                call(classifier)
    check.follows_the_oracle(case)


def test_exits_cleanly_with_live_models() -> None:
    check.exits_cleanly_with_live_models()
