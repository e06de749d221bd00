"""On a real GPU: `pytest -m gpu`. The rest of the suite runs there too, with SPARSEXMC_TEST_DEVICE=cuda."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cuda_checks as check
import sparsexmc as sx
from cases import BY_NAME, CASES, Case
from harness import assert_same_bits, csr, step, tensors, train

pytestmark = pytest.mark.gpu
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
LOADED = BY_NAME["two_segments_hinge"]
STEPS = 40
SUITE = "step topk rewiring determinism memory checkpoint api fit hidden gradients property"


@pytest.fixture(autouse=True, scope="module")
def gpu() -> None:
    if sx._core.cuda_backend() != "cuda":
        pytest.skip("needs a build with CUDA kernels")
    if reason := sx._core.cuda_unavailable_reason():
        pytest.skip(reason)


# ---- the same results as on the CPU, and the same bits every time ----


@each_case
def test_follows_the_oracle(case: Case) -> None:
    check.follows_the_oracle(case)


@each_case
def test_agrees_with_the_cpu_in_bfloat16(case: Case) -> None:
    check.agrees_with_the_cpu_in_bfloat16(case)


@pytest.mark.parametrize("name", ["dense_large", "g1_adam", "g3_padding", "g17_odd", "two_segments_large"])
def test_stores_bfloat16_weights(name: str) -> None:
    check.stores_bfloat16_weights(BY_NAME[name])


@pytest.mark.parametrize("name", ["dense_hinge", "g1_adam", "g17_odd", "weighted_g17", "auxiliary_g3"])
def test_weighs_instances(name: str) -> None:
    check.weighs_instances(BY_NAME[name])


@each_case
@pytest.mark.parametrize("weight_dtype", ["float32", "bfloat16"])
def test_repeats_itself(case: Case, weight_dtype: str) -> None:
    check.repeats_itself(case, compute_dtype="auto", weight_dtype=weight_dtype)


@pytest.mark.parametrize("name", ["g16_large", "hidden_dropout", "sparse_dropout", "two_segments_adam"])
def test_moves_between_devices(name: str, tmp_path: Path) -> None:
    check.moves_between_devices(BY_NAME[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITE.split())
def test_whole_suite(name: str) -> None:
    check.suite(name, "not missing_gpu")


# ---- results that come late, and failures ----


@pytest.mark.parametrize("name", ["g16_large", "two_segments_hinge", "hidden_dropout"])
def test_results_may_be_read_late(name: str) -> None:
    check.results_may_be_read_late(BY_NAME[name])


def test_finds_nonfinite_batches() -> None:
    check.finds_nonfinite_batches()


def test_survives_an_exhausted_pool() -> None:
    check.survives_an_exhausted_pool()


def test_exits_cleanly_with_live_models() -> None:
    check.exits_cleanly_with_live_models()


def test_more_memory_than_the_card_has() -> None:
    options: dict[str, Any] = {"fan_in": None, "device": "cuda", "optimizer": sx.Adam(1e-3)}
    with pytest.raises(sx.MemoryPlanError, match="no more memory"):
        sx.Classifier(4096, 2**26, **options)  # 3 TiB
    check.follows_the_oracle(BY_NAME["g17_odd"])


def test_three_million_labels() -> None:
    """Plan and peak agree, and what the CPU predicts with the trained weights is what the GPU predicts."""
    options: dict[str, Any] = {"fan_in": 32, "group_size": 32, "dense_labels": 0, "batch_size": 64, "rewiring": None}
    gpu = sx.Classifier(768, 3_000_000, **options, device="cuda", compute_dtype="float32")
    rng = np.random.default_rng(1)
    x = rng.standard_normal((64, 768), dtype=np.float32)
    labels = rng.integers(0, 3_000_000, 64)
    losses = [gpu.train_step(x, labels).loss for _ in range(5)]
    assert losses == sorted(losses, reverse=True) and np.isfinite(losses).all()
    scores, ids = gpu.topk(x, 5)
    assert gpu.memory.peak == gpu.memory.planned < 2 * 10**9
    cpu = sx.Classifier(768, 3_000_000, **options, device="cpu")
    cpu.load_state_dict(gpu.state_dict())
    expected, expected_ids = cpu.topk(x, 5)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert (ids == expected_ids).mean() > 0.99


# ---- arrays and streams of other libraries ----


def expected_steps() -> tuple[list[bytes], dict[str, np.ndarray]]:
    """The outcome of every way of handing the batches over: losses and gradients, and the tensors at the end."""
    classifier = check.on_gpu(LOADED)
    return train(classifier, batches()), tensors(classifier)


def batches() -> Iterator[tuple[np.ndarray, list[list[int]]]]:
    for number in range(STEPS):
        yield LOADED.features(number), LOADED.labels(number)


def as_bytes(loss: float, grad: np.ndarray) -> bytes:
    return np.float64(loss).tobytes() + grad.tobytes()


@pytest.mark.parametrize("stream", ["default", "own", "chosen"])
def test_torch_under_load(stream: str) -> None:
    """Batches are made late on a busy stream, and freed and overwritten as soon as the step's call has returned."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    expected, state = expected_steps()
    classifier = check.on_gpu(LOADED, stream=torch.cuda.Stream() if stream == "chosen" else None)
    seen = []
    with torch.cuda.stream(torch.cuda.Stream() if stream == "own" else torch.cuda.current_stream()):
        for x, labels in batches():
            source = torch.from_numpy(x).pin_memory()
            torch.cuda._sleep(2_000_000)
            embeddings = source.cuda(non_blocking=True) * 2 / 2
            out = classifier.train_step(embeddings, csr(labels))
            del embeddings
            torch.full_like(source, torch.nan, device="cuda")  # takes the freed memory
            assert out.grad.is_cuda and out.grad.dtype == torch.float32
            seen.append((out, out.grad.clone()))
            del source
    assert [as_bytes(out.loss, grad.cpu().numpy()) for out, grad in seen] == expected
    assert_same_bits(tensors(classifier), state)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_torch_dtypes(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    x, labels = torch.from_numpy(LOADED.features()).to(getattr(torch, dtype)), csr(LOADED.labels())
    wide = check.on_gpu(LOADED).train_step(x.float().numpy(), labels)
    out = check.on_gpu(LOADED).train_step(x.cuda(), labels)
    assert out.loss == wide.loss and out.grad.dtype == x.dtype
    assert torch.equal(out.grad.cpu(), torch.from_numpy(wide.grad).to(x.dtype))


def test_torch_refusals() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    classifier, labels = check.on_gpu(LOADED), csr(LOADED.labels())
    x = torch.from_numpy(LOADED.features())
    with pytest.raises(sx.ArgumentError, match=r'device cpu.*pass embeddings\.to\("cuda:0"\)'):
        classifier.train_step(x, labels)
    with pytest.raises(sx.ArgumentError, match=r"requires grad; pass embeddings\.detach\(\)"):
        classifier.train_step(x.cuda().requires_grad_(), labels)
    with pytest.raises(sx.ArgumentError, match=r"cuda:0, but the classifier is on the CPU; pass embeddings\.cpu\(\)"):
        check.on_gpu(LOADED, device="cpu").train_step(x.cuda(), labels)
    if torch.cuda.device_count() > 1:
        with pytest.raises(sx.ArgumentError, match=r'cuda:1.*pass embeddings\.to\("cuda:0"\)'):
            classifier.train_step(x.to("cuda:1"), labels)
        with torch.cuda.device(1):  # which device is current does not matter
            loss = classifier.train_step(x.to("cuda:0"), labels).loss
        assert loss == step(check.on_gpu(LOADED), x.numpy(), LOADED.labels())[0]


def test_captured_stream_is_refused() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    classifier, embeddings = check.on_gpu(LOADED), torch.from_numpy(LOADED.features()).cuda()
    before = tensors(classifier)
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        embeddings.mul_(1)
        with pytest.raises(sx.ArgumentError, match="embeddings.*captured into a CUDA graph"):
            classifier.train_step(embeddings, csr(LOADED.labels()))
    assert_same_bits(tensors(classifier), before)


@pytest.mark.parametrize("stream", ["default", "own", "chosen"])
def test_cupy_under_load(stream: str) -> None:
    cupy = pytest.importorskip("cupy")
    expected, state = expected_steps()
    classifier = check.on_gpu(LOADED, stream=cupy.cuda.Stream() if stream == "chosen" else None)
    seen = []
    with cupy.cuda.Stream(non_blocking=True) if stream == "own" else cupy.cuda.Stream.null:
        for x, labels in batches():
            late = cupy.arange(2_000_000).sum() * 0  # keeps the stream busy
            embeddings = cupy.asarray(x) + late.astype(cupy.float32)
            out = classifier.train_step(embeddings, csr(labels))
            del embeddings
            cupy.full(x.shape, cupy.nan, cupy.float32)  # takes the freed memory
            assert isinstance(out.grad, cupy.ndarray)
            seen.append((out, out.grad.copy()))
        assert [as_bytes(out.loss, cupy.asnumpy(grad)) for out, grad in seen] == expected
    assert_same_bits(tensors(classifier), state)


def test_jax() -> None:
    jax = pytest.importorskip("jax")
    try:
        device = jax.devices("cuda")[0]
    except RuntimeError:
        pytest.skip("this JAX has no CUDA")
    expected, state = expected_steps()
    classifier, seen = check.on_gpu(LOADED), []
    double = jax.jit(lambda x: 2 * x)
    for x, labels in batches():
        embeddings = double(jax.device_put(x / 2, device))
        out = classifier.train_step(embeddings, csr(labels))
        del embeddings
        seen.append((out, double(jax.numpy.from_dlpack(out.grad)) / 2))
        del out
    assert [as_bytes(out.loss, np.asarray(grad)) for out, grad in seen] == expected
    assert_same_bits(tensors(classifier), state)
    seen.clear()
    assert "gradient" not in classifier.memory.entries


def test_fit_on_a_torch_tensor() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    x = LOADED.features(rows=300)
    labels = np.arange(300) % LOADED.num_labels
    models = []
    for X in (x, torch.from_numpy(x), torch.from_numpy(x).cuda()):
        models.append(check.on_gpu(LOADED))
        models[-1].fit(X, labels, 2, progress=False)
    for model in models[1:]:
        assert_same_bits(tensors(model), tensors(models[0]))
