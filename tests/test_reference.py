"""The oracle against hand-computed constants, published vectors and finite differences of itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp

import reference as ref
import reference_rewiring as rw


def small_model(loss: str = "bce", hidden: bool = False, seed: int = 0, **settings) -> ref.Reference:
    """Two segments (3 dense labels, 7 with fan-in 4 in groups of 3) over 6 inputs of the output layer."""
    rng = np.random.default_rng(seed)
    state = {
        "label_order": rng.permutation(10),
        "segments.0.weights": rng.normal(size=(3, 6)),
        "segments.0.bias": rng.normal(size=3),
        "segments.1.weights": rng.normal(size=(7, 4)),
        "segments.1.bias": rng.normal(size=7),
        "segments.1.indices": np.sort(np.stack([rng.choice(6, 4, replace=False) for _ in range(3)])).astype(np.uint16),
    }
    if hidden:
        state |= {"hidden.weight": rng.normal(size=(5, 6)), "hidden.bias": rng.normal(size=6)}
    optimizer = settings.pop("optimizer", ref.Sgd(0.1))
    for name in [name for name in state if name.endswith(("weights", "weight", "bias"))]:
        state |= {f"optimizer.{name}.{slot}": np.zeros_like(state[name]) for slot in optimizer.slots}
    return ref.Reference(state, 6, 3, loss, optimizer, **settings)


BATCH = [[0, 3, 3], [], [9], [1, 2, 4, 8]]


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        (0, (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (2**64 - 1, (2**32 - 1,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            0x299F31D0A4093822,
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(key, counter, expected):
    """The vectors published with Random123."""
    assert tuple(int(word) for word in ref.philox(key, counter)) == expected


def test_slots_of_a_row_share_a_block():
    words = ref.philox(7, [2, 5, 9, 3 << 16])
    assert [int(n) for n in ref.draw_one(7, 3, 9, 5, np.arange(8, 12))] == [int(word) for word in words]
    high = ref.philox(7, [0, 1, 2, 3 << 16 | 6 << 8 | 4])[0]
    assert ref.draw_one(7, 3, (4 << 32) + 2, (6 << 32) + 1, 0) == high


def test_dropout_mask_keeps_its_share():
    mask = ref.dropout_mask(seed=3, step=1, batch=200, units=300, dropout=0.3)
    assert set(np.unique(mask)) == {0.0, 1 / 0.7}
    assert abs((mask == 0).mean() - 0.3) < 0.01
    assert not np.array_equal(mask, ref.dropout_mask(3, 2, 200, 300, 0.3))


def test_losses_by_hand():
    z, positive = np.array([0.0, 2.0, 2.0, -1000.0]), np.array([True, True, False, True])
    loss, slope = ref.label_loss("bce", z, positive)
    np.testing.assert_allclose(loss, [math.log(2), 0.1269280110429726, 2.1269280110429727, 1000.0], rtol=1e-12)
    np.testing.assert_allclose(slope, [-0.5, -0.11920292202211755, 0.8807970779778823, -1.0], rtol=1e-12)
    loss, slope = ref.label_loss("squared_hinge", z, positive)
    np.testing.assert_allclose(loss, [1.0, 0.0, 9.0, 1001.0**2])
    np.testing.assert_allclose(slope, [-2.0, 0.0, 6.0, -2002.0])


@pytest.mark.parametrize("kind", ["bce", "squared_hinge"])
def test_loss_derivatives(kind):
    z = np.linspace(-3, 3, 41) + 0.003  # no point on the kink of the hinge's derivative
    for positive in (np.ones(41, bool), np.zeros(41, bool)):
        high, low = (ref.label_loss(kind, z + h, positive)[0] for h in (1e-6, -1e-6))
        np.testing.assert_allclose(ref.label_loss(kind, z, positive)[1], (high - low) / 2e-6, rtol=1e-7, atol=1e-8)


def test_loss_is_summed_over_labels_and_averaged_over_instances():
    model = small_model()
    for name in ("segments.0.weights", "segments.1.weights", "segments.0.bias", "segments.1.bias"):
        model.state[name][...] = 0.0
    loss, grads = model.gradients(np.ones((4, 6)), BATCH)
    assert loss == pytest.approx(10 * math.log(2))
    bias = np.concatenate([grads["segments.0.bias"], grads["segments.1.bias"]])
    by_label = np.empty(10)
    by_label[model.state["label_order"]] = bias
    share = np.array([1, 1, 1, 1, 1, 0, 0, 0, 1, 1]) / 4  # label 3 counts once in row 0
    np.testing.assert_allclose(by_label, 0.5 - share)


@pytest.mark.parametrize("kind", ["bce", "squared_hinge"])
@pytest.mark.parametrize("hidden", ["none", "dense", "sparse"])
def test_gradients_by_finite_differences(kind, hidden):
    model = small_model(kind, hidden != "none", dropout=0.4 if hidden != "none" else 0.0, seed=5)
    x = np.random.default_rng(1).normal(size=(4, 6 if hidden == "none" else 5))
    if hidden == "sparse":
        x[:, 2] = 0.0
    batch = sp.csr_matrix(x) if hidden == "sparse" else x
    _, grads = model.gradients(batch, BATCH)
    for name, grad in grads.items():
        target = x if name == "x" else model.state[name]
        for place in np.ndindex(target.shape):
            value, losses = target[place], []
            for h in (1e-6, -1e-6):
                target[place] = value + h
                losses.append(model.gradients(x, BATCH)[0])
            target[place] = value
            assert grad[place] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-6, abs=1e-8), (name, place)


def test_sgd_by_hand():
    w, v = np.array([1.0]), [np.array([0.0])]
    sgd = ref.Sgd(lr=0.1, momentum=0.5, weight_decay=0.2)
    sgd.update(w, v, np.array([1.0]), 0.1, 0, decay=True)  # v = 1 + 0.2 = 1.2
    assert (w[0], v[0][0]) == pytest.approx((0.88, 1.2))
    sgd.update(w, v, np.array([1.0]), 0.1, 1, decay=True)  # v = 0.6 + 1 + 0.176
    assert (w[0], v[0][0]) == pytest.approx((0.7024, 1.776))
    sgd.update(w, v, np.array([0.0]), 0.1, 2, decay=False)
    assert (w[0], v[0][0]) == pytest.approx((0.6136, 0.888))


def test_adam_by_hand():
    w, slots = np.array([1.0]), [np.zeros(1), np.zeros(1)]
    adam = ref.Adam(lr=0.1, betas=(0.5, 0.75), eps=0.5, weight_decay=0.2)
    adam.update(w, slots, np.array([2.0]), 0.1, 0, decay=True)  # m_hat = 2, v_hat = 4
    assert (w[0], slots[0][0], slots[1][0]) == pytest.approx((1 - 0.1 * (2 / 2.5 + 0.2), 1.0, 1.0))
    adam.update(w, slots, np.array([-1.0]), 0.1, 1, decay=False)  # m = 0, v = 1
    assert (w[0], slots[0][0], slots[1][0]) == pytest.approx((0.9, 0.0, 1.0))


def test_schedules_by_hand():
    assert [ref.Schedule("constant", 4).factor(i) for i in (0, 3, 4, 99)] == [0.25, 1.0, 1.0, 1.0]
    linear = ref.Schedule("linear", 2, 10, 0.5)
    assert [linear.factor(i) for i in (0, 1, 2, 6, 10, 11)] == [0.5, 1.0, 1.0, 0.75, 0.5, 0.5]
    cosine = ref.Schedule("cosine", 0, 4, 0.2)
    assert [cosine.factor(i) for i in (0, 2, 4, 9)] == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_untouched_sparse_rows_rest():
    optimizer = ref.Sgd(0.1, momentum=0.9, weight_decay=0.1)
    model = small_model(hidden=True, optimizer=optimizer)
    model.state["optimizer.hidden.weight.momentum"][...] = 1.0
    before = {name: value.copy() for name, value in model.state.items()}
    x = np.random.default_rng(2).normal(size=(4, 5))
    x[:, [1, 4]] = 0.0
    model.train_step(sp.csr_matrix(x), BATCH)
    for name in ("hidden.weight", "optimizer.hidden.weight.momentum"):
        same = (model.state[name] == before[name]).all(axis=1)
        assert same.tolist() == [False, True, False, False, True]


def test_best_labels_break_ties_by_id():
    assert ref.best_labels(np.array([[1.0, 3.0, 3.0, -1.0, 3.0]]), 4).tolist() == [[1, 2, 4, 0]]


def test_dropped_connections_by_hand():
    score = np.array([[3.0, 1.0, 1.0, 9.0], [1.0, 1.0, 5.0, 6.0]])
    layer = rw.dropped_connections(score, 0.4, "layer", 100)  # floor(0.4 * 8) = 3 of four equal scores
    assert np.argwhere(layer).tolist() == [[0, 1], [0, 2], [1, 0]]
    group = rw.dropped_connections(score, 0.8, "group", 100)
    assert np.argwhere(group).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    for scope in ("layer", "group"):  # one new feature per group
        assert np.argwhere(rw.dropped_connections(score, 0.6, scope, 5)).tolist() == [[0, 1], [1, 0]]
    assert not rw.dropped_connections(score, 0.9, "layer", 4).any()


def test_group_means_leave_padding_out():
    assert rw.group_means(np.array([[1.0], [3.0], [10.0]]), 2).tolist() == [[2.0], [10.0]]


def test_growth_takes_new_features_of_largest_norm():
    norms = np.array([[5.0, 9.0, 2.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    grown = rw.grown_features(norms, np.array([[0, 1], [1, 3]]), np.array([1, 2]))
    assert [row.tolist() for row in grown] == [[2], [0, 2]]


@pytest.mark.parametrize("weights", [None, np.array([0.5, 0, 2, 1])], ids=["plain", "weighted"])
def test_group_gradient_norms_match_the_dense_gradient(weights):
    model = small_model()
    x = np.random.default_rng(3).normal(size=(4, 6))
    norms = rw.group_gradient_norms(model, 1, [(x, BATCH, weights)])
    _, grads = model.gradients(x, BATCH, weights)
    for row_group, features in enumerate(model.state["segments.1.indices"]):
        rows = grads["segments.1.weights"][3 * row_group : 3 * row_group + 3]
        np.testing.assert_allclose(norms[row_group, features], np.abs(rows).sum(axis=0))
    np.testing.assert_allclose(rw.group_gradient_norms(model, 1, [(x, BATCH, weights)] * 3), norms)


def test_rewired_moves_survivors():
    values, indices = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), np.array([[2, 5, 8], [0, 1, 2]])
    dropped = np.array([[True, False, False], [False, False, True]])
    result = rw.rewired(values, 2, indices, dropped, np.array([[5, 6, 8], [0, 1, 9]]))
    assert result.tolist() == [[2, 0, 3], [5, 0, 6], [7, 8, 0]]
