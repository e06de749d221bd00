"""A `fit` that was interrupted goes on from its newest state and ends in the same bits."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from harness import ON_DEVICE
from sparsexmc.training.keeper import parse_interval

INSTANCES, FEATURES, LABELS, BATCH, EPOCHS = 120, 16, 30, 16, 4
RNG = np.random.default_rng(5)
X = RNG.standard_normal((INSTANCES, FEATURES)).astype(np.float32)
Y = sp.random(INSTANCES, LABELS, 0.1, "csr", np.float32, rng=RNG)
WEIGHTS = RNG.uniform(0.5, 2, INSTANCES)
RIGL = sx.Rewiring(method="rigl", interval=6, grow_batches=4, stop=24)
VALIDATION = {"validation": 0.2, "validation_metric": "nDCG@5"}  # 96 train: 6 steps an epoch


def classifier(**options: Any) -> sx.Classifier:
    settings = {
        "fan_in": 8,
        "group_size": 4,
        "dense_labels": 10,
        "rewiring": RIGL,
        "batch_size": BATCH,
        "num_threads": 2,
    }
    return sx.Classifier(FEATURES, LABELS, **(settings | {"optimizer": sx.Adam(0.03)} | ON_DEVICE | options))


def fit(c: sx.Classifier, **options: Any) -> sx.training.History:
    return c.fit(X, Y, **({"epochs": EPOCHS, "progress": False, "instance_weights": WEIGHTS} | VALIDATION | options))


class Stop(Exception):
    pass


class StopAt:
    """Ends a training after a step, and counts the steps it has seen."""

    def __init__(self, step: int | None) -> None:
        self.step = step
        self.seen = 0
        self.losses = np.zeros(0)

    def on_step(self, c: sx.Classifier, info: sx.training.StepInfo) -> None:
        self.seen += 1
        self.losses = np.append(self.losses, info.loss)
        if info.step == self.step:
            raise Stop

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "losses": self.losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen, self.losses = state["seen"], state["losses"]


def interrupted(place: Path, step: int, **options: Any) -> None:
    with pytest.raises(Stop):
        fit(classifier(), checkpoint=place, callbacks=[StopAt(step)], **options)


def assert_same(a: sx.Classifier, b: sx.Classifier) -> None:
    left, right = a.state_dict(), b.state_dict()
    assert left.keys() == right.keys()
    assert [name for name in left if not np.array_equal(left[name], right[name])] == []
    assert [str(r) for r in a.rewirings] == [str(r) for r in b.rewirings]


def outcome(history: sx.training.History) -> list[Any]:
    """All of a history but times."""
    epochs = [(e.epoch, e.step, e.loss, e.validation, e.improved) for e in history.epochs]
    return [history.metric, epochs, history.best_epoch, history.best_value, history.stopped]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[sx.Classifier, list[Any], StopAt]:
    c, callback = classifier(), StopAt(None)
    history = fit(c, checkpoint=tmp_path_factory.mktemp("whole") / "m", callbacks=[callback])
    assert len(c.rewirings) == 3
    return c, outcome(history), callback


# Steps 4, 5 and 10 lie among the batches that RigL keeps for steps 6 and 12; steps 6, 12, 18, 24 end an epoch.
@pytest.mark.parametrize(("step", "every"), [(2, 1), (4, 1), (5, 3), (6, 1), (10, 1), (17, 5), (24, 1)])
def test_goes_on_with_the_same_bits(step: int, every: int, tmp_path: Path, uninterrupted: Any) -> None:
    whole, history, callback = uninterrupted
    interrupted(tmp_path / "m", step, checkpoint_every=every)
    c, resumed = classifier(num_threads=1), StopAt(None)
    again = fit(c, checkpoint=tmp_path / "m", checkpoint_every=every, resume=True, callbacks=[resumed])
    assert_same(c, whole)
    assert outcome(again) == history
    assert resumed.seen == callback.seen
    assert np.array_equal(resumed.losses, callback.losses)
    assert not (tmp_path / "m.states").exists()
    assert sx.load(tmp_path / "m").step == again.epochs[again.best_epoch - again.epochs[0].epoch].step


def test_interrupted_again_and_again(tmp_path: Path, uninterrupted: Any) -> None:
    interrupted(tmp_path / "m", 2, checkpoint_every=1)
    for step in (5, 11, 23):
        interrupted(tmp_path / "m", step, checkpoint_every=1, resume=True)
    c = classifier()
    history = fit(c, checkpoint=tmp_path / "m", resume=True, callbacks=[StopAt(None)])
    assert_same(c, uninterrupted[0])
    assert outcome(history) == uninterrupted[1]


KILLED = """
import sys, pathlib
sys.path.insert(0, sys.argv[1])
import test_resume as t
c = t.classifier()
try:
    t.fit(c, checkpoint=sys.argv[2], checkpoint_every=1, keep=2, resume=True)
