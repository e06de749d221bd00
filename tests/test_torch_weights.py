"""Weights of the instances in sparsexmc.torch: against autograd, in every way to take a step, and as arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sparsexmc as sx
from torch_tools import Dense, X, Y, encoder, output_layer, state, targets, torch

WEIGHTS = torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0, 0.25])


@pytest.mark.parametrize("loss", ["bce", "squared_hinge"])
def test_gradients_are_those_of_autograd(loss: str) -> None:
    layer, model = output_layer(loss=loss), encoder()
    dense, twin = Dense(layer), encoder().double()
    rows = twin(X.double()).split(1)
    expected = sum(w * dense(row, y) for w, row, y in zip(WEIGHTS.double(), rows, targets().split(1), strict=True)) / 6
    (2.5 * expected).backward()
    found = layer(model(X), Y, instance_weights=WEIGHTS)
    (2.5 * found).backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"update": "backward"}, {"accumulate": "buffer"}])
def test_step_is_that_of_the_classifier(options: dict[str, Any]) -> None:
    layer, plain = output_layer(**options), output_layer().classifier
    x = X.clone().requires_grad_()
    with torch.no_grad():
        evaluated = layer(x, Y, WEIGHTS).item()
    loss = layer(x, Y, WEIGHTS)
    loss.backward()
    layer.fused_optimizer.step()
    labels = np.repeat(np.arange(6), (Y >= 0).sum(1).numpy()), Y[Y >= 0].numpy()
    indptr = np.searchsorted(labels[0], np.arange(7))
    expected = plain.train_step(X.numpy(), (indptr, labels[1]), WEIGHTS.numpy())
    assert loss.item() == evaluated == np.float32(expected.loss)
    np.testing.assert_array_equal(x.grad.numpy(), expected.grad)
    assert all(np.array_equal(value, plain.state_dict()[name]) for name, value in layer.classifier.state_dict().items())


def test_buffered_micro_batches_with_and_without_weights() -> None:
    layer, usual = output_layer(accumulate="buffer"), output_layer()
    layer(X[:2], Y[:2])
    layer(X[2:], Y[2:], WEIGHTS[2:])
    layer.fused_optimizer.step()
    usual(X, Y, torch.cat([torch.ones(2), WEIGHTS[2:]]))
    assert state(layer) == state(usual)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, np.asarray, torch.Tensor.tolist, torch.nn.Parameter])
def test_kinds_of_weights(kind: Any) -> None:
    layer, usual = output_layer(), output_layer()
    given = WEIGHTS.to(kind) if isinstance(kind, torch.dtype) else kind(WEIGHTS)
    assert layer(X, Y, given).item() == usual(X, Y, WEIGHTS).item()
    assert state(layer) == state(usual)


def test_refused() -> None:
    layer = output_layer()
    before = state(layer)
    for given, error, message in (
        (WEIGHTS[1:], sx.ArgumentError, r"instance_weights has shape \(5,\), but there are 6 instances"),
        (-WEIGHTS, sx.ArgumentError, "instance_weights holds -0.5 for row 0"),
        (WEIGHTS > 0, sx.DTypeError, "instance_weights has dtype bool"),
    ):
        with pytest.raises(error, match=message):
            layer(X, Y, given)
    assert state(layer) == before
