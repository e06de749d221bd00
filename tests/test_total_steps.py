"""Consequences of the length of a training: schedules and rewirings that leave it open, and settings for data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cli_tools import make_split

ROWS, FEATURES, LABELS = 64, 24, 40
X = np.random.default_rng(0).standard_normal((ROWS, FEATURES)).astype(np.float32)
Y = sp.csr_matrix((np.ones(ROWS, np.float32), (np.arange(ROWS), np.arange(ROWS) % LABELS)), shape=(ROWS, LABELS))


def classifier(**options: object) -> sx.Classifier:
    shape = {"fan_in": 8, "group_size": 4, "dense_labels": 0, "batch_size": 16, "device": "cpu"}
    return sx.Classifier(FEATURES, LABELS, **(shape | options))


def test_the_default_rewires_once_the_length_is_known() -> None:
    """A loop of steps rewires nothing until it says how long it is; then a dozen times, and not at the end."""
    c = classifier(fan_in=20)
    assert not any(c.train_step(X[:16], Y[:16]).rewired for _ in range(30)) and c.total_steps is None
    c.total_steps = 78
    due = [c.step for _ in range(48) if c.train_step(X[:16], Y[:16]).rewired]
    assert due == [step for step in range(31, 79) if step % 6 == 0 and step < 58]
    changed = [record.changed for record in c.rewirings]
    assert changed == sorted(changed, reverse=True) and changed[0] > changed[-1]


def test_an_interval_alone_goes_on_with_a_constant_share() -> None:
    c = classifier(rewiring=sx.Rewiring(interval=5, fraction=0.25))
    due = [c.step for _ in range(22) if c.train_step(X[:16], Y[:16]).rewired]
    assert due == [5, 10, 15, 20]
    assert len({record.changed for record in c.rewirings}) == 1


def test_fit_sets_the_length() -> None:
    given = classifier(
        schedule=sx.Schedule("linear", total_steps=12), rewiring=sx.Rewiring(interval=1, stop=9), optimizer=sx.Adam(0.1)
    )
    left_open = classifier(schedule=sx.Schedule("linear"), rewiring=sx.Rewiring(), optimizer=sx.Adam(0.1))
    for c in (given, left_open):
        c.fit(X, Y, 3, validation=None, progress=False)
        assert c.total_steps == 12
    for name, tensor in given.state_dict().items():
        np.testing.assert_array_equal(tensor, left_open.state_dict()[name], err_msg=name)
    left_open.fit(X, Y, 1, validation=None, progress=False)
    assert left_open.total_steps == 16


def test_checkpoints_keep_the_length(tmp_path: Path) -> None:
    c = classifier(schedule=sx.Schedule("cosine"))
    c.total_steps = 9
    for _ in range(4):
        c.train_step(X[:16], Y[:16])
    c.save(tmp_path / "model")
    loaded = sx.Classifier.load(tmp_path / "model")
    assert loaded.total_steps == 9
    for model in (c, loaded):
        model.train_step(X[16:32], Y[16:32])
    for name, tensor in c.state_dict().items():
        np.testing.assert_array_equal(tensor, loaded.state_dict()[name], err_msg=name)


def test_states_keep_the_length() -> None:
    """A schedule and a rewiring that are left open go on the same from a state as without a break."""
    options = {"schedule": sx.Schedule("cosine"), "rewiring": sx.Rewiring(method="set"), "fan_in": 20}
    c, other = classifier(**options), classifier(**options, seed=0)
    c.total_steps = 36
    for _ in range(8):
        c.train_step(X[:16], Y[:16])
    state = c.state_dict()
    assert state["total_steps"] == 36
    other.load_state_dict(state)
    assert other.total_steps == 36
    for model in (c, other):
        for _ in range(6):
            model.train_step(X[16:32], Y[16:32])
    assert {record.step for record in c.rewirings} >= {record.step for record in other.rewirings} == {9, 12}
    for name, tensor in c.state_dict().items():
        np.testing.assert_array_equal(tensor, other.state_dict()[name], err_msg=name)


def test_states_without_a_length() -> None:
    """Those of earlier versions leave it as it is; a length of 0 is one that is not known."""
    c = classifier()
    c.total_steps = 7
    state = c.state_dict()
    c.load_state_dict({name: value for name, value in state.items() if name != "total_steps"})
    assert c.total_steps == 7
    c.load_state_dict(state | {"total_steps": np.int64(0)})
    assert c.total_steps is None
    for wrong in (np.int64(-1), np.float32(3), np.arange(2)):
        with pytest.raises(sx.ArgumentError, match=r"state\['total_steps'\]"):
            c.load_state_dict(state | {"total_steps": wrong})
    assert c.total_steps is None


@pytest.mark.parametrize("steps", [0, -1, 1.5, "many"])
def test_wrong_lengths(steps: object) -> None:
    with pytest.raises(sx.ArgumentError, match="total_steps"):
        classifier().total_steps = steps


def test_behind_a_hidden_layer_nothing_is_rewired() -> None:
    assert classifier(hidden=16).config["rewiring"] is None
    assert classifier().config["rewiring"] is not None
    assert classifier(hidden=16, rewiring=sx.Rewiring()).config["rewiring"] is not None


def test_for_data_is_the_network_of_train() -> None:
    """The same network, bit for bit, as `train` makes of the features after TF-IDF."""
    counts, labels = make_split(400, 1)
    tfidf = sx.data.TfIdf.fit(counts)
    c = sx.Classifier.for_data(tfidf.apply(counts), labels, num_threads=2, hidden=sx.Hidden(64, dropout=0.1))
    c.fit(tfidf.apply(counts), labels, validation=None, progress=False)
    hidden = {"features": 64, "dropout": 0.1, "input_scale": 1.0}
    settings = {"model": {"num_threads": 2, "hidden": hidden}}
    model = sx.train(sx.data.Dataset(counts, labels), settings=settings, progress=False)
    for name, tensor in c.state_dict().items():
        np.testing.assert_array_equal(tensor, model.classifier.state_dict()[name], err_msg=name)
    with pytest.raises(sx.ArgumentError, match="a row of each"):
        sx.Classifier.for_data(counts[:3], labels)
    assert sx.Classifier.for_data(counts, labels, fan_in=16, dense_labels=2).config["fan_in"] == 16


def test_another_length_forgets_the_batches_kept_for_the_old_one(tmp_path: Path) -> None:
    """RigL keeps the last batches before a rewiring; a length that moves it must not leave them beside new ones."""
    c = sx.Classifier(FEATURES, 400, fan_in=8, dense_labels=0, batch_size=16, device="cpu")
    labels = sp.csr_matrix((np.ones(ROWS, np.float32), (np.arange(ROWS), np.arange(ROWS) * 5)), shape=(ROWS, 400))
    for total in (247, 260, 500, 1300):
        c.total_steps = total
        for _ in range(19):
            c.train_step(X[:16], labels[:16])
        c.save(tmp_path / "model")
        c = sx.Classifier.load(tmp_path / "model")
    c.fit(X, labels, 20, validation=None, progress=False)
    assert c.rewirings


def test_a_model_is_trained_further(tmp_path: Path) -> None:
    """The schedule of the first training has ended; the second has one of its own."""
    counts, labels = make_split(400, 1)
    data = sx.data.Dataset(counts, labels)
    model = sx.train(data, settings={"model": {"hidden": 16}, "training": {"epochs": 2}}, progress=False)
    model.save(tmp_path / "model")
    loaded = sx.load(tmp_path / "model")
    before = loaded.classifier.state_dict()
    loaded.fit(data, 1, validation=None, progress=False)
    after = loaded.classifier.state_dict()
    assert any((before[name] != after[name]).any() for name in before if name.endswith(".weights"))
    assert loaded.linear is not None and loaded.neighbors is not None
