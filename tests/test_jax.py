"""JAX: eager steps, and the layer with a gradient under jit, grad and scan; what it cannot be put into."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx

pytest.importorskip("jax")

import jax
import jax.numpy as jnp

from sparsexmc.jax import OutputLayer, pad_labels, train_step

jax.config.update("jax_platforms", "cpu")

ROWS, INPUTS, FEATURES, LABELS = 6, 5, 16, 40
RNG = np.random.default_rng(5)
X = jnp.asarray(RNG.integers(-8, 9, (ROWS, FEATURES)) / 8, jnp.float32)  # exact in every dtype
# Sums of small multiples of 1/32 are exact, so that the encoder's bits do not depend on how XLA orders and fuses them.
INPUT = jnp.asarray(RNG.integers(-4, 5, (ROWS, INPUTS)) / 4, jnp.float32)
W = jnp.asarray(RNG.integers(-16, 17, (INPUTS, FEATURES)) / 8, jnp.float32)
Y = jnp.arange(ROWS)
MANY = sp.csr_matrix((np.ones(7), np.array([3, 39, 0, 7, 8, 9, 1]), np.array([0, 2, 3, 3, 6, 6, 7])), (ROWS, LABELS))


def classifier(**options: Any) -> sx.Classifier:
    settings = {"fan_in": 4, "group_size": 4, "dense_labels": 8, "rewiring": None, "batch_size": ROWS, "device": "cpu"}
    return sx.Classifier(FEATURES, LABELS, **(settings | options))


def encoder(weights: Any) -> Any:
    return jax.nn.leaky_relu(INPUT @ weights, 0.25)


def encoder_loss(layer: OutputLayer) -> Callable[[Any, Any], Any]:
    return lambda weights, labels: layer(encoder(weights), labels)


def same_state(a: sx.Classifier, b: sx.Classifier) -> bool:
    return all(np.array_equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_eager_step(dtype: str) -> None:
    plain, through_jax = classifier(), classifier()
    expected = plain.train_step(np.asarray(X), MANY)
    result = train_step(through_jax, X.astype(dtype), MANY)
    assert result.loss == expected.loss
    assert isinstance(result.grad, jax.Array) and result.grad.dtype == dtype
    rounding = {"float32": 0, "float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    np.testing.assert_allclose(result.grad.astype(jnp.float32), expected.grad, rtol=rounding, atol=1e-7)
    assert same_state(plain, through_jax)
    np.testing.assert_array_equal(plain.topk(np.asarray(X))[1], through_jax.topk(X)[1])


def test_pending_embeddings_are_waited_for() -> None:
    big = jnp.ones((600, 600)) / 600
    late = jax.jit(lambda a: jax.lax.fori_loop(0, 30, lambda _, b: b @ a, a).sum().round())(big)
    pending = X + late / 600  # X + 1
    assert classifier().train_step(pending, Y).loss == classifier().train_step(np.asarray(X) + 1, np.arange(ROWS)).loss


@pytest.mark.parametrize(
    "wrap",
    [jax.value_and_grad, lambda f: jax.jit(jax.value_and_grad(f)), lambda f: jax.value_and_grad(jax.jit(f))],
    ids=["eager", "jit(grad)", "grad(jit)"],
)
@pytest.mark.parametrize("labels", [Y, pad_labels(MANY)], ids=["one", "many"])
def test_gradient_reaches_the_encoder(wrap: Any, labels: Any) -> None:
    plain, layer = classifier(), OutputLayer(classifier())
    embeddings, pull_back = jax.vjp(encoder, W)
    step = wrap(encoder_loss(layer))
    for count in (1, 2):
        expected = plain.train_step(np.asarray(embeddings), MANY if labels is not Y else np.arange(ROWS))
        loss, gradient = step(W, labels)
        jax.effects_barrier()
        assert layer.classifier.step == count  # once per evaluation
        assert float(loss) == np.float32(expected.loss)
        np.testing.assert_allclose(gradient, pull_back(jnp.asarray(expected.grad))[0], rtol=1e-5, atol=1e-7)
    assert same_state(plain, layer.classifier)


def test_gradient_is_scaled_by_what_comes_from_above() -> None:
    once, thrice = (
        jax.grad(lambda weights, factor=factor: factor * encoder_loss(OutputLayer(classifier()))(weights, Y))(W)
        for factor in (1.0, 3.0)
    )
    np.testing.assert_allclose(thrice, 3 * once, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_weights_of_instances(wrap: Any) -> None:
    weights = np.array([0.5, 2, 0, 1, 3, 0.25], np.float32)
    plain, layer, eager = classifier(), OutputLayer(classifier()), classifier()
    expected = plain.train_step(np.asarray(X), np.arange(ROWS), weights)
    loss, gradient = wrap(jax.value_and_grad(layer))(X, Y, jnp.asarray(weights))
    result = train_step(eager, X, Y, jnp.asarray(weights))
    assert float(loss) == np.float32(expected.loss) and result.loss == expected.loss
    np.testing.assert_array_equal(gradient, expected.grad)
    assert same_state(plain, layer.classifier) and same_state(plain, eager)
    with pytest.raises(sx.ArgumentError, match=r"instance_weights have shape \(5,\)"):
        layer(X, Y, weights[1:])


def test_gradient_of_bfloat16_embeddings() -> None:
    layer = OutputLayer(classifier())
    gradient = jax.jit(jax.grad(layer))(X.astype(jnp.bfloat16), Y)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(gradient, train_step(classifier(), X.astype(jnp.bfloat16), Y).grad)


def test_steps_in_scan_keep_their_order() -> None:
    plain, layer = classifier(), OutputLayer(classifier())
    order = np.array([[0, 1, 2, 3, 4, 5], [9, 8, 7, 6, 5, 4], [30, 31, 32, 33, 34, 35]])

    def total(weights: Any) -> Any:
        return jax.lax.scan(lambda sum_, y: (sum_ + encoder_loss(layer)(weights, y), None), 0.0, order)[0]

    jax.block_until_ready(jax.jit(jax.grad(total))(W))
    for y in order:
        plain.train_step(np.asarray(encoder(W)), y)
    jax.effects_barrier()
    assert layer.classifier.step == 3
    np.testing.assert_allclose(layer.topk(X)[0], plain.topk(np.asarray(X))[0], rtol=1e-5)


def test_encoder_and_layer_learn() -> None:
    layer = OutputLayer(classifier(optimizer=sx.Adam(0.02)))
    step = jax.jit(jax.value_and_grad(encoder_loss(layer)))
    weights, losses = W, []
    for _ in range(150):
        loss, gradient = step(weights, Y)
        weights -= 0.05 * gradient
        losses.append(float(loss))
    assert losses[-1] < 0.2 * losses[0]
    assert (layer.topk(encoder(weights), 1)[1][:, 0] == np.arange(ROWS)).all()


def test_evaluation_without_gradient_does_not_train() -> None:
    layer = OutputLayer(classifier())
    before = layer.classifier.state_dict()
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"train it unasked.*layer\.topk"):
        jax.block_until_ready(jax.jit(encoder_loss(layer))(W, Y))
    assert all(np.array_equal(value, before[name]) for name, value in layer.classifier.state_dict().items())
    jax.block_until_ready(jax.value_and_grad(encoder_loss(layer))(W, Y))  # usable afterwards
    assert layer.classifier.step == 1


def test_label_out_of_range_is_reported_and_changes_nothing() -> None:
    layer = OutputLayer(classifier())
    before = layer.classifier.state_dict()
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"ArgumentError.*{LABELS}"):
        jax.block_until_ready(jax.jit(jax.grad(encoder_loss(layer)))(W, Y + LABELS - 2))
    assert all(np.array_equal(value, before[name]) for name, value in layer.classifier.state_dict().items())


def test_batches_with_nan_may_be_skipped() -> None:
    layer = OutputLayer(classifier(), on_nonfinite="skip")
    gradient = jax.grad(layer)(X.at[2, 3].set(jnp.nan), Y)
    assert not gradient.any()
    assert (layer.classifier.step, layer.classifier.skipped) == (0, 1)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, sparsexmc as sx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from sparsexmc.jax import OutputLayer
layer = OutputLayer(sx.Classifier(4, 9, fan_in=None, batch_size=8, device="cpu"))
rows = NamedSharding(Mesh(np.array(jax.devices()), ("rows",)), PartitionSpec("rows"))
X, Y = (jax.device_put(array, rows) for array in (jnp.ones((8, 4)), jnp.arange(8)))
loss, gradient = jax.jit(jax.value_and_grad(layer))(X, Y)
jax.effects_barrier()
print(len(jax.devices()), layer.classifier.step, gradient.shape)
"""


