"""sparsexmc.torch.OutputLayer: its loss and gradients against autograd, what it takes, and when it updates."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from torch_tools import FEATURES, LABELS, ROWS, Dense, X, Y, encoder, output_layer, state, targets, torch

SHAPES: dict[str, dict[str, Any]] = {
    "dense": {"fan_in": None},
    "fan_in": {"dense_labels": 0},
    "per_label": {"dense_labels": 0, "group_size": 1},
    "two_segments": {},
    "hidden": {"hidden": 12},
    "hidden_dense": {"hidden": 12, "fan_in": None},
}


# ---- numbers ----


@pytest.mark.parametrize("loss", ["bce", "squared_hinge"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_autograd(shape: str, loss: str) -> None:
    """Of the encoder, for an upstream gradient other than 1; and SGD moves the weights by theirs."""
    layer, model = output_layer(loss=loss, optimizer=sx.SGD(lr=1.0), **SHAPES[shape]), encoder()
    dense, twin = Dense(layer), encoder().double()
    expected = dense(twin(X.double()), targets())
    (2.5 * expected).backward()
    found = layer(model(X), Y)
    (2.5 * found).backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=2e-5, atol=2e-5)
    after = Dense(layer)
    assert dense.weight.grad is not None and dense.bias.grad is not None
    moved = dense.weight.detach() - dense.weight.grad / 2.5, dense.bias.detach() - dense.bias.grad / 2.5
    torch.testing.assert_close(after.weight.detach(), moved[0], rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(after.bias.detach(), moved[1], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("shape", ["dense", "two_segments", "hidden"])
def test_finite_differences(shape: str) -> None:
    """Along the gradient, by the layer's own loss in eval()."""
    layer = output_layer(**SHAPES[shape]).eval()
    x = X.clone().requires_grad_()
    (grad,) = torch.autograd.grad(layer(x, Y), x)
    direction, h = grad / grad.norm(), 0.002  # fewer units change sides the smaller it is
    high, low = (layer(X + sign * h * direction, Y).double() for sign in (1, -1))
    assert ((high - low) / (2 * h)).item() == pytest.approx(grad.norm().item(), rel=4e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gradient_has_the_dtype_of_the_embeddings(dtype: Any) -> None:
    x = X.to(dtype, copy=True).requires_grad_()
    wide = x.detach().float().clone().requires_grad_()
    loss = output_layer()(x, Y)
    loss.backward()
    output_layer()(wide, Y).backward()
    assert loss.dtype == torch.float32 and x.grad is not None and x.grad.dtype == dtype
    torch.testing.assert_close(x.grad, wide.grad.to(dtype), rtol=2e-2 if dtype == torch.bfloat16 else 1e-3, atol=1e-6)


# ---- when it updates ----


def test_one_step_a_forward() -> None:
    layer = output_layer()
    loss = layer(X.clone().requires_grad_(), Y)
    assert layer.classifier.step == 1
    before = state(layer)
    loss.backward()
    assert state(layer) == before


def test_update_in_the_backward() -> None:
    layer, usual = output_layer(update="backward"), output_layer()
    x, same = X.clone().requires_grad_(), X.clone().requires_grad_()
    before = state(layer)
    loss = layer(x, Y)
    assert state(layer) == before
    loss.backward(torch.tensor(3.0), retain_graph=True)
    expected = usual(same, Y)
    expected.backward(torch.tensor(3.0))
    assert loss.item() == expected.item() and torch.equal(x.grad, same.grad)
    assert state(layer) == state(usual)
    loss.backward()  # a second backward of the same graph is no second step
    assert layer.classifier.step == 1
    torch.testing.assert_close(x.grad, same.grad * 4 / 3)


def test_update_in_the_backward_refuses_changed_embeddings() -> None:
    x = X.clone().requires_grad_()
    embeddings = x * 1
    loss = output_layer(update="backward")(embeddings, Y)
    with torch.no_grad():
        embeddings.add_(1)
    with pytest.raises(sx.ArgumentError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("update", ["forward", "backward"])
def test_embeddings_that_need_no_gradient(update: str) -> None:
    layer = output_layer(update=update)
    layer(X, Y).backward()
    assert layer.classifier.step == 1


@pytest.mark.parametrize("frozen", ["eval", "no_grad", "inference_mode"])
def test_nothing_is_updated(frozen: str) -> None:
    layer = output_layer()
    expected = layer(X, Y).item()
    layer = output_layer()
    before = state(layer)
    x = X.clone().requires_grad_()
    if frozen == "eval":
        loss = layer.eval()(x, Y)
        loss.backward()
        assert x.grad is not None and x.grad.any()
        scores, ids = layer.topk(x, 3)
    else:
        with getattr(torch, frozen)():
            loss = layer(x, Y)
            scores, ids = layer.topk(x, 3)
        assert not loss.requires_grad
    assert loss.item() == expected
    reference = layer.classifier.topk(X.numpy(), 3)
    assert torch.equal(scores, torch.from_numpy(reference[0])) and torch.equal(ids, torch.from_numpy(reference[1]))
    assert state(layer) == before and layer.skipped == 0


# ---- what it takes ----

CSR = sp.csr_matrix(targets().float().numpy())
LABELS_AS: dict[str, Callable[[], Any]] = {
    "scipy": lambda: CSR,
    "pair": lambda: (CSR.indptr, CSR.indices),
    "pair of tensors": lambda: (torch.from_numpy(CSR.indptr), torch.from_numpy(CSR.indices)),
    "sparse csr": lambda: targets().to_sparse_csr(),
    "sparse coo": lambda: targets().to_sparse_coo(),
    "padded int32": lambda: Y.int(),
    "nested strided": lambda: nested(torch.strided),
    "nested jagged": lambda: nested(torch.jagged),
}


def nested(layout: torch.layout) -> torch.Tensor:
    return torch.nested.nested_tensor([row[row >= 0] for row in Y], layout=layout)


@pytest.mark.parametrize("kind", LABELS_AS)
def test_labels(kind: str) -> None:
    assert output_layer()(X, LABELS_AS[kind]()).item() == output_layer()(X, Y).item()


def test_one_label_each() -> None:
    assert output_layer()(X, Y[:, 0].clamp(0)).item() == output_layer()(X, Y[:, :1].clamp(0)).item()


def test_layouts_of_embeddings() -> None:
    expected = output_layer()(X, Y).item()
    assert output_layer()(X.T.contiguous().T, Y).item() == expected
    assert output_layer()(torch.cat([X, X], 1)[:, :FEATURES], Y).item() == expected


BAD: dict[str, tuple[Any, Any, str]] = {
    "nested embeddings": (torch.nested.nested_tensor([X[0], X[1]], layout=torch.jagged), Y[:2], "nested"),
    "nested numbers": (X, torch.nested.nested_tensor([row.float() for row in Y], layout=torch.jagged), "nested"),
    "width": (X[:, :5], Y, "in_features=16"),
    "float64": (X.double(), Y, r"embeddings\.float\(\)"),
    "three dimensions": (X[None], Y[:1], "matrix"),
    "no dimensions": (X[0, 0], Y, "matrix"),
    "no tensor": (X.numpy(), Y, "torch.as_tensor"),
    "too many": (X.repeat(2, 1), Y.repeat(2, 1), "batch_size"),
    "empty": (X[:0], Y[:0], "empty batch"),
    "indicators": (X, targets(), "to_sparse_csr"),
    "integer indicators": (X, targets().long(), "to_sparse_csr"),
    "rows of labels": (X, Y[:3], "there are 6 instances"),
    "label out of range": (X, Y + 1, "40"),
    "labels elsewhere": (X, Y.to("meta"), r"labels is on meta, .*labels\.cpu\(\)"),
    "embeddings elsewhere": (X.to("meta"), Y, "embeddings is on device meta"),
    "list": (X, Y.tolist(), "labels is a list"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_names_the_remedy(what: str) -> None:
    layer = output_layer()
    before = state(layer)
    embeddings, labels, message = BAD[what]
    with pytest.raises(sx.Error, match=message):
        layer(embeddings, labels)
    assert state(layer) == before and layer.classifier.step == 0


BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"update": "later"}, "update"),
    ({"accumulate": "sum"}, "accumulate"),
    ({"on_nonfinite": "ignore"}, "on_nonfinite"),
    ({"accumulate": "buffer", "update": "backward"}, "fused_optimizer"),
    ({"ranks": "gather", "update": "backward"}, "forward alone"),
    ({"sparse_input": True, "hidden": 4}, "sparse_input"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sx.ArgumentError, match=message):
        output_layer(**options)


def test_topk_is_refused_in_a_training_forward() -> None:
    layer = output_layer()
    with pytest.raises(sx.ArgumentError, match=r"layer\.eval\(\)"):
        layer.topk(X)
    with pytest.raises(sx.ArgumentError, match="num_labels=40"):
        layer.eval().topk(X, 41)


# ---- lives and threads ----


def test_tensors_may_go_right_after_the_call() -> None:
    layer, kept = output_layer(), output_layer()
    for number in range(20):
        x = (X + number).requires_grad_()
        expected = kept(x, Y)
        loss = layer((X + number).requires_grad_(), Y.clone())
        junk = [torch.full_like(X, float("nan")) for _ in range(8)]  # where the freed memory may be
        assert loss.item() == expected.item()
        loss.backward()
        del junk
    assert state(layer) == state(kept)


def test_layer_and_graph_are_freed() -> None:
    layer = output_layer()
    loss = layer(X.clone().requires_grad_(), Y)
    gone = weakref.ref(layer), weakref.ref(layer.classifier)
    gc.disable()
    try:
        del layer, loss
        assert gone[0]() is None and gone[1]() is None  # without the garbage collector
    finally:
        gc.enable()


def test_many_threads() -> None:
    """Every step is whole; SGD on losses that do not depend on the order adds up to the same number of steps."""
    layer, errors = output_layer(), []

    def work() -> None:
        try:
            for _ in range(25):
                x = X.clone().requires_grad_()
                layer(x, Y).backward()
                assert x.grad is not None and torch.isfinite(x.grad).all()
                with torch.no_grad():
                    assert layer.topk(X, 2)[1].shape == (ROWS, 2)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and layer.classifier.step == 200


def test_importing_sparsexmc_imports_no_torch() -> None:
    code = "import sys, sparsexmc; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_torch_names_the_remedy() -> None:
    code = "import sys; sys.modules['torch'] = None; import sparsexmc.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode and "pip install 'sparsexmc[torch]'" in done.stderr


def test_num_labels_and_width() -> None:
    layer = output_layer()
    assert (layer.classifier.in_features, layer.classifier.num_labels) == (FEATURES, LABELS)
    assert [name for name, _ in layer.named_parameters()] == ["anchor"] and list(layer.buffers()) == []
    assert np.isclose(layer.fused_optimizer.lr, 0.01)