finally:
    print("ended")
c.save(sys.argv[3])
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    whole, seen = classifier(), 0
    fit(whole, checkpoint=tmp_path / "whole")
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path / "m"), str(tmp_path / "end")]
    rng = np.random.default_rng(1)
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        states = tmp_path / "m.states"
        newest = max((p.name for p in states.glob("step-*")), default="") if states.exists() else ""
        while process.poll() is None:  # until it has gone a step further, and a random while
            if states.exists() and max((p.name for p in states.glob("step-*")), default="") > newest:
                break
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.06))
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen += states.exists()
    assert seen, "no kill met a training with states"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert_same(sx.load(tmp_path / "end"), whole)
    assert_same(sx.load(tmp_path / "m"), sx.load(tmp_path / "whole"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["end", "m", "whole"]


# ---- the best epoch ----


def test_a_later_call_does_not_replace_a_better_epoch(tmp_path: Path) -> None:
    """Of best.py: P@1 fell from 0.150 to 0.144 at the checkpoint of a training that went on."""
    c = classifier(optimizer=sx.Adam(0.3), rewiring=None)
    first = fit(c, checkpoint=tmp_path / "m", epochs=8)
    assert first.best_value is not None
    later = sx.load(tmp_path / "m")
    second = fit(later, checkpoint=tmp_path / "m", epochs=2, patience=2)
    assert second.best_value is not None and second.best_value >= first.best_value
    assert any(e.validation["nDCG@5"] < first.best_value for e in second.epochs)
    assert len(second.epochs) == 2, "patience counts from the beginning of a call"
    kept = sx.load(tmp_path / "m")
    improved = [e.step for e in second.epochs if e.improved]
    assert kept.step == (improved[-1] if improved else first.epochs[first.best_epoch - 1].step)  # type: ignore[operator]


@pytest.mark.parametrize(
    "changed", [{"seed": 4}, {"validation": 0.3}, {"validation_metric": "P@1"}, {"validation": (X[:40], Y[:40])}]
)
def test_values_of_other_instances_or_metrics_do_not_compare(changed: dict[str, Any], tmp_path: Path) -> None:
    c = classifier()
    fit(c, checkpoint=tmp_path / "m", epochs=2)
    history = fit(c, checkpoint=tmp_path / "m", epochs=1, **changed)
    assert history.epochs[0].improved


def test_a_new_classifier_replaces_the_checkpoint(tmp_path: Path) -> None:
    fit(classifier(), checkpoint=tmp_path / "m", epochs=3)
    assert fit(classifier(), checkpoint=tmp_path / "m", epochs=1).epochs[0].improved
    assert sx.load(tmp_path / "m").step == 6


def test_patience_goes_on(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 40, "patience": 2, "checkpoint_every": 7}
    whole = classifier()
    history = fit(whole, checkpoint=tmp_path / "a", callbacks=[StopAt(None)], **options)
    assert history.stopped == "patience" and history.best_epoch is not None
    interrupted(tmp_path / "m", history.epochs[-1].step - 1, **options)
    c = classifier()
    again = fit(c, checkpoint=tmp_path / "m", resume=True, callbacks=[StopAt(None)], **options)
    assert outcome(again) == outcome(history)
    assert_same(c, whole)


def test_the_best_epoch_must_be_there(tmp_path: Path) -> None:
    interrupted(tmp_path / "m", 9, checkpoint_every=1)
    shutil.rmtree(tmp_path / "m")
    with pytest.raises(sx.errors.CheckpointError, match="best epoch so far, 1, .* is not at"):
        fit(classifier(), checkpoint=tmp_path / "m", resume=True, callbacks=[StopAt(None)])


# ---- which state ----


def test_keep(tmp_path: Path, uninterrupted: Any, caplog: pytest.LogCaptureFixture) -> None:
    interrupted(tmp_path / "m", 11, checkpoint_every=2, keep=3)
    states = sorted(p.name for p in (tmp_path / "m.states").iterdir())
    assert states == [f"step-{step:012d}" for step in (6, 8, 10)]
    assert sx.load(tmp_path / "m.states" / states[0]).step == 6
    damaged = tmp_path / "m.states" / states[2] / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    interrupted(tmp_path / "m", 9, checkpoint_every=1, keep=1, resume=True)  # saves at 9, before the damaged one
    assert "is not whole" in caplog.text
    c = classifier()
    fit(c, checkpoint=tmp_path / "m", resume=True, callbacks=[StopAt(None)])
    assert_same(c, uninterrupted[0])


def test_no_state_is_whole(tmp_path: Path) -> None:
    interrupted(tmp_path / "m", 3, checkpoint_every=2)
    (tmp_path / "m.states" / f"step-{2:012d}" / "training.json").write_text("{}")
    with pytest.raises(sx.errors.CheckpointError, match="no state of the training at .* is whole"):
        fit(classifier(), checkpoint=tmp_path / "m", resume=True, callbacks=[StopAt(None)])


def test_resume_from_a_path(tmp_path: Path, uninterrupted: Any) -> None:
    interrupted(tmp_path / "m", 11, checkpoint_every=2, keep=9)
    for place in ("m", f"m.states/step-{4:012d}"):  # the newest there, or this one
        c = classifier()
        fit(c, resume=tmp_path / place, callbacks=[StopAt(None)])
        assert_same(c, uninterrupted[0])
    with pytest.raises(sx.ArgumentError, match="holds no state of a training"):
        fit(classifier(), resume=tmp_path / "nothing")


def test_nothing_to_resume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(fit(classifier(), checkpoint=tmp_path / "m", resume=True, epochs=1).epochs) == 1
    assert "there is no training to resume at" in caplog.text


def test_states_are_not_lost_unasked(tmp_path: Path) -> None:
    interrupted(tmp_path / "m", 3, checkpoint_every=2)
    with pytest.raises(sx.ArgumentError, match="an interrupted training has left its states; continue it with resume"):
        fit(classifier(), checkpoint=tmp_path / "m")


def test_intervals(tmp_path: Path) -> None:
    assert [parse_interval(v) for v in (None, 7, "7")] == [(None, None), (7, None), (7, None)]
    assert [parse_interval(v)[1] for v in ("30s", "10min", "1.5 h")] == [30, 600, 5400]
    for value in (0, -1, "", "10 days", "0s", 2.5, True):
        with pytest.raises(sx.ArgumentError, match="checkpoint_every"):
            parse_interval(value)  # type: ignore[arg-type]
    interrupted(tmp_path / "m", 5, checkpoint_every="0.000001s")
    assert [p.name for p in (tmp_path / "m.states").iterdir()] == [f"step-{4:012d}"]


# ---- another training ----


def test_what_differs_is_named(tmp_path: Path) -> None:
    interrupted(tmp_path / "m", 3, checkpoint_every=2)
    other_x, fewer = X.copy(), slice(INSTANCES - 1)
    other_x[7, 3] += 1
    for arguments, options, said in (
        ({}, {"epochs": 5}, "epochs is 5, not 4"),
        ({}, {"validation": 0.1, "batch_size": 8}, "batch_size is 8, not 16; validation is 0.1, not 0.2"),
        ({}, {"shuffle": False}, "shuffle is False, not True"),
        ({"fan_in": 4}, {}, "the classifier's fan_in is 4, not 8"),
        ({"seed": 3}, {}, "seed is 3, not 0"),
        ({}, {"X": other_x}, "X has the same size but other content"),
        (
            {},
            {"X": X[fewer], "Y": Y[fewer], "instance_weights": None},
            r"X has shape \[119, 16\], not \[120, 16\]; Y has rows 119",
        ),
        ({}, {"filter": Y}, "filter is given"),
        ({}, {"instance_weights": None}, "instance_weights is not given"),
        ({}, {"callbacks": []}, r"callbacks are none, not \['StopAt'\]"),
    ):
        c = classifier(**arguments)
        before = c.state_dict()
        options = (
            {"X": X, "Y": Y, "epochs": EPOCHS, "instance_weights": WEIGHTS, "callbacks": [StopAt(None)]}
            | VALIDATION
            | options
        )
        with pytest.raises(sx.ArgumentError, match=said):
            c.fit(checkpoint=tmp_path / "m", resume=True, progress=False, **options)
        after = c.state_dict()
        assert all(np.array_equal(after[name], before[name]) for name in before)


class Holding:
    def __init__(self, value: Any) -> None:
        self.value = value

    def on_epoch(self, c: sx.Classifier, info: sx.training.EpochInfo) -> None:
        pass

    def state_dict(self) -> Any:
        return self.value


@pytest.mark.parametrize("value", [3, {1: 2}, {"a": object()}, {"a": (1, 2)}, {"a": np.array([None])}])
def test_callbacks_whose_state_cannot_be_stored(value: Any, tmp_path: Path) -> None:
    with pytest.raises(sx.ArgumentError, match=r"callbacks: state_dict\(\) of Holding"):
        fit(classifier(), checkpoint=tmp_path / "m", callbacks=[Holding(value)])


def test_arguments() -> None:
    for options, said in (
        ({"checkpoint_every": 5}, "checkpoint_every=5 needs checkpoint"),
        ({"resume": True}, "resume=True needs checkpoint"),
        ({"resume": 3}, "resume=3 must be"),
        ({"checkpoint": "m", "keep": 0}, "keep=0 must be"),
    ):
        with pytest.raises(sx.ArgumentError, match=said):
            fit(classifier(), **options)


@pytest.mark.parametrize("kind", ["float16", "memmap", "torch"])
def test_data_of_another_kind_is_the_same_data(kind: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch") if kind == "torch" else None
    half = X.astype(np.float16)
    if kind == "memmap":
        np.save(tmp_path / "x.npy", half)
    with pytest.raises(Stop):
        classifier().fit(
            half, Y, 2, checkpoint=tmp_path / "m", checkpoint_every=2, callbacks=[StopAt(3)], progress=False
        )
    same = {"float16": lambda: half, "memmap": lambda: np.load(tmp_path / "x.npy", mmap_mode="r")}
    data = torch.from_numpy(half) if torch is not None else same[kind]()
    history = classifier().fit(
        data,
        sp.csr_matrix(Y, dtype=np.float64),
        2,
        checkpoint=tmp_path / "m",
        resume=True,
        callbacks=[StopAt(None)],
        progress=False,
    )
    assert len(history.epochs) == 2


def test_metrics_file_says_where_it_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    interrupted(tmp_path / "m", 9, checkpoint_every=4, metrics_file=log)
    fit(classifier(), checkpoint=tmp_path / "m", resume=True, metrics_file=log, callbacks=[StopAt(None)])
    assert '{"event": "resume", "step": 8,' in log.read_text()