def test_batch_that_is_sharded_over_devices_is_one_step() -> None:
    devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", SHARDED], env=os.environ | devices, capture_output=True, text=True)
    assert done.stdout == "2 1 (8, 4)\n", done.stderr


TRANSFORMED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "vmap": (lambda f: jax.vmap(jax.grad(f), (None, 0))(W, Y[None]), "vmap"),
    "checkpoint": (lambda f: jax.grad(jax.checkpoint(f))(W, Y), "checkpoint"),
    "jvp": (lambda f: jax.jvp(lambda weights: f(weights, Y), (W,), (W,)), "jvp"),
    "second derivative": (lambda f: jax.grad(lambda w: jax.grad(f)(w, Y).sum())(W), "JVP"),
}


@pytest.mark.parametrize("kind", TRANSFORMED)
def test_transformations_that_jax_refuses(kind: str) -> None:
    call, message = TRANSFORMED[kind]
    layer = OutputLayer(classifier())
    with pytest.raises((ValueError, TypeError, NotImplementedError), match=message):
        call(encoder_loss(layer))


REFUSED: dict[str, tuple[Callable[[OutputLayer], Any], type[Exception], str]] = {
    "width": (lambda layer: layer(X[:, :8], Y), sx.ArgumentError, r"\(6, 8\).*\[b, 16\]"),
    "dtype": (lambda layer: layer(X.astype(jnp.int32), Y), sx.DTypeError, "int32"),
    "rows": (lambda layer: layer(jnp.concatenate([X, X]), Y), sx.ArgumentError, "12 rows.*batch_size=6"),
    "labels": (lambda layer: layer(X, Y[:-1]), sx.ArgumentError, r"labels have shape \(5,\).*\[6\] or \[6, m\]"),
    "indicators": (lambda layer: layer(X, X), sx.DTypeError, "pad_labels"),
    "topk in jit": (lambda layer: jax.jit(layer.topk)(X), sx.ArgumentError, "topk runs outside of jit"),
    "step in jit": (
        lambda layer: jax.jit(lambda x: train_step(layer.classifier, x, Y).loss)(X),
        sx.ArgumentError,
        "use OutputLayer",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str) -> None:
    call, error, message = REFUSED[kind]
    with pytest.raises(error, match=message):
        call(OutputLayer(classifier()))


def test_sparse_input_is_refused() -> None:
    with pytest.raises(sx.ArgumentError, match="sparse_input=True"):
        OutputLayer(classifier(hidden=8, sparse_input=True))


def test_padded_labels() -> None:
    np.testing.assert_array_equal(pad_labels(MANY)[:4], [[3, 39, -1], [0, -1, -1], [-1, -1, -1], [7, 8, 9]])
    assert pad_labels(MANY, width=5).shape == (ROWS, 5)
    assert pad_labels(MANY[4:5]).shape == (1, 1)
    with pytest.raises(sx.ArgumentError, match="width=2, but row 3 of Y has 3 positives"):
        pad_labels(MANY, width=2)
    with pytest.raises(sx.DTypeError, match="csr_matrix"):
        pad_labels(MANY.toarray())


def test_without_jax_the_error_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['jax'] = None\ntry: import sparsexmc.jax\nexcept ImportError as error: print(error)"
    )
    printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert "pip install 'sparsexmc[jax]'" in printed
